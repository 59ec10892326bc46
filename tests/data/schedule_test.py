"""Which samples meet in a batch: the same answer for everybody who asks."""

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from mcr_jax.data import batches, schedule
from mcr_jax.data.schedule import FILLER
from mcr_jax.data.units import Units
from tests.training import tiny

LONGEST = {"text": 50, "audio": 375, "vision": 1}


def draw(count, seed=0, power=3.0):
  """Lengths as corpora have them: mostly short, some as long as can be."""
  random = np.random.default_rng(seed)
  share = random.random((count, 1)) ** power * random.uniform(0.5, 1, (count, 2))
  return {
    "text": (share[:, 0] * 50).astype(np.int64),
    "audio": (share[:, 1] * 375).astype(np.int64),
    "vision": np.ones(count, np.int64),
  }


cases = st.tuples(
  st.integers(1, 90),
  st.integers(0, 99),
  st.floats(0.1, 5),
  st.integers(1, 5),
  st.floats(0.2, 1),
  st.integers(1, 20),
)


def build(case):
  """Lengths, buckets, the samples of a split, and the size of a batch."""
  count, seed, power, buckets, share, size = case
  lengths = draw(count, seed, power)
  buckets = schedule.make_buckets(lengths, LONGEST, buckets)
  chosen = np.flatnonzero(np.random.default_rng(count).random(count) < share)
  return lengths, buckets, chosen if len(chosen) else np.arange(count), size


everywhere = hypothesis.settings(
  max_examples=80, deadline=None, derandomize=True, database=None
)


@everywhere
@hypothesis.given(cases, st.integers(1, 5))
def test_every_sample_comes_once_an_epoch(case, epoch):
  lengths, buckets, rows, size = build(case)
  bucket = schedule.assign(lengths, buckets)[rows]
  for plan in (
    schedule.epoch_schedule(rows, bucket, size, (0, 7), epoch),
    schedule.fixed_schedule(rows, bucket, size),
  ):
    assert plan.rows.shape[1:] == (len(plan), size) and len(plan) == len(plan.bucket)
    for own in plan.rows:
      assert sorted(own[own != FILLER]) == sorted(rows)


@everywhere
@hypothesis.given(cases)
def test_a_batch_fits_the_bounds_of_its_bucket(case):
  lengths, buckets, rows, size = build(case)
  bucket = schedule.assign(lengths, buckets)[rows]
  plan = schedule.epoch_schedule(rows, bucket, size, (0, 7), 1)
  for own in plan.rows:
    for number, batch in zip(plan.bucket, own, strict=True):
      for name, bound in buckets[number]:
        assert lengths[name][batch[batch != FILLER]].max() <= bound


@everywhere
@hypothesis.given(cases)
def test_only_one_batch_is_short_and_its_end_is_filled(case):
  lengths, buckets, rows, size = build(case)
  bucket = schedule.assign(lengths, buckets)[rows]
  plan = schedule.epoch_schedule(rows, bucket, size, (3,), 2)
  missing = (plan.rows[0] == FILLER).sum(1)
  assert np.count_nonzero(missing) <= 1 and missing.sum() == -len(rows) % size
  assert (np.diff((plan.rows[0] == FILLER).astype(int), axis=1) >= 0).all()


@everywhere
@hypothesis.given(cases)
def test_buckets_grow_and_the_last_holds_everything(case):
  lengths, buckets, _, _ = build(case)
  assert all(n <= LONGEST[m] for m, n in buckets[-1])
  assert len(set(buckets)) == len(buckets)
  for small, large in zip(buckets, buckets[1:], strict=False):
    pairs = list(zip(small, large, strict=True))
    assert all(a == b and m <= n for (a, m), (b, n) in pairs)
  for sample, number in enumerate(schedule.assign(lengths, buckets)):
    fits = [all(lengths[m][sample] <= n for m, n in bounds) for bounds in buckets]
    assert fits.index(True) == number


def test_a_seed_alone_has_the_batches_it_has_among_others():
  rows, bucket = np.arange(40), np.arange(40) // 15
  together = schedule.epoch_schedule(rows, bucket, 6, (1, 3, 8), 4)
  alone = schedule.epoch_schedule(rows, bucket, 6, (3,), 4)
  np.testing.assert_array_equal(alone.rows[0], together.rows[1])
  np.testing.assert_array_equal(alone.bucket, together.bucket)


