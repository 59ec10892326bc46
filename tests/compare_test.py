"""Two runs against each other: pairing, both tests, refusals, the command line."""

import subprocess
import sys

import numpy as np
import pytest
import scipy.stats

from mcr_jax import compare, evaluators, metrics
from mcr_jax.errors import UserError
from mcr_jax.evaluators import paired

N = 61
RANDOM = np.random.default_rng(0)
LABELS = np.round(RANDOM.normal(size=N) * 5) / 5
NOISE = RANDOM.normal(size=(5, N))
IDS = np.array([f"video{i // 4}$_${i}" for i in range(N)])


def evaluation(noise, seeds=None, ids=IDS, labels=LABELS, folder="run"):
  seeds = range(len(noise)) if seeds is None else seeds
  predictions = (LABELS if labels is None else labels) + noise
  results = evaluators.summarise("sentiment", predictions, labels, seeds=seeds)
  return evaluators.Evaluation(folder, results, ids, labels, predictions)


def test_the_t_test_pairs_seeds_by_number():
  first = evaluation(NOISE, seeds=(0, 1, 2, 3, 4))
  second = evaluation(1.3 * NOISE[[3, 0, 1]] + 0.1, seeds=(8, 4, 2))
  (row,) = compare.compare(first, second, ["mae"], resamples=10)
  mae = lambda run: run.results.metrics["mae"].seeds
  want = scipy.stats.ttest_rel(
    [mae(first)[2], mae(first)[4]], [mae(second)[2], mae(second)[1]]
  )
  assert row.p == pytest.approx(want.pvalue)
  assert row.first == np.mean(mae(first)) and row.second == np.mean(mae(second))


@pytest.mark.parametrize(
  "first, second, reason",
  [
    ([1.0], [2.0], "needs 2 seeds in common, there are 1"),
    ([1.0, 2.0], [1.5, 2.5], "the same for every seed"),
    ([1.0, 2.0], [1.0, 2.0], "the same for every seed"),
    ([1.0, np.nan], [1.5, 2.0], "undefined for a seed"),
  ],
)
def test_without_a_t_test_there_is_a_reason(first, second, reason):
  p, why = paired.t_test(first, second)
  assert np.isnan(p) and reason in why


def test_the_bootstrap_agrees_with_scipy():
  first, second = LABELS + NOISE[:2], LABELS + 1.2 * NOISE[2:]
  mean_mae = lambda run, pick: np.abs(run[:, pick] - LABELS[pick]).mean()
  want = scipy.stats.bootstrap(
    (np.arange(N),),
    lambda pick: mean_mae(first, pick) - mean_mae(second, pick),
    vectorized=False,
    method="percentile",
    n_resamples=4000,
    rng=np.random.default_rng(1),
  )
  (got,) = paired.bootstrap(
    "sentiment", first, second, LABELS, ["mae"], resamples=4000
  ).values()
  spread = want.standard_error
  low, high = want.confidence_interval
  assert got.low == pytest.approx(low, abs=0.15 * spread)
  assert got.high == pytest.approx(high, abs=0.15 * spread)
  assert got.undefined == 0


def test_the_bootstrap_does_not_depend_on_how_many_draws_are_made_at_once(monkeypatch):
  draw = lambda: paired.bootstrap(
    "sentiment", LABELS + NOISE, LABELS + NOISE[::-1] * 2, LABELS, ["mae"], resamples=50
  )
  whole = draw()
  monkeypatch.setattr(paired, "_NUMBERS_AT_ONCE", 7 * N)
  parts = draw()
  assert parts["mae"].low == pytest.approx(whole["mae"].low)
  assert parts["mae"].p == whole["mae"].p


def test_a_run_does_not_differ_from_itself_and_differs_from_a_worse_one():
  run = evaluation(NOISE)
  for row in compare.compare(run, run, resamples=200):
    assert (row.bootstrap.low, row.bootstrap.high, row.bootstrap.p) == (0, 0, 1)
    assert compare.verdict(row).endswith("no difference.")
  worse = evaluation(3 * NOISE[::-1])
  (row,) = compare.compare(run, worse, ["mae"], resamples=200)
  assert row.bootstrap.high < 0 and row.bootstrap.p == pytest.approx(2 / 201)
  text = compare.verdict(row)
  assert "mae: 1 is better by" in text
  assert "significant over samples" in text and "not significant" not in text
  (row,) = compare.compare(worse, run, ["corr"], resamples=200)
  assert "corr: 2 is better by" in compare.verdict(row)


def test_half_of_true_nulls_have_a_p_below_a_half():
  # 200 pairs of runs that differ by nothing: p should be spread evenly.
  random = np.random.default_rng(3)
  small = []
  for _ in range(200):
    pair = random.normal(size=(2, 1, N))
    (drawn,) = paired.bootstrap(
      "regression", *pair, np.zeros(N), ["mae"], resamples=200
    ).values()
    small.append(drawn.p < 0.5)
  assert 0.38 < np.mean(small) < 0.62


