"""The steps of a modality of a clip."""

import dataclasses

import numpy as np

from mcr_jax.data import alignment


@dataclasses.dataclass(frozen=True)
class Features:
  """The steps of one modality.

  Attributes:
    values: (T, D) float32.
    times: (T, 2) seconds.
    mask: (T,) False where there is nothing, such as no face.
    names: of the D features, or ().
    words: (T,) of text, else None.
  """

  values: np.ndarray
  times: np.ndarray
  mask: np.ndarray
  names: tuple[str, ...] = ()
  words: np.ndarray | None = None


def nothing(names: tuple[str, ...]) -> Features:
  """No step, where a clip has nothing of a modality."""
  values = np.zeros((0, len(names)), np.float32)
  return Features(values, np.zeros((0, 2)), np.zeros(0, bool), names)


def by_words(x: Features, spans: np.ndarray) -> Features:
  """The mean of the steps that each word overlaps; a hole where there is none."""
  values, mask = alignment.pool(x.values, x.times, x.mask, spans)
  return dataclasses.replace(x, values=values, times=spans, mask=mask)
