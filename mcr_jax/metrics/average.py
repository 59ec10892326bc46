"""Weighted averages: the one place where metrics divide.

A metric's `weight` is (N,), or (R, N) to value R resamples of the samples at once;
None is all ones. Its value has the weight's leading shape, and is NaN where it is
undefined.
"""

import numpy as np

Value = np.ndarray | np.generic
"""A metric: a scalar for weights (N,), (R,) for (R, N)."""


def ratio(numerator: Value, denominator: Value) -> Value:
  """a / b, NaN where b is 0."""
  zero = np.equal(denominator, 0)
  return np.where(zero, np.nan, numerator / np.where(zero, 1, denominator))


def mean(values: np.ndarray, weight: np.ndarray | None = None) -> Value:
  """sum_i w_i v_i / sum_i w_i, for values (N,) or (N, F)."""
  weight = ones(values) if weight is None else weight
  total = weight.sum(axis=-1)
  total = total if values.ndim == 1 else total[..., None]
  return ratio(weight @ values.astype(np.float64), total)


def ones(values: np.ndarray) -> np.ndarray:
  """(N,) the weight that counts every sample once."""
  return np.ones(len(values))
