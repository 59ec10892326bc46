"""Padded arrays of a data set: those of one batch, or all of one modality."""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import FILLER, Bounds
from mcr_jax.data.schema import Dataset, Modality, release

# TensorFlow and JAX take the memory of a NumPy array as it is from this alignment on.
ALIGNMENT = 64
# Bytes of a modality that are normalised at a time.
PIECE = 8 << 20


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


def whole(
  modality: Modality, name: str, length: int, normalizer: Normalizer
) -> dict[str, np.ndarray]:
  """`<m>` and `<m>_mask` of every sample in standard scores, to live on the device.

  Few samples at a time: beyond the result this takes the memory of a piece.
  """
  count = len(modality)
  values = aligned((count, length, modality.width))
  mask = np.empty((count, length), bool)
  step = max(1, PIECE // (4 * length * modality.width))
  for start in range(0, count, step):
    rows = np.arange(start, min(start + step, count))
    part, real = modality.padded(rows, length)
    values[rows[0] : rows[-1] + 1] = normalizer.apply(name, part, real)
    mask[rows[0] : rows[-1] + 1] = real
    release(modality.values)
  return {name: values, f"{name}_mask": mask}


def aligned(shape: tuple[int, ...]) -> np.ndarray:
  """An uninitialised float32 array that other libraries need not copy."""
  size = 4 * int(np.prod(shape))
  memory = np.empty(size + ALIGNMENT, np.uint8)
  skipped = -memory.ctypes.data % ALIGNMENT
  return memory[skipped : skipped + size].view(np.float32).reshape(shape)


def resident_bytes(dataset: Dataset, lengths: Mapping[str, int]) -> int:
  """How much memory all samples take, padded to the longest length."""
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
