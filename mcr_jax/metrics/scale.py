"""The scale that numbers (N,) use: which range, of which signs, in which steps."""

import dataclasses
import math

import numpy as np

# Steps that annotations come in; a mean of several ratings has the finer ones.
STEPS = (1.0, 0.5, 1 / 3, 0.25, 0.2, 1 / 6, 0.1)
SIMS_STEP = 0.2
# What a sentiment in [-3, 3] reaches; less is another scale.
REACHED = 1.5


@dataclasses.dataclass(frozen=True)
class Scale:
  """What labels look like.

  Attributes:
    low: the smallest.
    high: the largest.
    step: the largest of `STEPS` that all are multiples of; 0 where there is none.
  """

  low: float
  high: float
  step: float

  @classmethod
  def of(cls, labels: np.ndarray) -> "Scale":
    """Of (N,) finite numbers, or of (N, K) all together."""
    values = np.unique(np.asarray(labels, np.float64))
    if not len(values):
      return cls(0.0, 0.0, 0.0)
    # float32 files, and decimals that were rounded when they were written.
    fits = lambda step: np.abs(values / step - np.round(values / step)).max() < 2e-3
    step = next((step for step in STEPS if fits(step)), 0.0)
    return cls(float(values[0]), float(values[-1]), step)

  @property
  def signed(self) -> bool:
    """Whether there are numbers on both sides of 0."""
    return self.low < 0 < self.high

  @property
  def reach(self) -> float:
    """The largest distance from 0."""
    return max(-self.low, self.high)

  def scheme(self) -> str:
    """The metrics that such labels are scored by where nobody says otherwise.

    `sims` are numbers of both signs in [-1, 1] in steps of 0.2, as CH-SIMS has them;
    `sentiment` are those in [-3, 3] that reach beyond 1.5; all others are `regression`.
    """
    if self.signed and self.reach <= 1 and self._in_steps(SIMS_STEP):
      return "sims"
    if self.signed and REACHED < self.reach <= 3:
      return "sentiment"
    return "regression"

  def _in_steps(self, step: float) -> bool:
    # Whole numbers are in steps of a fifth, too, but say nothing of CH-SIMS.
    return math.isclose(self.step, step)

  def __str__(self) -> str:
    steps = f"in steps of {self.step:.3g}" if self.step else "without fixed steps"
    return f"from {self.low:.4g} to {self.high:.4g}, {steps}"


def note(labels: np.ndarray, scheme: str) -> str:
  """Which metrics were chosen for a regression and why, and how to choose others.

  Args:
    labels: (N,) or (N, K) numbers.
    scheme: that was chosen.
  """
  scale = Scale.of(labels)
  others = [x for x in ("sentiment", "sims", "regression") if x != scheme]
  if labels.ndim > 1 and labels.shape[1] > 1:
    return f"Labels are numbers {scale}; they are scored as numbers (regression)."
  text = (
    f"Labels are numbers {scale}: evals.metrics=auto scores them as {scheme!r}; "
    f"evals.metrics={others[0]} or {others[1]} would do so otherwise."
  )
  if scale.step == 1.0 and scale.low >= 0 and scale.high < 20:
    text += " If they are classes, data.task=multiclass reads them as such."
  return text
