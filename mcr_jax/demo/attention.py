"""How much every step of a clip is read, from all maps of attention together."""

from collections.abc import Sequence

import numpy as np

from mcr_jax.data.schema import Dataset
from mcr_jax.figures.maps import Map

ALL = "all"


def received(
  sample: Dataset, seeds: Sequence[Sequence[Map]]
) -> dict[str, dict[str, np.ndarray]]:
  """Who reads -> modality -> (T,) attention that its steps receive.

  It is the mean over the reading steps, layers, kinds of attention and seeds, in units
  of an even share: 1 is what every step would get if all were read alike. Who reads is
  a modality, or `ALL` of them together.

  Args:
    sample: of one sample.
    seeds: the maps of every seed.
  """
  found: dict[str, dict[str, list[np.ndarray]]] = {}
  for one in (m for each in seeds for m in each):
    masks = [sample.modalities[m].mask for m in one.sources]
    count = int(np.concatenate(masks).sum())
    rows = one.weights[one.weights.sum(1) > 0]
    # Who reads one step alone has no choice.
    if count < 2 or not len(rows):
      continue
    share = rows.mean(0) * count
    ends = np.cumsum([len(mask) for mask in masks])[:-1]
    for source, part in zip(one.sources, np.split(share, ends), strict=True):
      readers = one.targets if len(one.targets) == 1 else ()
      for reader in (ALL, *readers):
        found.setdefault(reader, {}).setdefault(source, []).append(part)
  return {
    reader: {m: np.mean(x, axis=0) for m, x in by.items()}
    for reader, by in found.items()
  }
