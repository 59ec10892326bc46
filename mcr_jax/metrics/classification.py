"""How often classes are right: predicted classes (N,) against true classes (N,).

Everything but the accuracy is read off the confusion matrix n, rows true and columns
predicted: n_c. samples are of class c (its support), n_.c were predicted to be.
`average` says what `weight` is.
"""

import functools
from collections.abc import Callable

import numpy as np

from mcr_jax.metrics import average, regression
from mcr_jax.metrics.metric import Metric


def accuracy(
  predicted: np.ndarray, true: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """The share of samples whose class is right, mean [p = y]."""
  return average.mean(np.asarray(predicted) == np.asarray(true), weight)


def confusion(
  predicted: np.ndarray,
  true: np.ndarray,
  classes: int,
  weight: np.ndarray | None = None,
) -> np.ndarray:
  """(..., C, C) how many samples of a row's class were predicted as a column's."""
  cells = np.asarray(true, np.int64) * classes + np.asarray(predicted, np.int64)
  if weight is None:
    counts = np.bincount(cells, minlength=classes**2)
  else:
    counts = weight @ (cells[:, None] == np.arange(classes**2)).astype(np.float64)
  return counts.reshape(*counts.shape[:-1], classes, classes)


def precision(matrix: np.ndarray) -> np.ndarray:
  """(..., C) n_cc / n_.c; undefined for a class that is never predicted."""
  return average.ratio(_hits(matrix), matrix.sum(axis=-2))


def recall(matrix: np.ndarray) -> np.ndarray:
  """(..., C) n_cc / n_c.; undefined for a class without samples."""
  return average.ratio(_hits(matrix), matrix.sum(axis=-1))


def f1(matrix: np.ndarray) -> np.ndarray:
  """(..., C) 2 n_cc / (n_c. + n_.c); undefined where a class is absent from both."""
  return average.ratio(2 * _hits(matrix), matrix.sum(axis=-1) + matrix.sum(axis=-2))


def weighted_f1(matrix: np.ndarray) -> average.Value:
  """F1 weighted by true support, sum_c n_c. F1_c / sum_c n_c.

  This is scikit-learn's f1_score(true, predicted, average="weighted").
  """
  support = matrix.sum(axis=-1)
  total = np.sum(support * np.nan_to_num(f1(matrix)), axis=-1)
  return average.ratio(total, support.sum(axis=-1))


def weighted_f1_by_prediction(matrix: np.ndarray) -> average.Value:
  """F1 weighted by predicted support, sum_c n_.c F1_c / sum_c n_.c.

  What the published scripts of MulT and MISA print, since they pass predictions as
  the truth: a constant prediction scores far too well. Only for comparison with them.
  """
  return weighted_f1(np.swapaxes(matrix, -1, -2))


def macro_f1(matrix: np.ndarray) -> average.Value:
  """The plain mean of F1_c over the classes that occur, as truth or prediction."""
  return _mean_of_defined(f1(matrix))


def balanced_accuracy(matrix: np.ndarray) -> average.Value:
  """The plain mean of the recalls of all classes with samples (also called UAR)."""
  return _mean_of_defined(recall(matrix))


def of_classes(
  function: Callable[[np.ndarray], average.Value],
  predicted: np.ndarray,
  true: np.ndarray,
  weight: np.ndarray | None = None,
) -> average.Value:
  """A function of the confusion matrix, such as `macro_f1`, of the classes that occur.

  A class beyond the last that occurs has no share in any of them.
  """
  classes = 1 + int(max(np.max(predicted, initial=0), np.max(true, initial=0)))
  return function(confusion(predicted, true, classes, weight))


def of_members(
  function: Callable[[np.ndarray], np.ndarray],
  predicted: np.ndarray,
  true: np.ndarray,
  weight: np.ndarray | None = None,
) -> average.Value:
  """A function by class, such as `recall`, of one class: bool against bool (N,)."""
  return function(confusion(predicted, true, 2, weight))[..., 1]


def _hits(matrix: np.ndarray) -> np.ndarray:
  return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_of_defined(scores: np.ndarray) -> average.Value:
  defined = ~np.isnan(scores)
  return average.ratio(np.nan_to_num(scores).sum(axis=-1), defined.sum(axis=-1))


def _of(name: str, function: Callable, definition: str, **more) -> Metric:
  """A metric of the confusion matrix of all classes."""
  return Metric(
    name, functools.partial(of_classes, function), "higher", definition, **more
  )


def _of_one(name: str, function: Callable, definition: str, why: str) -> Metric:
  """A metric of one class against all others."""
  return Metric(
    f"{name}/<class>",
    functools.partial(of_members, function),
    "higher",
    definition,
    why,
  )


BY_PREDICTION = (
  "by_prediction: F1 weighted by predicted support, only to compare with numbers from "
  "the scripts of MulT and MISA."
)
ACCURACY = Metric(
  "accuracy",
  accuracy,
  "higher",
  "The share of samples whose class is right; the class is the arg max of the logits.",
)
WEIGHTED_F1 = _of(
  "weighted_f1",
  weighted_f1,
  "F1 of every class, 2 n_cc / (n_c. + n_.c) of the confusion matrix n, weighted by "
  "its true support n_c.: scikit-learn's f1_score(true, predicted, "
  'average="weighted").',
)
MACRO_F1 = _of(
  "macro_f1",
  macro_f1,
  "The plain mean of the F1 of the classes that occur, as truth or as prediction: "
  'scikit-learn\'s f1_score(true, predicted, average="macro").',
)
METRICS = (
  ACCURACY,
  WEIGHTED_F1,
  MACRO_F1,
  _of(
    "balanced_accuracy",
    balanced_accuracy,
    "The plain mean of the recalls of all classes with samples, also called unweighted "
    "average recall (UAR).",
  ),
)
"""Of one label with several classes."""
BY_CLASS = (
  _of_one(
    "f1",
    f1,
    "F1 of one class, 2 n_cc / (n_c. + n_.c) of the confusion matrix n.",
    "no sample is <class> or is predicted to be",
  ),
  _of_one(
    "precision",
    precision,
    "The share of what is predicted to be a class that is of it, n_cc / n_.c.",
    "no sample is predicted to be <class>",
  ),
  _of_one(
    "recall",
    recall,
    "The share of a class that is predicted to be of it, n_cc / n_c.",
    "no sample is <class>",
  ),
)
"""Of each class of that label."""
TWO_WAY = (
  Metric("acc", accuracy, "higher", "The share of samples whose way is right."),
  _of(
    "f1",
    weighted_f1,
    "F1 of the two ways, weighted by their true support.",
  ),
  _of(
    "f1_by_prediction",
    weighted_f1_by_prediction,
    "F1 of the two ways, weighted by how often each is predicted, as the scripts of "
    "MulT print it: a constant prediction scores far too well.",
    note=BY_PREDICTION,
    legacy=True,
  ),
)
"""Of each of several labels with two ways, such as IEMOCAP's emotions."""
LEVELS = (
  ACCURACY,
  WEIGHTED_F1,
  MACRO_F1,
  Metric(
    "kappa",
    # The disagreement that chance gives squared distances is the denominator of ccc.
    regression.ccc,
    "higher",
    "Cohen's kappa with quadratic weights, 1 - sum (i - j)^2 n_ij / sum (i - j)^2 "
    "e_ij, where e is the confusion matrix of independent guesses of the same "
    "frequencies; classes count as levels 0, 1, 2, ...",
    "labels and predictions are one and the same class",
  ),
  Metric(
    "mae",
    regression.mae,
    "lower",
    "Mean absolute difference of the predicted and the true class, counted as levels "
    "0, 1, 2, ...",
  ),
)
"""Of each of several labels with classes of their own, which may be ordered."""
