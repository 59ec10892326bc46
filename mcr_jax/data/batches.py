"""Padded arrays of a data set: all of them, or those of one batch."""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.data.schedule import FILLER, Bounds


def arrays(
  dataset: Dataset,
  rows: np.ndarray,
  bounds: Bounds,
  normalizer: Normalizer | None = None,
) -> dict[str, np.ndarray]:
  """The batch of some samples: `<m>`, `<m>_mask`, `label` and `weight`.

  Args:
    dataset: where the samples are.
    rows: (B,) positions; `FILLER` repeats the first sample with weight 0.
    bounds: (modality, steps) to pad to.
    normalizer: applied to real steps, where the data set is not normalised yet.
  """
  place = np.maximum(rows, 0)
  batch = {"weight": (rows != FILLER).astype(np.float32)}
  for name, length in bounds:
    values, mask = dataset.modalities[name].padded(place, length)
    if normalizer is not None:
      values = normalizer.apply(name, values, mask)
    batch[name], batch[f"{name}_mask"] = values, mask
  if dataset.labels is not None:
    batch["label"] = dataset.labels[place]
  return batch


def resident(dataset: Dataset, lengths: Mapping[str, int]) -> dict[str, np.ndarray]:
  """Every sample padded to the longest length, to live on the device."""
  batch = arrays(dataset, np.arange(len(dataset)), tuple(lengths.items()))
  del batch["weight"]
  return batch


def resident_bytes(dataset: Dataset, lengths: Mapping[str, int]) -> int:
  """How much memory `resident` takes."""
  return sum(
    len(dataset) * steps * (4 * dataset.modalities[m].width + 1)
    for m, steps in lengths.items()
  )
