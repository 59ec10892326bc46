"""Metrics of every seed, their mean and deviation, and those of the seeds together."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcr_jax import metrics
from mcr_jax.errors import UserError
from mcr_jax.metrics import schemes
from mcr_jax.ops.classes import mask_classes


@dataclasses.dataclass(frozen=True)
class MetricResult:
  """One metric of all seeds; NaN where it is undefined.

  Attributes:
    mean: over the seeds.
    std: over the seeds, dividing by their number minus 1; NaN for one.
    seeds: its value for each seed.
    ensemble: its value for the seeds' averaged predictions.
    reason: in words, why one of these is undefined, or "".
  """

  mean: float
  std: float
  seeds: tuple[float, ...]
  ensemble: float
  reason: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Results:
  """What all seeds of a run come to on one split.

  Attributes:
    scheme: of the metrics, see `metrics.SCHEMES`.
    samples: how many were scored.
    seeds: their numbers.
    class_names: of a classification, or of the K labels or numbers that have no
      `target_names`; of labels with classes of their own one tuple a label.
    target_names: of K labels or numbers.
    metrics: by name, in the order of a table.
    confusion: (C, C) counts summed over the seeds, true classes in rows, or None.
    notes: sentences, such as what the confusion matrix leaves out.
    checkpoint: that was scored, `best` or `last`.
    unchosen: seeds whose epoch the validation split did not choose, since the score
      that chooses was undefined in every one.
  """

  scheme: str
  samples: int
  seeds: tuple[int, ...]
  class_names: tuple = ()
  target_names: tuple[str, ...] = ()
  metrics: Mapping[str, MetricResult]
  confusion: tuple[tuple[int, ...], ...] | None = None
  notes: tuple[str, ...] = ()
  checkpoint: str = "best"
  unchosen: tuple[int, ...] = ()

  def to_json(self) -> dict[str, Any]:
    """As plain values, for a file; NaN stays NaN."""
    fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    fields["metrics"] = {k: dataclasses.asdict(x) for k, x in self.metrics.items()}
    # What a file of an ordinary evaluation does not say.
    if self.checkpoint == "best":
      del fields["checkpoint"]
    if not self.unchosen:
      del fields["unchosen"]
    if not self.target_names:
      del fields["target_names"]
    return fields

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> "Results":
    """What `to_json` made, whose NaN may have become None.

    Raises:
      ValueError, KeyError, TypeError: it is something else.
    """
    seeds = tuple(values["seeds"])
    found = {name: _metric(score) for name, score in dict(values["metrics"]).items()}
    if any(len(score.seeds) != len(seeds) for score in found.values()):
      raise ValueError("a metric lacks the value of a seed")
    return cls(
      scheme=values["scheme"],
      samples=values["samples"],
      seeds=seeds,
      metrics=found,
      class_names=_frozen(values["class_names"]),
      target_names=_frozen(values.get("target_names", ())),
      confusion=_frozen(values.get("confusion")),
      notes=_frozen(values.get("notes", ())),
      checkpoint=values.get("checkpoint", "best"),
      unchosen=_frozen(values.get("unchosen", ())),
    )


def summarise(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence = (),
  seeds: Sequence[int] = (),
  *,
  target_names: Sequence[str] = (),
  checkpoint: str = "best",
  unchosen: Sequence[int] = (),
) -> Results:
  """The results of all seeds of a run on one split.

  Args:
    scheme: of `metrics.compute`.
    predictions: (S, N, *outputs).
    labels: (N,) or (N, K).
    class_names: see `Results`.
    seeds: their numbers; 0, 1, ... where not given.
    target_names: see `Results`.
    checkpoint: that made the predictions.
    unchosen: see `Results`.
  """
  predictions, labels = np.asarray(predictions), np.asarray(labels)
  seeds = tuple(int(seed) for seed in seeds) or tuple(range(len(predictions)))
  if not len(predictions) or len(seeds) != len(predictions):
    raise UserError(
      f"Predictions of {len(predictions)} seeds were given, and the seeds "
      f"{list(seeds)}."
    )
  scheme = metrics.resolve(scheme, labels)
  compute = lambda values: metrics.compute(
    scheme, values, labels, class_names, target_names
  )
  reports = [compute(values) for values in predictions]
  together = compute(ensemble(predictions, schemes.scheme_of(scheme).task, class_names))
  tables = [r.confusion for r in reports if r.confusion is not None]
  left_out = dict.fromkeys(r.left_out for r in reports if r.left_out)
  return Results(
    scheme=scheme,
    samples=len(labels),
    seeds=seeds,
    metrics={
      name: _over_seeds(name, reports, together, seeds) for name in together.values
    },
    class_names=_frozen(class_names),
    target_names=tuple(target_names),
    # A seed without finite predictions has no matrix, and a partial sum misleads.
    confusion=_frozen(sum(tables).tolist()) if len(tables) == len(seeds) else None,
    notes=tuple(f"Confusion matrix: {note}; they are left out." for note in left_out),
    checkpoint=checkpoint,
    unchosen=tuple(unchosen),
  )


def ensemble(
  predictions: np.ndarray, task: str, class_names: Sequence = ()
) -> np.ndarray:
  """(N, *outputs) the seeds together: the mean number, or the log of the mean share.

  Args:
    predictions: (S, N, *outputs).
    task: `regression`, or one of classes.
    class_names: of labels with classes of their own, one sequence a label.
  """
  if task == "regression":
    return predictions.mean(axis=0)
  mean = shares(predictions, task, class_names).mean(axis=0)
  return np.log(np.maximum(mean, np.finfo(float).tiny))


def shares(
  logits: np.ndarray, task: str = "multiclass", class_names: Sequence = ()
) -> np.ndarray:
  """The softmax over the last axis, in float64; classes a label lacks have none."""
  logits = np.asarray(logits, np.float64)
  if task == "multitask":
    logits = mask_classes(logits, metrics.classes_of(class_names, logits))
  with np.errstate(invalid="ignore"):  # inf - inf: NaN is the answer
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
  return powers / powers.sum(axis=-1, keepdims=True)


def _over_seeds(
  name: str,
  reports: Sequence[metrics.Report],
  together: metrics.Report,
  seeds: Sequence[int],
) -> MetricResult:
  values = np.array([report.values[name] for report in reports])
  why = {
    s: r.reasons[name] for s, r in zip(seeds, reports, strict=True) if name in r.reasons
  }
  reason = next(iter(why.values()), "")
  if 0 < len(why) < len(seeds):
    reason = f"seed {next(iter(why))}: {reason}"
  alone = f"ensemble: {together.reasons[name]}" if name in together.reasons else ""
  return MetricResult(
    mean=float(values.mean()),
    std=float(values.std(ddof=1)) if len(values) > 1 else math.nan,
    seeds=tuple(values.tolist()),
    ensemble=together.values[name],
    reason=reason or alone,
  )


def _metric(values: Mapping[str, Any]) -> MetricResult:
  numbers = {name: _number(values[name]) for name in ("mean", "std", "ensemble")}
  seeds = tuple(map(_number, values["seeds"]))
  return MetricResult(**numbers, seeds=seeds, reason=str(values["reason"]))


def _number(value: float | None) -> float:
  return math.nan if value is None else float(value)


def _frozen(value: Any) -> Any:
  """Tuples for lists, however deep."""
  return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
