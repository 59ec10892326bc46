"""Streamed batches: those of the schedule, from any step.

Made by threads, and by tf.data.
"""

import dataclasses
import gc
import subprocess
import sys
import time
import weakref

import numpy as np
import pytest

from mcr_jax.data import batches, npz, pipeline, schedule, stream
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import FILLER
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError

N = 47


def sequences(random, width, longest):
  lengths = random.integers(0, longest + 1, N)
  lengths[:2] = 1, longest
  offsets = np.concatenate([[0], np.cumsum(lengths)])
  values = random.normal(3.0, 7.0, size=(offsets[-1], width)).astype(np.float32)
  mask = random.random(offsets[-1]) < 0.8
  values[~mask] = np.nan  # Whatever stands in a hole is never read.
  return Modality(values, offsets, mask)


@pytest.fixture
def dataset():
  random = np.random.default_rng(0)
  return Dataset(
    ids=np.arange(N).astype(str),
    modalities={
      "text": sequences(random, 5, 13),
      "audio": sequences(random, 3, 29),
      "vision": Modality.from_vectors(random.normal(size=(N, 2))),
    },
    splits=np.array(["train"] * N),
    labels=random.normal(size=N).astype(np.float32),
  )


def plan_of(dataset, seeds=(3, 8)):
  """Short last batch, two buckets and seeds."""
  lengths = {m: x.lengths for m, x in dataset.modalities.items()}
  halves = tuple((m, -(-int(n.max()) // 2)) for m, n in lengths.items())
  buckets = (halves, tuple((m, int(n.max())) for m, n in lengths.items()))
  bucket = schedule.assign(lengths, buckets)
  plan = schedule.epoch_schedule(np.arange(N), bucket, 10, seeds, 1).padded(4)
  return plan, buckets


def host(dataset):
  units = Units.of(dataset)
  columns = batches.columns_of(dataset, units, labels=True)
  return batches.Host(dataset.modalities, columns, units)


def flat(batch):
  """(group, name) -> array."""
  parts = {g: x if isinstance(x, dict) else {"": x} for g, x in batch.items()}
  return {(g, k): x for g, part in parts.items() for k, x in part.items()}


def expected(dataset, rows, bounds):
  """The batch of some samples, from the padded arrays of each modality."""
  real = rows != FILLER
  right = {("weight", ""): real.astype(np.float32)}
  right["more", "index"] = rows.astype(np.int32)
  right["label", ""] = None
  if dataset.labels is not None:
    right["label", ""] = dataset.labels[np.maximum(rows, 0)]
  for name, length in bounds:
    modality = dataset.modalities[name]
    longest = max(length, int(modality.lengths[0]))
    values, mask = modality.padded(np.maximum(rows, 0), longest)
    right["x", name], right["mask", name] = values[:, :length], mask[:, :length]
  return right


@pytest.fixture(params=[stream, pipeline], ids=["threads", "tf.data"])
def collect(request):
  """All batches of a data set, made in either way."""
  return lambda dataset, *arguments, **options: [
    flat(batch) for batch in request.param.batches(host(dataset), *arguments, **options)
  ]


def assert_same(some, others):
  for one, other in zip(some, others, strict=True):
    assert one.keys() == other.keys()
    for name in one:
      np.testing.assert_array_equal(one[name], other[name], err_msg=str(name))


def test_every_batch_is_the_one_that_the_schedule_names(collect, dataset):
  plan, buckets = plan_of(dataset)
  assert len(set(plan.bucket.tolist())) > 1 and (plan.rows == FILLER).any()
  found = collect(dataset, plan, buckets)
  assert len(found) == len(plan)
  for step, batch in enumerate(found):
    bounds = buckets[plan.bucket[step]]
    for seed, rows in enumerate(plan.rows[:, step]):
      right = expected(dataset, rows, bounds)
      assert_same([{name: array[seed] for name, array in batch.items()}], [right])
      assert all(batch[name].dtype == array.dtype for name, array in right.items())


def test_it_goes_on_from_any_step_with_what_would_have_come(collect, dataset):
  plan, buckets = plan_of(dataset)
  whole = collect(dataset, plan, buckets)
  for start in (0, 2, len(plan)):
    assert_same(collect(dataset, plan, buckets, start=start), whole[start:])


def test_a_long_first_sample_can_fill_up_short_batches(collect, dataset):
  order = np.argsort(-dataset.modalities["audio"].lengths, kind="stable")
  dataset = dataset.select(order)
  plan, buckets = plan_of(dataset)
  assert (plan.rows[:, plan.bucket == 0] == FILLER).any()
  for step, batch in enumerate(collect(dataset, plan, buckets)):
    np.testing.assert_array_equal(batch["weight", ""], plan.rows[:, step] != FILLER)


def test_all_of_a_modality_is_what_its_batches_are(dataset, monkeypatch):
  monkeypatch.setattr(batches, "PIECE", 4000)
  normalizer = Normalizer.fit(dataset)
  for name, modality in dataset.modalities.items():
    length = int(modality.lengths.max())
    values, mask = batches.whole(modality, name, length, normalizer)
    right = expected(dataset, np.arange(N), ((name, length),))
    np.testing.assert_array_equal(mask, right["mask", name])
    scores = normalizer.apply(name, right["x", name], mask)
    np.testing.assert_array_equal(values, scores)
    assert values.ctypes.data % batches.ALIGNMENT == 0


def test_data_without_labels_streams_without_labels(collect, dataset):
  plan, buckets = plan_of(dataset)
  bare = dataclasses.replace(dataset, labels=None, splits=None)
  batch = collect(bare, plan, buckets)[0]
  assert batch["label", ""] is None and ("x", "text") in batch


def test_a_mapped_file_streams_without_staying_in_memory(collect, tmp_path):
  random = np.random.default_rng(0)
  values = random.normal(size=(N * 500, 100)).astype(np.float32)
  modality = Modality(values, np.arange(N + 1) * 500, np.ones(N * 500, bool))
  dataset = Dataset(np.arange(N).astype(str), {"vision": modality})
  npz.write(tmp_path / "x.npz", dataset)
  mapped = npz.read(tmp_path / "x.npz")
  assert isinstance(mapped.modalities["vision"].values, np.memmap)
  plan, buckets = plan_of(dataset)
  assert_same(collect(mapped, plan, buckets), collect(dataset, plan, buckets))
  assert resident_kilobytes("x.npz") == 0


def test_a_file_that_was_replaced_is_not_read_for_the_one_that_was_mapped(tmp_path):
  values = np.arange(N * 500 * 100, dtype=np.float32).reshape(-1, 100)
  modality = Modality(values, np.arange(N + 1) * 500, np.ones(N * 500, bool))
  dataset = Dataset(np.arange(N).astype(str), {"vision": modality})
  npz.write(tmp_path / "x.npz", dataset)
  mapped = npz.read(tmp_path / "x.npz")
  plan, buckets = plan_of(dataset)
  made = lambda source: map(flat, stream.batches(host(source), plan, buckets))
  right = list(made(dataset))
  other = dataclasses.replace(modality, values=values + 1)
  npz.write(
    tmp_path / "x.npz", dataclasses.replace(dataset, modalities={"vision": other})
  )
  assert_same(made(mapped), right)
  (tmp_path / "x.npz").unlink()
  assert_same(made(mapped), right)


def test_a_file_that_became_shorter_ends_in_one_sentence(tmp_path):
  path = tmp_path / "x"
  np.arange(1 << 16, dtype=np.float32).tofile(path)
  read = batches._reader(np.memmap(path, np.float32, "r"))
  out = np.empty(10, np.float32)
  read(5, out)
  np.testing.assert_array_equal(out, np.arange(5, 15))
  with open(path, "r+b") as file:
    file.truncate(1 << 10)
  with pytest.raises(UserError, match="has become shorter"):
    read(1 << 15, out)


def resident_kilobytes(name):
  """Of the pages of a mapped file."""
  try:
    with open("/proc/self/smaps") as file:
      lines = iter(file.read().splitlines())
  except FileNotFoundError:
    pytest.skip("needs Linux's /proc/self/smaps")
  found = []
  for line in lines:
    if line.endswith(name):
      found += [int(x.split()[1]) for x in lines if x.startswith("Rss:")][:1]
      break
  return sum(found)


def test_a_pipeline_that_is_dropped_lets_go_of_the_data(collect, dataset):
  plan, buckets = plan_of(dataset)
  # A copy that only the pipeline knows.
  copy = host(dataset)
  stream = pipeline.batches(copy, plan, buckets)
  next(stream)
  alive = weakref.ref(copy)
  del copy
  assert alive() is not None
  del stream
  for _ in range(100):  # Threads may still be at work on the next steps.
    gc.collect()
    if alive() is None:
      break
    time.sleep(0.05)
  assert alive() is None


def test_what_breaks_in_a_thread_breaks_the_loop_as_it_was(
  collect, dataset, monkeypatch
):
  features = batches.Host.features

  def broken(self, name, rows, *rest):
    if rows.size:  # tf.data asks for the types of an empty batch first
      raise UserError("the file has become shorter")
    return features(self, name, rows, *rest)

  monkeypatch.setattr(batches.Host, "features", broken)
  with pytest.raises(UserError, match="^the file has become shorter$"):
    collect(dataset, *plan_of(dataset))


def test_without_tensorflow_the_message_names_the_extra(dataset, monkeypatch):
  plan, buckets = plan_of(dataset)
  monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
  monkeypatch.setattr(sys, "meta_path", [Absent(), *sys.meta_path])
  with pytest.raises(UserError, match=r'pip install "mcr_jax\[data\]"'):
    pipeline.batches(host(dataset), plan, buckets)


class Absent:
  """Finds no TensorFlow."""

  def find_spec(self, name, path=None, target=None):
    if name == "tensorflow":
      raise ModuleNotFoundError("No module named 'tensorflow'")


def test_tensorflow_is_imported_only_where_it_is_used():
  code = (
    "import sys, mcr_jax.data.pipeline, mcr_jax.training.loop;"
    "sys.exit('tensorflow' in sys.modules)"
  )
  assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
