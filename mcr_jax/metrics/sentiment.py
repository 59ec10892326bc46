"""Sentiment scores: predictions and labels in [-3, 3], or [-1, 1] for CH-SIMS.

Accuracies of continuous predictions p against labels y, by rounding or by sign.
`average` says what `weight` is.
"""

import functools

import numpy as np

from mcr_jax.metrics import average, classification, regression
from mcr_jax.metrics.metric import Metric

_SIMS_EDGES = {2: (0.0,), 3: (-0.1, 0.1), 5: (-0.7, -0.1, 0.1, 0.7)}


def rounded_accuracy(
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  limit: int,
) -> average.Value:
  """mean [round(clip(p)) = round(clip(y))], clipped to +-limit, half to even.

  A limit of 3 gives Acc-7, of 2 gives Acc-5.
  """
  grade = lambda x: np.rint(np.clip(x, -limit, limit))
  return classification.accuracy(grade(predictions), grade(labels), weight)


def sign(
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  zero: str,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Two classes from a sentiment: (predicted, true, weight).

  Args:
    predictions: (N,).
    labels: (N,).
    weight: see `average`.
    zero: what becomes of 0. `has0`: it counts as positive, p >= 0 against y >= 0.
      `non0`: samples of label 0 are left out, p > 0 against y > 0. `positive`: all
      samples, p > 0 against y > 0, so that 0 counts as negative (MulT's script
      without its exclusion of zeros).
  """
  weight = average.ones(labels) if weight is None else weight
  if zero == "has0":
    return predictions >= 0, labels >= 0, weight
  if zero == "non0":
    weight = weight * (labels != 0)
  return predictions > 0, labels > 0, weight


def acc2(
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  zero: str,
) -> average.Value:
  """The share of signs that are right; `sign` says what `zero` is."""
  return classification.accuracy(*sign(predictions, labels, weight, zero=zero))


def f1(
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  zero: str,
  by_prediction: bool = False,
) -> average.Value:
  """F1 of the two signs, weighted by their true support (`weighted_f1`).

  `sign` says what `zero` is. `by_prediction` weighs by predicted support instead, as
  the scripts of MulT and MISA do (`weighted_f1_by_prediction`).
  """
  predicted, true, weight = sign(predictions, labels, weight, zero=zero)
  matrix = classification.confusion(predicted, true, 2, weight)
  if by_prediction:
    return classification.weighted_f1_by_prediction(matrix)
  return classification.weighted_f1(matrix)


def sims_class(values: np.ndarray, *, classes: int) -> np.ndarray:
  """The bin of a CH-SIMS sentiment, clipped to +-1; bins are open to the left.

  2 classes: [-1, 0], (0, 1]. 3: [-1, -.1], (-.1, .1], (.1, 1]. 5: [-1, -.7],
  (-.7, -.1], (-.1, .1], (.1, .7], (.7, 1].
  """
  # In the values' own type, or a float32 label of 0.1 would lie above the edge 0.1.
  edges = np.asarray(_SIMS_EDGES[classes], np.asarray(values).dtype)
  return np.searchsorted(edges, np.clip(values, -1, 1), side="left")


def sims_accuracy(
  predictions: np.ndarray,
  labels: np.ndarray,
  weight: np.ndarray | None = None,
  *,
  classes: int,
) -> average.Value:
  """The share of samples in the right one of `sims_class`'s bins."""
  bins = functools.partial(sims_class, classes=classes)
  return classification.accuracy(bins(predictions), bins(labels), weight)


def sims_f1(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Weighted F1 of the two bins of `sims_class`."""
  bins = functools.partial(sims_class, classes=2)
  matrix = classification.confusion(bins(predictions), bins(labels), 2, weight)
  return classification.weighted_f1(matrix)


def mae_clipped(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """MAE with both sides clipped to +-1, as MMSA prints it for CH-SIMS."""
  clip = lambda x: np.clip(x, -1, 1)
  return regression.mae(clip(predictions), clip(labels), weight)


def corr_clipped(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Pearson's correlation with both sides clipped to +-1, as MMSA does for CH-SIMS."""
  clip = lambda x: np.clip(x, -1, 1)
  return regression.corr(clip(predictions), clip(labels), weight)


def _clipped_constant(predictions: np.ndarray, labels: np.ndarray) -> str:
  """Why there is no correlation of what is clipped."""
  why = regression.CORR.why
  return why(np.clip(predictions, -1, 1), np.clip(labels, -1, 1))


def _signs(zero: str, which: str, why: str = "") -> tuple[Metric, ...]:
  """Accuracy, F1 and F1 weighted by prediction, with one way to treat 0."""
  note = f"{zero}: {which}."
  by_prediction = functools.partial(f1, zero=zero, by_prediction=True)
  return (
    Metric(
      f"acc2_{zero}",
      functools.partial(acc2, zero=zero),
      "higher",
      f"The share of samples whose sign is right; {which}.",
      why,
      note,
    ),
    Metric(
      f"f1_{zero}",
      functools.partial(f1, zero=zero),
      "higher",
      f"F1 of the two signs, weighted by their true support; {which}.",
      why,
      note,
    ),
    Metric(
      f"f1_{zero}_by_prediction",
      by_prediction,
      "higher",
      "F1 of the two signs, weighted by how often each is predicted, as the scripts of "
      f"MulT and MISA print it: a constant prediction scores far too well; {which}.",
      why,
      classification.BY_PREDICTION,
      legacy=True,
    ),
  )


_SIGNS = (
  _signs("has0", "0 counts as positive, p >= 0 against y >= 0"),
  _signs(
    "non0", "samples of label 0 are left out, p > 0 against y > 0", "every label is 0"
  ),
  _signs("positive", "0 counts as negative, p > 0 against y > 0"),
)
METRICS = (
  regression.MAE,
  regression.CORR,
  *(
    Metric(
      f"acc{classes}",
      functools.partial(rounded_accuracy, limit=limit),
      "higher",
      f"Accuracy in {classes} classes: both sides clipped to +-{limit} and rounded to "
      "whole numbers, halves to even.",
    )
    for classes, limit in ((7, 3), (5, 2))
  ),
  *(metric for kind in zip(*_SIGNS, strict=True) for metric in kind),
)
"""Of a sentiment in [-3, 3]."""
SIMS = (
  regression.MAE,
  Metric(
    "mae_clipped",
    mae_clipped,
    "lower",
    "Mean absolute error with both sides clipped to +-1, as MMSA prints it for "
    "CH-SIMS.",
  ),
  regression.CORR,
  Metric(
    "corr_clipped",
    corr_clipped,
    "higher",
    "Pearson's correlation with both sides clipped to +-1, as MMSA prints it for "
    "CH-SIMS.",
    _clipped_constant,
  ),
  *(
    Metric(
      f"sims_acc{classes}",
      functools.partial(sims_accuracy, classes=classes),
      "higher",
      f"Accuracy in {classes} bins of [-1, 1], open to the left, with edges at "
      f"{', '.join(map(str, edges))}; values beyond +-1 are clipped.",
    )
    for classes, edges in _SIMS_EDGES.items()
  ),
  Metric(
    "sims_f1",
    sims_f1,
    "higher",
    "F1 of the two bins of sims_acc2, weighted by their true support.",
  ),
)
"""Of a sentiment in [-1, 1], as CH-SIMS is scored."""
