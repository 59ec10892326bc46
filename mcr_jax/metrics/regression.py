"""How close numbers are: predictions p (N,) against labels y (N,).

`average` says what `weight` is.
"""

import numpy as np

from mcr_jax.metrics import average
from mcr_jax.metrics.metric import Metric

# Of a variance whose data were scaled to 1: below it there is only rounding.
_ROUNDING = 1e-12


def mae(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Mean absolute error, mean |p - y|; nothing is clipped."""
  return average.mean(np.abs(_float(predictions) - _float(labels)), weight)


def rmse(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Root of the mean squared error, sqrt(mean (p - y)^2)."""
  return np.sqrt(average.mean((_float(predictions) - _float(labels)) ** 2, weight))


def corr(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Pearson's correlation, cov(p, y) / sqrt(var(p) var(y)).

  Undefined where predictions or labels are constant.
  """
  p, y = _scaled(predictions), _scaled(labels)
  _, _, p_var, y_var, cov = _moments(p, y, weight)
  defined = (p_var > _ROUNDING) & (y_var > _ROUNDING)
  r = average.ratio(cov, np.where(defined, np.sqrt(np.abs(p_var * y_var)), 0.0))
  return np.clip(r, -1.0, 1.0)


def ccc(
  predictions: np.ndarray, labels: np.ndarray, weight: np.ndarray | None = None
) -> average.Value:
  """Lin's concordance, 2 cov(p, y) / (var(p) + var(y) + (mean p - mean y)^2).

  Variances divide by N. Undefined where both sides are one and the same constant.
  """
  p, y = _float(predictions), _float(labels)
  if len(y):
    # Concordance does not change when both sides move and scale together.
    p, y = p - y[0], y - y[0]
    scale = max(np.abs(p).max(), np.abs(y).max()) or 1.0
    p, y = p / scale, y / scale
  p_mean, y_mean, p_var, y_var, cov = _moments(p, y, weight)
  spread = p_var + y_var + (p_mean - y_mean) ** 2
  return average.ratio(2 * cov, np.where(spread > _ROUNDING, spread, 0.0))


def _float(values: np.ndarray) -> np.ndarray:
  return np.asarray(values, np.float64)


def _scaled(values: np.ndarray) -> np.ndarray:
  """Mean 0 and variance 1; zeros where all values are equal."""
  values = _float(values)
  if not len(values) or np.ptp(values) == 0:
    return np.zeros_like(values)
  values = values - values.mean()
  return values / np.sqrt(np.mean(values**2))


def _moments(
  p: np.ndarray, y: np.ndarray, weight: np.ndarray | None
) -> tuple[average.Value, ...]:
  """Means, variances and the covariance."""
  moments = average.mean(np.stack([p, y, p * p, y * y, p * y], axis=-1), weight)
  p_mean, y_mean, pp, yy, py = np.moveaxis(moments, -1, 0)
  return p_mean, y_mean, pp - p_mean**2, yy - y_mean**2, py - p_mean * y_mean


def _constant(predictions: np.ndarray, labels: np.ndarray) -> str:
  """Why there is no correlation."""
  if len(labels) == 1:
    return "there is only one sample"
  sides = {"predictions": predictions, "labels": labels}
  flat = [f"the {side}" for side, values in sides.items() if not np.ptp(values)]
  return f"{' and '.join(flat)} are constant"


MAE = Metric(
  "mae", mae, "lower", "Mean absolute error, mean |p - y|, without clipping."
)
CORR = Metric(
  "corr",
  corr,
  "higher",
  "Pearson's correlation, cov(p, y) / sqrt(var(p) var(y)).",
  _constant,
)
METRICS = (
  MAE,
  Metric(
    "rmse", rmse, "lower", "Root of the mean squared error, sqrt(mean (p - y)^2)."
  ),
  CORR,
  Metric(
    "ccc",
    ccc,
    "higher",
    "Lin's concordance correlation coefficient, 2 cov(p, y) / (var(p) + var(y) + "
    "(mean p - mean y)^2), with variances that divide by N.",
    "labels and predictions are one and the same constant",
  ),
)
"""Of numbers; where there are several, their plain mean, and `<target>/...` of each."""
