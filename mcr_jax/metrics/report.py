"""All metrics of one set of predictions, with a reason for each that is undefined."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.metrics import classification, schemes


@dataclasses.dataclass(frozen=True)
class Report:
  """The metrics of one set of predictions.

  Attributes:
    values: by name; NaN where undefined.
    reasons: why a value is undefined, by name.
    confusion: (C, C) counts with true rows and predicted columns, where every sample
      has one of C classes; else None.
    left_out: which samples the confusion matrix does not count, or "".
  """

  values: dict[str, float]
  reasons: dict[str, str]
  confusion: np.ndarray | None = None
  left_out: str = ""


def compute(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence = (),
  target_names: Sequence[str] = (),
) -> Report:
  """Every metric of a scheme.

  Args:
    scheme: of `SCHEMES`.
    predictions: (N, *outputs): numbers, or logits.
    labels: (N,) or (N, K).
    class_names: of a classification; of labels with classes of their own one sequence
      a label.
    target_names: of K labels or numbers; `class_names` may hold them, too.
  """
  scheme = schemes.resolve(scheme, labels)
  _check(scheme, predictions, labels, class_names)
  scores = schemes.scores(scheme, predictions, labels, class_names, target_names)
  read = _read(scheme, predictions, class_names)
  bad = int((~np.isfinite(read)).sum())
  if bad:
    # An arg max over NaN would answer, and be wrong.
    why = f"{bad} of {read.size} predicted numbers are not finite"
    return Report(dict.fromkeys(scores, np.nan), dict.fromkeys(scores, why))
  values = {name: float(score(None)) for name, score in scores.items()}
  reasons = {
    name: scores[name].why() for name, value in values.items() if np.isnan(value)
  }
  if scheme in ("multiclass", "binary"):
    return Report(values, reasons, *confusion(scheme, predictions, labels))
  return Report(values, reasons)


def weighted(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray,
  *,
  names: Sequence[str],
  class_names: Sequence = (),
  target_names: Sequence[str] = (),
) -> dict[str, np.ndarray]:
  """(R,) values of some metrics for R weightings (R, N) of the samples at once."""
  scheme = schemes.resolve(scheme, labels)
  _check(scheme, predictions, labels, class_names)
  scores = schemes.scores(scheme, predictions, labels, class_names, target_names)
  if not np.isfinite(_read(scheme, predictions, class_names)).all():
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


def _read(scheme: str, predictions: np.ndarray, names: Sequence) -> np.ndarray:
  """The numbers that metrics read: none of the classes that a label does not have."""
  if scheme != "multitask":
    return predictions
  classes = np.array(schemes.classes_of(names, predictions))
  return predictions[:, np.arange(predictions.shape[-1]) < classes[:, None]]


def _check(scheme: str, predictions: np.ndarray, labels: np.ndarray, names) -> None:
  classes = None
  if scheme == "multiclass":
    fits, classes = predictions.ndim == 2, predictions.shape[-1:]
  elif scheme == "binary":
    fits, classes = predictions.shape[1:] == (labels.shape[1], 2), (2,)
  elif scheme == "multitask":
    fits = predictions.ndim == 3 and predictions.shape[1] == labels.shape[1]
    classes = schemes.classes_of(names, predictions) if fits else None
    fits = fits and len(classes) == labels.shape[1]
  else:
    fits = predictions.size == labels.size
  if not fits or len(predictions) != len(labels):
    raise UserError(
      f"Predictions of shape {predictions.shape} do not fit labels of shape "
      f"{labels.shape} and the metrics {scheme!r}."
    )
  bad = int((~np.isfinite(labels)).sum())
  if bad:
    raise UserError(f"{bad} of {labels.size} labels are not finite.")
  if classes and labels.size:
    wrong = (labels < 0) | (labels >= np.array(classes))
    if wrong.any():
      allowed = np.broadcast_to(classes, labels.shape)[wrong][0]
      raise UserError(
        f"Labels lie in [{labels.min()}, {labels.max()}]; {allowed} classes allow "
        f"[0, {allowed - 1}]."
      )
