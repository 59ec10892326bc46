"""Samples and frames of a clip as they come, at their places."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mcr_jax.extract import media
from mcr_jax.extract.features import Features, nothing
from mcr_jax.extract.steps import steps

STALE = 1.0  # seconds after which a frame says nothing of now
BATCH = 16  # frames that are looked at together


@runtime_checkable
class Seer(Protocol):
  """What makes frames features.

  Attributes:
    names: of the features.
  """

  names: tuple[str, ...]

  def look(self, frames: Sequence[np.ndarray]) -> Any:
    """What is in frames (height, width, 3) uint8, `BATCH` at most."""

  def measure(
    self, found: list, fresh: np.ndarray, rate: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) of all frames, and (N,) whether there is something in each.

    Args:
      found: what `look` returned, in order.
      fresh: (N,) False where a frame is only held.
      rate: frames a second.
    """


class Heard:
  """Samples at their places, silence between."""

  def __init__(self):
    self._parts, self._end = [], 0

  def take(self, sound: media.Sound) -> None:
    """Puts samples where they belong."""
    if (gap := sound.place - self._end) > 0:
      self._parts.append(np.zeros(gap, np.float32))
    # What comes twice is heard once.
    fresh = sound.samples[max(0, -gap) :]
    self._parts.append(fresh)
    self._end += max(gap, 0) + len(fresh)

  @property
  def samples(self) -> np.ndarray:
    """(N,) float32 at 16 kHz."""
    return np.concatenate([*self._parts, np.zeros(0, np.float32)])


class Seen:
  """What is in frames, found a batch at a time, so that no clip is held whole."""

  def __init__(self, seer: Seer, rate: float):
    self._seer, self._rate = seer, rate
    self._waiting, self._found, self._steps = [], [], []

  def take(self, frame: media.Frame) -> None:
    """Looks at a frame, at the latest when a batch is full."""
    self._steps.append((frame.step, frame.age <= STALE))
    self._waiting.append(frame.pixels)
    if len(self._waiting) == BATCH:
      self._look()

  def _look(self) -> None:
    if self._waiting:
      self._found.append(self._seer.look(self._waiting))
      self._waiting = []

  def features(self, seconds: float) -> Features:
    """The steps of a clip that lasts so long."""
    self._look()
    if not self._found:
      return nothing(self._seer.names)
    fresh = np.array([x for _, x in self._steps])
    values, present = self._seer.measure(self._found, fresh, self._rate)
    times = steps(self._rate, seconds)
    place = np.array([x for x, _ in self._steps])
    inside = place < len(times)
    whole = np.zeros((len(times), values.shape[1]), np.float32)
    mask = np.zeros(len(times), bool)
    whole[place[inside]] = values[inside]
    mask[place[inside]] = present[inside]
    return Features(whole, times, mask, self._seer.names)
