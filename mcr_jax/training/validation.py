"""The scores on the validation split that decide which epoch of a seed is kept."""

import difflib

import jax
import numpy as np

from mcr_jax import losses, metrics
from mcr_jax.errors import UserError


class Validation:
  """Loss and metrics of predictions on one split, for all seeds."""

  def __init__(self, loss: str, shape, labels: np.ndarray, monitor: str):
    """Checks that the monitored score exists, before anything is trained.

    Args:
      loss: its name, resolved.
      shape: `Spec` of the run.
      labels: of the split.
      monitor: of the config.
    """
    self.shape, self.labels, self.monitor = shape, labels, monitor
    zeros = np.zeros((len(labels), *shape.outputs), np.float32)
    known = ["loss", *self._report(zeros).values]
    if monitor not in known:
      near = difflib.get_close_matches(monitor, known, n=1, cutoff=0.0)[0]
      raise UserError(
        f"train.monitor={monitor!r} is no metric of this task; the nearest is "
        f"{near!r}. There are {', '.join(known)}."
      )
    self.higher = metrics.higher_is_better(monitor)
    # What stands for all of them where there is little room.
    self.shown = tuple(dict.fromkeys(("loss", known[1], monitor)))
    one = lambda values, labels: losses.per_example(loss, values, labels).mean()
    self._loss = jax.jit(jax.vmap(one, in_axes=(0, None)))

  def __call__(
    self, predictions: np.ndarray
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(S,) of every score, and why one is undefined, from (S, N, *outputs)."""
    reports = [self._report(values) for values in predictions]
    scores = {"loss": np.asarray(self._loss(predictions, self.labels), float)}
    reasons = {}
    for report in reports:
      reasons |= {k: why for k, why in report.reasons.items() if k in report.values}
    for name in reports[0].values:
      scores[name] = np.array([report.values[name] for report in reports])
    return scores, reasons

  def _report(self, values: np.ndarray) -> metrics.Report:
    names = self.shape.class_names
    return metrics.compute(self.shape.scheme, values, self.labels, names)
