"""Standard scores by the statistics of the training data, saved with a run."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcr_jax.data import archive
from mcr_jax.data.schema import Dataset, Modality, chunks
from mcr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Normalizer:
  """Subtracts the mean of each feature, divides by its deviation, and clips.

  Attributes:
    mean: modality -> (D,) float64, over the real steps of the training data.
    std: modality -> (D,) float64; 1 where a feature is constant.
    clip: standard scores are cut at +-clip.
    notes: what is odd about the data, one sentence each.
  """

  mean: Mapping[str, np.ndarray]
  std: Mapping[str, np.ndarray]
  clip: float = 5.0
  notes: tuple[str, ...] = ()

  @classmethod
  def fit(cls, dataset: Dataset, *, clip: float | int = 5.0) -> "Normalizer":
    """The statistics of a data set's training split, or of all where none is named."""
    if not clip > 0:
      raise UserError(
        f"data.clip={clip}; standard scores are cut at a positive number."
      )
    chosen = np.ones(len(dataset), bool)
    if dataset.splits is not None:
      chosen = dataset.splits == "train"
    mean, std, notes = {}, {}, []
    for name, modality in dataset.modalities.items():
      steps = modality.mask & np.repeat(chosen, modality.lengths)
      count, mean[name], std[name], constant = _statistics(modality.values, steps)
      if not count:
        notes.append(f"{name} has no real step in the training data.")
      elif constant:
        notes.append(
          f"{name}: {constant} of {modality.width} features are constant in the "
          "training data."
        )
    return cls(mean, std, float(clip), tuple(notes))

  @classmethod
  def of(cls, group: Any, dataset: Dataset) -> "Normalizer":
    """As the `data` group of a config says; the identity where it is switched off."""
    if group.normalize:
      return cls.fit(dataset, clip=group.clip or np.inf)
    widths = {m: x.width for m, x in dataset.modalities.items()}
    zeros = {m: np.zeros(n) for m, n in widths.items()}
    return cls(zeros, {m: np.ones(n) for m, n in widths.items()}, np.inf)

  def apply(self, name: str, values: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Standard scores of some steps of a modality; steps without data become 0.

    Args:
      values: (..., D).
      mask: (...), True on real steps.
    """
    mean, std = (x[name].astype(np.float32) for x in (self.mean, self.std))
    if values.shape[-1] != len(mean):
      raise UserError(
        f"{name} has {values.shape[-1]} features a step; the training data had "
        f"{len(mean)}."
      )
    return standard_scores(values, mask, mean, std, self.clip)

  def check(self, source: str, modalities: Mapping[str, Modality]) -> None:
    """Raises a UserError where features are not made like those of the training."""
    for name, modality in modalities.items():
      if name not in self.mean:
        raise UserError(
          f"{source}: {name} was not in the training data, which had "
          f"{', '.join(self.mean)}."
        )
      if modality.width != len(self.mean[name]):
        raise UserError(
          f"{source}: {name} has {modality.width} features a step; the "
          f"training data had {len(self.mean[name])}."
        )

  def arrays(self) -> dict[str, np.ndarray]:
    """`<m>_mean`, `<m>_std` and `clip`."""
    arrays = {"clip": np.asarray(self.clip, np.float64)}
    for name in self.mean:
      arrays |= {f"{name}_mean": self.mean[name], f"{name}_std": self.std[name]}
    return arrays

  @classmethod
  def of_arrays(cls, arrays: Mapping[str, np.ndarray], path: str) -> "Normalizer":
    """From `arrays`, which a file of this path holds."""
    part = lambda end: {
      key.removesuffix(end): array for key, array in arrays.items() if key.endswith(end)
    }
    mean, std = part("_mean"), part("_std")
    if "clip" not in arrays or set(mean) != set(std):
      raise UserError(
        f"{path} holds no normalisation: it needs 'clip' and, per modality, '<m>_mean' "
        f"and '<m>_std', but has {', '.join(arrays)}."
      )
    return cls(mean, {m: std[m] for m in mean}, float(arrays["clip"]))

  def save(self, path: str | os.PathLike) -> None:
    """Writes what `arrays` returns to an .npz file."""
    archive.write(path, self.arrays())

  @classmethod
  def load(cls, path: str | os.PathLike) -> "Normalizer":
    """Reads what `save` wrote."""
    return cls.of_arrays(archive.read(path), str(path))


def standard_scores(values: Any, mask: Any, mean: Any, std: Any, clip: float) -> Any:
  """(x - mean) / std cut at +-clip, and 0 where there is no data: on host or device.

  Args:
    values: (..., D), of NumPy or of JAX.
    mask: (...), True on real steps.
    mean, std: (D,). On a device both are arguments of its program: XLA would multiply
      by the inverse of a constant.
    clip: in standard deviations.
  """
  xp = values.__array_namespace__()
  wide = (1,) * (values.ndim - 1) + (-1,)
  scores = (values - mean.reshape(wide)) / std.reshape(wide)
  # Not a product: a hole may hold NaN.
  return xp.where(mask[..., None], xp.clip(scores, -clip, clip), 0)


def _statistics(values, steps):
  """Count, mean, deviation, and how many features are constant, of some rows.

  Chunks are merged by their means and sums of squared distances, which loses no
  digits where a mean is large.
  """
  width = values.shape[1]
  count, mean, squares = 0, np.zeros(width), np.zeros(width)
  low, high = np.full(width, np.inf), np.full(width, -np.inf)
  for rows in chunks(values, 1 << 22):
    part = values[rows][steps[rows]].astype(np.float64)
    if not len(part):
      continue
    total = count + len(part)
    own = part.mean(0)
    squares += ((part - own) ** 2).sum(0) + (own - mean) ** 2 * count * len(
      part
    ) / total
    mean += (own - mean) * len(part) / total
    low, high = np.minimum(low, part.min(0)), np.maximum(high, part.max(0))
    count = total
  if not count:
    return 0, mean, np.ones(width), 0
  # float32 files cannot show a smaller spread than this.
  constant = high - low <= 1e-6 * np.maximum(np.abs(high), np.abs(low))
  std = np.sqrt(squares / count)
  # Devices take smaller numbers for 0, and would divide by it.
  constant |= std < np.finfo(np.float32).tiny
  std = np.where(constant, 1.0, std)
  return count, mean, std, int(constant.sum())
