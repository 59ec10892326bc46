"""All metrics by the names that results, monitors and tables use."""

import functools
import itertools

from mcr_jax.errors import UserError, nearest
from mcr_jax.metrics import schemes
from mcr_jax.metrics.metric import Metric

LOSS = "loss"  # of the task; a monitor like the metrics, but no metric of predictions


def definitions(scheme: str = "") -> list[Metric]:
  """The metrics of a scheme, in the order of its reports; of all schemes without one.

  A metric of several schemes is listed once.
  """
  names = [scheme] if scheme else schemes.SCHEMES[1:]
  metrics = (schemes.scheme_of(name).metrics for name in names)
  return list(dict.fromkeys(itertools.chain.from_iterable(metrics)))


def find(name: str) -> Metric:
  """The metric of a name in results, such as `f1/joy`; a split may stand before it.

  Raises:
    UserError: no metric has this name.
  """
  for tried in (name, name.partition("/")[2]):
    for metric in _by_precedence():
      if metric.matches(tried):
        return metric
  known = [metric.name for metric in definitions()]
  raise UserError(f"No metric is named {name!r}.{nearest(name.split('/')[-1], known)}")


def higher_is_better(name: str) -> bool:
  """Whether a score improves upwards; a split may stand before its name.

  Raises:
    UserError: no metric has this name.
  """
  return name.split("/")[-1] != LOSS and find(name).higher


@functools.cache
def _by_precedence() -> tuple[Metric, ...]:
  """`f1/mae` is the F1 of a class "mae" before it is the MAE of a target "f1"."""
  order = ("", "class", "label", "target").index
  return tuple(sorted(definitions(), key=lambda metric: order(metric.owner)))