def test_every_seed_and_every_epoch_has_its_own_order():
  rows, bucket = np.arange(40), np.zeros(40, int)
  plan = lambda seed, epoch: schedule.epoch_schedule(rows, bucket, 8, (seed,), epoch)
  orders = {plan(seed, epoch).rows.tobytes() for seed in range(5) for epoch in range(5)}
  assert len(orders) == 25
  # Asked again, long after, the answer is the same: so a stopped run finds its place.
  np.testing.assert_array_equal(plan(2, 3).rows, plan(2, 3).rows)


def test_samples_of_one_bucket_meet_by_chance():
  rows, bucket = np.arange(64), np.arange(64) // 32
  met = np.zeros((64, 64), int)
  for epoch in range(300):
    for batch in schedule.epoch_schedule(rows, bucket, 8, (0,), epoch).rows[0]:
      met[np.ix_(batch, batch)] += 1
  inside = met[:32, :32][~np.eye(32, dtype=bool)]
  assert met[:32, 32:].sum() == 0
  # 7 of 31 neighbours in each of 300 epochs: 68 meetings, give or take 7.
  assert abs(inside.mean() - 300 * 7 / 31) < 1e-9 and inside.std() < 10


def test_batches_come_in_any_order_of_buckets():
  rows, bucket = np.arange(60), np.arange(60) // 20
  orders = [
    schedule.epoch_schedule(rows, bucket, 5, (0,), epoch).bucket for epoch in range(9)
  ]
  assert len({order.tobytes() for order in orders}) == 9
  assert any((np.diff(order) < 0).any() for order in orders)


def test_filling_up_changes_nobodys_place():
  plan = schedule.epoch_schedule(np.arange(10), np.zeros(10, int), 4, (0, 1), 1)
  padded = plan.padded(8)
  np.testing.assert_array_equal(padded.rows[..., :4], plan.rows)
  assert (padded.rows[..., 4:] == FILLER).all()
  assert plan.padded(4).rows.shape == plan.rows.shape


@pytest.mark.parametrize("count", [2, 4, 6])
def test_buckets_reduce_padded_work(count):
  lengths = draw(1000)
  rows = np.arange(1000)

  def work(buckets):
    bucket = schedule.assign(lengths, buckets)
    plan = schedule.epoch_schedule(rows, bucket, 16, (0,), 1)
    steps = np.array([sum(n for _, n in bounds) for bounds in buckets])
    return (steps[plan.bucket] ** 2).sum()

  whole = work(schedule.make_buckets(lengths, LONGEST, 1))
  fewer = work(schedule.make_buckets(lengths, LONGEST, count - 1))
  found = schedule.make_buckets(lengths, LONGEST, count)
  assert len(found) == count and work(found) < min(0.6 * whole, fewer)


def test_one_bucket_pads_everything_to_the_longest():
  lengths = draw(30)
  top = tuple(LONGEST.items())
  assert schedule.make_buckets(lengths, LONGEST, 1) == (top,)
  one = {name: values[:1] for name, values in lengths.items()}
  assert schedule.make_buckets(one, LONGEST, 4) == (top,)


def test_a_batch_is_filled_with_the_first_sample_cut_to_its_bounds():
  data = tiny.dataset()
  lengths = data.modalities["audio"].lengths
  one, two = np.flatnonzero(lengths <= 9)[:2]
  assert lengths[0] == 17
  rows = np.array([one, FILLER, two])
  bounds = (("audio", 9), ("text", 5), ("vision", 11))
  units = Units.of(data)
  columns = batches.columns_of(data, units, labels=True)
  source = batches.Host(data.modalities, columns, units)
  found = batches.assemble(source, rows, bounds)
  top = tuple(tiny.LONGEST.items())
  whole = batches.assemble(source, np.array([one, 0, two]), top)
  assert found["weight"].tolist() == [1, 0, 1]
  for name, bound in bounds:
    for part in ("x", "mask"):
      np.testing.assert_array_equal(found[part][name], whole[part][name][:, :bound])
  np.testing.assert_array_equal(found["label"], whole["label"])
