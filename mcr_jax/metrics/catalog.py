"""All metrics by the names that results, monitors and tables use."""

import functools

from mcr_jax.errors import UserError, nearest
from mcr_jax.metrics import schemes
from mcr_jax.metrics.metric import Metric

LOSS = "loss"  # of the task; a monitor like the metrics, but no metric of predictions


@functools.cache
def definitions(scheme: str = "") -> list[Metric]:
  """The metrics of a scheme, in the order of its reports; of all schemes without one.

  Two schemes may give one name to the same, which is listed once.
  """
  names = [scheme] if scheme else schemes.SCHEMES[1:]
  return list(
    dict.fromkeys(m for name in names for m in schemes.scheme_of(name).metrics)
  )


def find(name: str) -> Metric:
  """The metric of a name in results, such as `f1/joy`; a split may stand before it.

  Raises:
    UserError: no metric has this name.
  """
  known = definitions()
  # "f1/mae" is the F1 of a class "mae" before it is the MAE of a target "f1".
  ordered = sorted(known, key=lambda metric: ("", "class").count(metric.owner) == 0)
  for tried in (name, name.partition("/")[2]):
    for metric in ordered:
      if metric.matches(tried):
        return metric
  raise UserError(
    f"No metric is named {name!r}."
    f"{nearest(name.split('/')[-1], [m.name for m in known])}"
  )


def higher_is_better(name: str) -> bool:
  """Whether a score improves upwards; a split may stand before its name.

  Raises:
    UserError: no metric has this name.
  """
  return name.split("/")[-1] != LOSS and find(name).higher