def test_samples_of_a_group_are_drawn_together():
  numbers = compare.group_numbers(IDS)
  assert [len(set(numbers[i : i + 4])) for i in range(0, N, 4)] == [1] * 16
  assert len(set(numbers.tolist())) == 16
  weight = paired._weights(np.random.default_rng(0), numbers, 5)
  for group in range(16):
    assert (np.ptp(weight[:, numbers == group], axis=1) == 0).all()
  # Copies of a sample bring no news: drawn as groups they do not narrow the interval.
  repeat = lambda x: np.repeat(x, 4, axis=-1)
  draw = lambda a, b, y, groups: paired.bootstrap(
    "regression", a, b, y, ["mae"], groups=groups, resamples=500
  )["mae"]
  a, b, y = LABELS + NOISE[:1], LABELS + NOISE[1:2], LABELS
  single = draw(a, b, y, None)
  grouped = draw(repeat(a), repeat(b), repeat(y), repeat(np.arange(N)))
  naive = draw(repeat(a), repeat(b), repeat(y), None)
  assert grouped.high - grouped.low == pytest.approx(single.high - single.low)
  assert naive.high - naive.low < 0.7 * (single.high - single.low)


def test_an_id_without_a_clip_is_a_group_of_its_own():
  numbers = compare.group_numbers(np.array(["a_1", "a_b_1", "a_b_2", "c", "d"]))
  assert len(set(numbers.tolist())) == 4 and numbers[1] == numbers[2]
  for ids in (["a", "b"], ["x_1", "x_2"]):
    with pytest.raises(UserError, match="group"):
      compare.group_numbers(np.array(ids))


def test_another_order_of_the_samples_changes_nothing():
  first, second = evaluation(NOISE), evaluation(2 * NOISE[::-1])
  order = np.random.default_rng(5).permutation(N)
  mixed = evaluators.Evaluation(
    "mixed",
    second.results,
    second.ids[order],
    second.labels[order],
    second.predictions[:, order],
  )
  rows = compare.compare(first, second, resamples=50)
  assert compare.compare(first, mixed, resamples=50) == rows


def test_a_metric_that_some_draws_leave_undefined_says_so():
  labels = np.zeros(N)
  labels[0] = 1.0
  first, second = (evaluation(n, labels=labels) for n in (NOISE, 2 * NOISE[::-1]))
  (row,) = compare.compare(first, second, ["acc2_non0"], resamples=400)
  assert row.bootstrap.undefined == pytest.approx((1 - 1 / N) ** N, abs=0.1)
  assert row.first == row.second or "of the draws, left out" in compare.verdict(row)


def test_runs_on_other_samples_labels_or_metrics_are_refused():
  run = evaluation(NOISE)
  ids = IDS.copy()
  ids[3] = "other"
  with pytest.raises(UserError, match="1 ids .* 1 only in"):
    compare.compare(run, evaluation(NOISE, ids=ids))
  ids = np.roll(IDS, 1)
  ids[0] = ids[1]
  with pytest.raises(UserError, match="samples: 1 ids"):
    compare.compare(run, evaluation(NOISE, ids=ids))
  with pytest.raises(UserError, match="labels"):
    compare.compare(run, evaluation(NOISE, labels=LABELS + 1))
  with pytest.raises(UserError, match='metric=.may.*"mae"'):
    compare.compare(run, run, ["may"])
  other = evaluators.summarise("regression", run.predictions, LABELS)
  other = evaluators.Evaluation("other", other, IDS, LABELS, run.predictions)
  with pytest.raises(UserError, match="sentiment and regression"):
    compare.compare(run, other)


def test_ids_that_repeat_cannot_be_put_into_another_order():
  ids = IDS.copy()
  ids[1] = ids[0]
  run = evaluation(NOISE, ids=ids)
  assert compare.compare(run, run, ["mae"], resamples=5)
  with pytest.raises(UserError, match="repeat"):
    compare.compare(run, evaluation(NOISE, ids=ids[::-1]))


def test_the_report_leaves_out_classes_and_says_what_p_means():
  random = np.random.default_rng(0)
  labels = random.integers(3, size=N)
  runs = []
  for folder in ("one", "two"):
    predictions = random.normal(size=(2, N, 3))
    results = evaluators.summarise("auto", predictions, labels, ("A", "B", "C"))
    runs.append(evaluators.Evaluation(folder, results, IDS, labels, predictions))
  rows = compare.compare(*runs, resamples=50)
  assert [row.name for row in rows] == [
    *("accuracy", "weighted_f1", "macro_f1", "balanced_accuracy")
  ]
  (one,) = compare.compare(*runs, ["f1/a"], resamples=50)
  want = [
    metrics.compute("auto", p, labels).values["f1/0"] for p in runs[0].predictions
  ]
  assert one.first == pytest.approx(np.mean(want))
  text = compare.report(*runs, rows, split="test", groups=True, resamples=50)
  assert "1: one (seeds 0, 1)" in text and "50 draws of groups of samples" in text
  assert "the 2 seeds that both runs have" in text
  assert "not corrected for looking at 4 metrics" in text


def test_the_command_line_prints_a_table_or_one_line_of_error(tmp_path):
  for name, noise in (("a", NOISE), ("b", 2 * NOISE[::-1])):
    run = evaluation(noise)
    evaluators.write(tmp_path / name, "test", run.results, IDS, LABELS, run.predictions)
  call = lambda *arguments: subprocess.run(
    [sys.executable, "-m", "mcr_jax.compare", *map(str, arguments)],
    capture_output=True,
    text=True,
    timeout=120,
  )
  done = call(tmp_path / "a", tmp_path / "b", "--metric", "mae", "corr", "--groups")
  assert done.returncode == 0 and done.stderr == ""
  assert "mae: 1 is better by" in done.stdout and "corr: 1 is better" in done.stdout
  failed = call(tmp_path / "a", tmp_path / "b", "--split", "valid")
  assert failed.returncode == 2 and failed.stdout == ""
  assert failed.stderr.count("\n") == 1 and "valid.json does not exist" in failed.stderr
