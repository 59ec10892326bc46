"""Metrics of every seed, their mean and deviation, and those of the seeds together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcr_jax import metrics
from mcr_jax.errors import UserError

Results = dict[str, Any]
"""What `summarise` returns; plain Python throughout, NaN where undefined."""


def summarise(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence[str] = (),
  seeds: Sequence[int] = (),
) -> Results:
  """The results of all seeds of a run on one split.

  Args:
    scheme: of `metrics.compute`.
    predictions: (S, N, *outputs).
    labels: (N,) or (N, K).
    class_names: of a classification, or of the K numbers of a regression.
    seeds: their numbers; 0, 1, ... where not given.

  Returns:
    `scheme`, `samples`, `seeds`, `class_names`, and
    `metrics`: name -> `mean` and `std` (dividing by S - 1; NaN for one seed) over the
      seeds, `seeds` the value of each, `ensemble` that of the averaged predictions,
      `reason` in words where a value is undefined, else "";
    `confusion`: (C, C) counts summed over the seeds, rows true, or None;
    `notes`: sentences, such as what the confusion matrix leaves out.
  """
  predictions, labels = np.asarray(predictions), np.asarray(labels)
  seeds = [int(seed) for seed in seeds] or list(range(len(predictions)))
  if not len(predictions) or len(seeds) != len(predictions):
    raise UserError(
      f"Predictions of {len(predictions)} seeds were given, and the seeds {seeds}."
    )
  scheme = metrics.resolve(scheme, labels)
  compute = lambda values: metrics.compute(scheme, values, labels, class_names)
  reports = [compute(values) for values in predictions]
  together = compute(ensemble(predictions, labels))
  tables = [r.confusion for r in reports if r.confusion is not None]
  notes = {r.left_out for r in reports if r.left_out}
  return {
    "scheme": scheme,
    "samples": len(labels),
    "seeds": seeds,
    "class_names": list(class_names),
    "metrics": {
      name: _over_seeds(name, reports, together, seeds) for name in together.values
    },
    # A seed without finite predictions has no matrix, and a partial sum misleads.
    "confusion": sum(tables).tolist() if len(tables) == len(seeds) else None,
    "notes": [f"Confusion matrix: {note}; they are left out." for note in notes],
  }


def ensemble(predictions: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """(N, *outputs) the seeds together: the mean number, or the log of the mean share.

  Args:
    predictions: (S, N, *outputs).
    labels: (N,) or (N, K), only for their type: float labels mean numbers.
  """
  if labels.dtype.kind == "f":
    return predictions.mean(axis=0)
  return np.log(np.maximum(shares(predictions).mean(axis=0), np.finfo(float).tiny))


def shares(logits: np.ndarray) -> np.ndarray:
  """The softmax over the last axis, in float64."""
  logits = np.asarray(logits, np.float64)
  with np.errstate(invalid="ignore"):  # inf - inf: NaN is the answer
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def _over_seeds(
  name: str,
  reports: Sequence[metrics.Report],
  together: metrics.Report,
  seeds: Sequence[int],
) -> dict[str, Any]:
  values = np.array([report.values[name] for report in reports])
  why = {
    s: r.reasons[name] for s, r in zip(seeds, reports, strict=True) if name in r.reasons
  }
  reason = next(iter(why.values()), "")
  if 0 < len(why) < len(seeds):
    reason = f"seed {next(iter(why))}: {reason}"
  alone = f"ensemble: {together.reasons[name]}" if name in together.reasons else ""
  return {
    "mean": float(values.mean()),
    "std": float(values.std(ddof=1)) if len(values) > 1 else float("nan"),
    "seeds": values.tolist(),
    "ensemble": together.values[name],
    "reason": reason or alone,
  }
