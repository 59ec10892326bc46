"""Steps of a clip, and what is measured more often than a step lasts."""

from collections.abc import Iterator

import numpy as np


def steps(rate: float, seconds: float) -> np.ndarray:
  """(T, 2) seconds of the steps that cover a clip; the last may be shorter."""
  # No step for what rounding leaves over.
  count = max(1, int(np.ceil(seconds * rate - 1e-6)))
  edges = np.minimum(np.arange(count + 1) / rate, seconds)
  return np.stack([edges[:-1], edges[1:]], 1)


def means(states: np.ndarray, centres: np.ndarray, times: np.ndarray) -> np.ndarray:
  """(T, D) float32: the mean of the states in each step; where none is, the nearest.

  Args:
    states: (N, D), at least one.
    centres: (N,) seconds, rising.
    times: (T, 2) seconds of the steps.
  """
  first, last = (np.searchsorted(centres, times[:, i] - 1e-6) for i in (0, 1))
  inside = last > first
  found = np.empty((len(times), states.shape[1]), np.float32)
  if inside.any():
    # Steps follow each other: where one has states, the next with any goes on.
    some, begin = states[: last.max()], first[inside]
    sums = np.add.reduceat(some, begin, axis=0, dtype=float)
    found[inside] = sums / (last - first)[inside, None]
  middle = times[~inside].mean(1)
  after = np.clip(np.searchsorted(centres, middle), 1, max(1, len(centres) - 1))
  before = after - 1
  after = np.minimum(after, len(centres) - 1)
  nearer = middle - centres[before] <= centres[after] - middle
  found[~inside] = states[np.where(nearer, before, after)]
  return found


def windows(count: int, most: int, margin: int) -> Iterator[tuple[int, int, int, int]]:
  """Parts of `count` states for a network that reads `most` at once.

  Neighbours share `2 * margin`, and each keeps up to the middle of what they share: no
  state that is kept lies nearer than `margin` to a border that is none of the clip's.

  Returns:
    first, last: of a part; and the first and last of what is kept of it.
  """
  first, kept = 0, 0
  while True:
    last = min(first + most, count)
    end = last if last == count else last - margin
    yield first, last, kept, end
    if last == count:
      return
    first, kept = end - margin, end
