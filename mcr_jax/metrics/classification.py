"""How often classes are right: predicted classes (N,) against true classes (N,).

Everything but the accuracy is read off the confusion matrix n, rows true and columns
predicted: n_c. samples are of class c (its support), n_.c were predicted to be.
`average` says what `weight` is.
"""

from collections.abc import Sequence

import numpy as np

from mcr_jax.metrics import average


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


def per_class_text(matrix: np.ndarray, class_names: Sequence[str]) -> str:
  """Precision, recall, F1 and support of every class, one line each."""
  width = max([len("class"), *map(len, class_names)])
  lines = [f"{'class':<{width}}  precision  recall      f1  support"]
  columns = precision(matrix), recall(matrix), f1(matrix), matrix.sum(axis=-1)
  for name, *scores, support in zip(class_names, *columns, strict=True):
    p, r, f = ("n/a" if np.isnan(score) else f"{score:.4f}" for score in scores)
    lines.append(f"{name:<{width}}  {p:>9}  {r:>6}  {f:>6}  {support:>7g}")
  return "\n".join(lines)


def _hits(matrix: np.ndarray) -> np.ndarray:
  return np.diagonal(matrix, axis1=-2, axis2=-1)


def _mean_of_defined(scores: np.ndarray) -> average.Value:
  defined = ~np.isnan(scores)
  return average.ratio(np.nan_to_num(scores).sum(axis=-1), defined.sum(axis=-1))
