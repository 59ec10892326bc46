"""A metric as a value: what it computes, which way is better, when there is none."""

import dataclasses
import re
from collections.abc import Callable

import numpy as np

from mcr_jax.metrics import average

_OWNER = re.compile("<(class|label|target)>")


@dataclasses.dataclass(frozen=True)
class Metric:
  """One way to score predictions.

  Attributes:
    name: in results; `<class>`, `<label>` or `<target>` stands for a name of the data.
    function: (predictions (N,), labels (N,), weight) -> value, see `average`; what it
      reads of a metric of one class is whether a sample is of that class.
    direction: of improvement, `higher` or `lower`.
    definition: what it is, for readers of a table.
    why: why finite predictions of some samples have no value, in words that follow
      "n/a, "; or a function of predictions and labels that says so.
    note: a sentence under the tables that show it, where its name needs one.
    legacy: whether it is only there to compare with numbers of published scripts.
  """

  name: str
  function: Callable[..., average.Value]
  direction: str
  definition: str
  why: str | Callable[[np.ndarray, np.ndarray], str] = ""
  note: str = ""
  legacy: bool = False

  @property
  def owner(self) -> str:
    """What one value belongs to: a `class`, `label` or `target`, or "" for all."""
    found = _OWNER.search(self.name)
    return found[1] if found else ""

  @property
  def higher(self) -> bool:
    """Whether it improves upwards."""
    return self.direction == "higher"

  @property
  def shown(self) -> bool:
    """Whether a table has it where nobody asks: it is of no class, nor legacy."""
    return self.owner != "class" and not self.legacy

  def named(self, owner: str) -> str:
    """Its name in results for one class, label or target."""
    return self.name.replace(f"<{self.owner}>", owner)

  def matches(self, name: str) -> bool:
    """Whether this is the metric of a name in results."""
    before, _, after = self.name.partition(f"<{self.owner}>")
    if not self.owner:
      return name == self.name
    long = len(name) > len(before) + len(after)
    return long and name.startswith(before) and name.endswith(after)


@dataclasses.dataclass(frozen=True)
class Score:
  """A metric of certain predictions, as a function of the samples' weights.

  Attributes:
    metric: that it is.
    predictions: (N,), or (N, K) for the plain mean over K columns; as the metric reads
      them, such as predicted classes.
    labels: of the same shape.
    owners: names of the columns.
  """

  metric: Metric
  predictions: np.ndarray
  labels: np.ndarray
  owners: tuple[str, ...] = ("",)

  @property
  def name(self) -> str:
    """In results."""
    return self.metric.named(self.owners[0])

  def __call__(self, weight: np.ndarray | None = None) -> average.Value:
    """Its value, NaN where undefined; (R,) for weights (R, N)."""
    columns = [self.metric.function(p, y, weight) for p, y in self._columns()]
    return np.mean(columns, axis=0)

  def why(self) -> str:
    """Why there is no value for finite predictions, where there is none."""
    if not len(self.labels):
      return "there are no samples"
    for owner, (p, y) in zip(self.owners, self._columns(), strict=True):
      if np.isnan(self.metric.function(p, y, None)):
        why = self.metric.why
        text = why(p, y) if callable(why) else why.replace("<class>", owner)
        return f"{owner}: {text}" if self.labels.ndim > 1 else text
    return ""

  def _columns(self) -> list[tuple[np.ndarray, np.ndarray]]:
    if self.labels.ndim == 1:
      return [(self.predictions, self.labels)]
    return list(zip(self.predictions.T, self.labels.T, strict=True))
