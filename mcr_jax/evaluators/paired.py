"""Is a difference between two runs more than chance? Over seeds, and over samples."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import scipy.stats

from mcr_jax import metrics

_NUMBERS_AT_ONCE = 2_000_000  # of weights, 16 MB


@dataclasses.dataclass(frozen=True)
class Bootstrap:
  """The difference of one metric when the samples are drawn again.

  Attributes:
    low: of the 95% percentile interval; NaN where undefined.
    high: of the same.
    p: two-sided, twice the smaller share of differences on one side of 0.
    undefined: the share of resamples in which the metric has no value.
  """

  low: float
  high: float
  p: float
  undefined: float


def t_test(first: Sequence[float], second: Sequence[float]) -> tuple[float, str]:
  """The two-sided p of a paired t-test over seeds, or NaN and why there is none."""
  first, second = np.asarray(first, float), np.asarray(second, float)
  if len(first) < 2:
    return np.nan, f"a paired t-test needs 2 seeds in common, there are {len(first)}"
  if not np.isfinite(first + second).all():
    return np.nan, "the metric is undefined for a seed"
  difference = first - second
  if np.ptp(difference) <= 1e-12 * np.abs(difference).max():
    return np.nan, "the difference is the same for every seed"
  return float(scipy.stats.ttest_rel(first, second).pvalue), ""


def holm(values: Sequence[float]) -> list[float]:
  """The p of several tests by Holm's method: as large as all of them together need.

  A test that was not made, NaN, stays so and counts for nothing.
  """
  values = np.asarray(values, float)
  made = np.flatnonzero(~np.isnan(values))
  order = made[np.argsort(values[made], kind="stable")]
  found = values.copy()
  steps = np.arange(len(order), 0, -1) * values[order]
  found[order] = np.minimum(1.0, np.maximum.accumulate(steps))
  return found.tolist()


def bootstrap(
  scheme: str,
  first: np.ndarray,
  second: np.ndarray,
  labels: np.ndarray,
  names: Sequence[str],
  *,
  class_names: Sequence = (),
  target_names: Sequence[str] = (),
  groups: np.ndarray | None = None,
  resamples: int = 10_000,
  seed: int = 0,
) -> Mapping[str, Bootstrap]:
  """The paired bootstrap of mean-over-seeds metrics, first minus second, by name.

  Both runs are scored on the same samples, drawn with replacement; seeds are not
  drawn, so the interval is for these trained models and new samples.

  Args:
    scheme: of `metrics.compute`.
    first: (S1, N, *outputs) predictions.
    second: (S2, N, *outputs) predictions of the same samples.
    labels: (N,) or (N, K).
    names: of the metrics.
    class_names: of `metrics.compute`.
    target_names: of the same.
    groups: (N,) numbers; samples of one number are drawn together.
    resamples: how many.
    seed: of the drawing.
  """
  groups = np.arange(len(labels)) if groups is None else groups
  random = np.random.default_rng(seed)
  at_once = max(1, _NUMBERS_AT_ONCE // len(labels))

  def score(run: np.ndarray, weight: np.ndarray) -> dict[str, np.ndarray]:
    """The mean over seeds of every metric, (R,) for the weights (R, N)."""
    seeds = [
      metrics.weighted(
        scheme,
        one,
        labels,
        weight,
        names=names,
        class_names=class_names,
        target_names=target_names,
      )
      for one in run
    ]
    return {name: np.mean([seed[name] for seed in seeds], axis=0) for name in names}

  parts = {name: [] for name in names}
  for start in range(0, resamples, at_once):
    weight = _weights(random, groups, min(at_once, resamples - start))
    one, other = score(first, weight), score(second, weight)
    for name in names:
      parts[name].append(one[name] - other[name])
  return {name: _interval(np.concatenate(part)) for name, part in parts.items()}


def _weights(random: np.random.Generator, groups: np.ndarray, count: int) -> np.ndarray:
  """(count, N) how often each sample is drawn."""
  size = int(groups.max()) + 1
  drawn = random.integers(size, size=(count, size)) + np.arange(count)[:, None] * size
  times = np.bincount(drawn.reshape(-1), minlength=count * size).reshape(count, size)
  return times[:, groups].astype(np.float64)


def _interval(differences: np.ndarray) -> Bootstrap:
  defined = differences[np.isfinite(differences)]
  undefined = 1 - len(defined) / len(differences)
  if not len(defined):
    return Bootstrap(np.nan, np.nan, np.nan, undefined)
  low, high = np.quantile(defined, [0.025, 0.975])
  # The sample itself counts as one resample on either side, so that p is never 0.
  below, above = 1 + (defined <= 0).sum(), 1 + (defined >= 0).sum()
  p = min(1.0, 2 * min(below, above) / (1 + len(defined)))
  return Bootstrap(float(low), float(high), float(p), undefined)
