"""All metrics of one set of predictions, with a reason for each that is undefined."""

import dataclasses
import difflib
from collections.abc import Sequence

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.metrics import classification, schemes

_LOWER = {"loss", "mae", "mae_clipped", "rmse"}
_HIGHER = {
  *("corr", "ccc", "acc7", "acc5", "accuracy", "balanced_accuracy", "precision"),
  *("recall", "f1", "weighted_f1", "macro_f1", "acc", "mean_acc", "mean_f1"),
  *("f1_by_prediction", "sims_acc2", "sims_acc3", "sims_acc5", "sims_f1"),
  *(f"acc2_{zero}" for zero in ("has0", "non0", "positive")),
  *(f"f1_{zero}" for zero in ("has0", "non0", "positive")),
  *(f"f1_{zero}_by_prediction" for zero in ("has0", "non0", "positive")),
}


@dataclasses.dataclass(frozen=True)
class Report:
  """The metrics of one set of predictions.

  Attributes:
    values: by name; NaN where undefined.
    reasons: why a value is undefined, or what a table leaves out, by name.
    tables: `confusion`, (C, C) counts with true rows and predicted columns, and
      `per_class`, text, where the task has classes.
  """

  values: dict[str, float]
  reasons: dict[str, str]
  tables: dict[str, np.ndarray | str]


def compute(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence[str] = (),
) -> Report:
  """Every metric of a scheme.

  Args:
    scheme: `auto`, `sentiment`, `sims`, `regression`, `binary` or `multiclass`.
    predictions: (N, *outputs): numbers, or logits.
    labels: (N,) or (N, K).
    class_names: of a classification, or of the K numbers of a regression.
  """
  scheme = schemes.resolve(scheme, labels)
  _check(scheme, predictions, labels)
  scores = schemes.scores(scheme, predictions, labels, class_names)
  bad = int((~np.isfinite(predictions)).sum())
  if bad:
    # An arg max over NaN would answer, and be wrong.
    why = f"{bad} of {predictions.size} predicted numbers are not finite"
    return Report(dict.fromkeys(scores, np.nan), dict.fromkeys(scores, why), {})
  values = {name: float(score(None)) for name, score in scores.items()}
  reasons = {
    name: _why(name, predictions, labels)
    for name, value in values.items()
    if np.isnan(value)
  }
  tables = {}
  if scheme in ("multiclass", "binary"):
    names = schemes.names_of(class_names, predictions.shape[1])
    matrix, note = confusion(scheme, predictions, labels)
    tables["confusion"] = matrix
    tables["per_class"] = classification.per_class_text(matrix, names)
    if note:
      reasons["confusion"] = note
  return Report(values, reasons, tables)


def weighted(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray,
  *,
  names: Sequence[str],
  class_names: Sequence[str] = (),
) -> dict[str, np.ndarray]:
  """(R,) values of some metrics for R weightings (R, N) of the samples at once."""
  scheme = schemes.resolve(scheme, labels)
  _check(scheme, predictions, labels)
  scores = schemes.scores(scheme, predictions, labels, class_names)
  if not np.isfinite(predictions).all():
    return {name: np.full(len(weight), np.nan) for name in names}
  return {name: scores[name](weight) for name in names}


def confusion(
  scheme: str, predictions: np.ndarray, labels: np.ndarray
) -> tuple[np.ndarray, str]:
  """The confusion matrix of `multiclass` or `binary`, and what it leaves out.

  Of K two-way labels, the predicted class is the one with the largest log-odds,
  arg max_k (z_k1 - z_k0), and the true class the one label that is 1; samples with
  none or several are left out.
  """
  classes = predictions.shape[1]
  if scheme == "multiclass":
    predicted = predictions.argmax(axis=-1)
    return classification.confusion(predicted, labels, classes), ""
  single = (labels != 0).sum(axis=1) == 1
  predicted = (predictions[..., 1] - predictions[..., 0]).argmax(axis=1)
  true = labels.argmax(axis=1)
  matrix = classification.confusion(predicted[single], true[single], classes)
  note = f"{(~single).sum()} of {len(single)} samples do not have exactly one label"
  return matrix, "" if single.all() else note


def higher_is_better(name: str) -> bool:
  """Whether a metric improves upwards; splits before it and classes do not matter.

  Raises:
    UserError: no metric has this name.
  """
  parts = name.split("/")
  for part in parts:
    if part in _LOWER or part in _HIGHER:
      return part in _HIGHER
  near = difflib.get_close_matches(parts[-1], sorted(_LOWER | _HIGHER), 1)
  hint = f" Did you mean {near[0]!r}?" if near else ""
  raise UserError(f"No metric is named {name!r}.{hint}")


def _check(scheme: str, predictions: np.ndarray, labels: np.ndarray) -> None:
  if scheme == "multiclass":
    fits, allowed = predictions.ndim == 2, predictions.shape[-1]
  elif scheme == "binary":
    fits, allowed = predictions.shape[1:] == (labels.shape[1], 2), 2
  else:
    fits, allowed = predictions.size == labels.size, None
  if not fits or len(predictions) != len(labels):
    raise UserError(
      f"Predictions of shape {predictions.shape} do not fit labels of shape "
      f"{labels.shape} and the metrics {scheme!r}."
    )
  bad = int((~np.isfinite(labels)).sum())
  if bad:
    raise UserError(f"{bad} of {labels.size} labels are not finite.")
  if allowed and labels.size and not (labels.min() >= 0 and labels.max() < allowed):
    raise UserError(
      f"Labels lie in [{labels.min()}, {labels.max()}]; {allowed} classes allow "
      f"[0, {allowed - 1}]."
    )


def _why(name: str, predictions: np.ndarray, labels: np.ndarray) -> str:
  """Why a metric of finite predictions is NaN."""
  if not len(labels):
    return "there are no samples"
  metric, _, owner = name.partition("/")
  if metric == "precision":
    return f"no sample is predicted to be {owner}"
  if metric == "recall":
    return f"no sample is {owner}"
  if metric == "f1" and owner:
    return f"no sample is {owner} or is predicted to be"
  if "non0" in name:
    return "every label is 0"
  if name.endswith("ccc"):
    return "labels and predictions are one and the same constant"
  if len(labels) == 1:
    return "there is only one sample"
  flat = lambda x: not np.ptp(x.reshape(len(labels), -1), axis=0).all()
  sides = {"predictions": flat(predictions), "labels": flat(labels)}
  return f"the {' and the '.join(s for s, f in sides.items() if f)} are constant"
