"""Padded arrays of a data set: all of them, or those of one batch."""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import FILLER, Bounds
from mcr_jax.data.schema import Dataset, Modality


def arrays(
  dataset: Dataset,
  rows: np.ndarray,
  bounds: Bounds,
  normalizer: Normalizer | None = None,
) -> dict[str, np.ndarray]:
  """The batch of some samples: `<m>`, `<m>_mask`, `label` and `weight`.

  Args:
    dataset: where the samples are.
    rows: (B,) positions; `FILLER` repeats the first sample, cut to the bounds, with
      weight 0.
    bounds: (modality, steps) to pad to.
    normalizer: applied to real steps, where the data set is not normalised yet.
  """
  batch = {"weight": (rows != FILLER).astype(np.float32)}
  for name, length in bounds:
    values, mask = _padded(dataset.modalities[name], rows, length)
    if normalizer is not None:
      values = normalizer.apply(name, values, mask)
    batch[name], batch[f"{name}_mask"] = values, mask
  if dataset.labels is not None:
    batch["label"] = dataset.labels[np.maximum(rows, 0)]
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


def _padded(modality: Modality, rows: np.ndarray, length: int):
  real = rows != FILLER
  if real.all():
    return modality.padded(rows, length)
  # The first sample, which fills a batch up, may be too long for its bucket.
  first = np.zeros(1, np.int64)
  filling = modality.padded(first, max(length, int(modality.lengths[0])))
  parts = zip(modality.padded(rows[real], length), filling, strict=True)
  both = []
  for part, extra in parts:
    whole = np.empty((len(rows), *part.shape[1:]), part.dtype)
    whole[real], whole[~real] = part, extra[:, :length]
    both.append(whole)
  return tuple(both)
