"""The scores on the validation split that decide which epoch of a seed is kept."""

import numpy as np

from mcr_jax import metrics
from mcr_jax.contract import Spec
from mcr_jax.errors import choose
from mcr_jax.training.programs import Programs


class Validation:
  """Loss and metrics of predictions on one split, for all seeds."""

  def __init__(self, programs: Programs, spec: Spec, labels: np.ndarray, monitor: str):
    """Checks that the monitored score exists, before anything is trained.

    Args:
      programs: of the run.
      spec: of its data.
      labels: of the utterances that are scored.
      monitor: of the config.
    """
    self.spec, self.labels, self.monitor = spec, labels, monitor
    zeros = np.zeros((len(labels), *spec.outputs), np.float32)
    known = ["loss", *self._report(zeros).values]
    choose(monitor, known, "train.monitor")
    self.higher = metrics.higher_is_better(monitor)
    # What stands for all of them where there is little room.
    self.shown = tuple(dict.fromkeys(("loss", known[1], monitor)))
    self._loss = programs.task_loss

  def __call__(
    self, predictions: np.ndarray
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """(S,) of every score, and why one is undefined, from (S, N, *outputs)."""
    reports = [self._report(values) for values in predictions]
    scores = {"loss": np.asarray(self._loss(predictions, self.labels), float)}
    reasons = {}
    for report in reports:
      reasons |= report.reasons
    for name in reports[0].values:
      scores[name] = np.array([report.values[name] for report in reports])
    return scores, reasons

  def _report(self, values: np.ndarray) -> metrics.Report:
    spec = self.spec
    return metrics.compute(
      spec.scheme, values, self.labels, spec.class_names, spec.target_names
    )
