"""What a data set says that may not be what was meant: one-hot labels, inverted masks.

Nothing is changed for it: a note says how it is read, and what would read it otherwise.
"""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data.schema import Dataset, Modality

# Steps that are looked at; files may be of any size.
MOST = 100_000
HALF = 0.5
RIGHT = "A mask is True on real steps: if this one is True on padding, write ~mask."


def notes(dataset: Dataset) -> tuple[str, ...]:
  """A sentence for each thing that is suspect."""
  found = [*_one_hot(dataset.labels), *_inverted(dataset.modalities)]
  return tuple(found)


def one_hot(labels: np.ndarray) -> np.ndarray | None:
  """(N,) the class of every sample, -1 of one without labels; None of no such labels.

  Args:
    labels: (N, K); of one-hot classes exactly one a row is 1, and all others are 0.
  """
  if labels.ndim != 2 or labels.shape[1] < 2 or labels.dtype.kind not in "biuf":
    return None
  absent = ~np.isfinite(labels).all(1) | (labels < 0).any(1)
  known = labels[~absent]
  if not len(known) or not ((known == 0) | (known == 1)).all():
    return None
  if not (known.sum(1) == 1).all():
    return None
  return np.where(absent, -1, np.where(absent[:, None], 0, labels).argmax(1))


def _one_hot(labels) -> list[str]:
  if labels is None or one_hot(np.asarray(labels)) is None:
    return []
  count = np.shape(labels)[1]
  kind = "numbers" if np.asarray(labels).dtype.kind == "f" else "labels of two classes"
  return [
    f"Of the {count} labels of every sample exactly one is 1. They are read as {count} "
    f"{kind}; data.task=multiclass reads them as one of {count} classes."
  ]


def _inverted(modalities: Mapping[str, Modality]) -> list[str]:
  found = []
  for name, x in modalities.items():
    mask = x.mask[:MOST]
    if x.vector or mask.all() or not mask.any():
      continue
    filled = (x.values[:MOST] != 0).any(1)
    real, absent = filled[mask].mean(), filled[~mask].mean()
    if real < HALF < absent:
      found.append(
        f"{name}: of the steps that its mask calls real {real:.0%} hold anything, of "
        f"those that it calls absent {absent:.0%}. {RIGHT}"
      )
    elif absent > HALF and (begin := _begin_absent(x)) > HALF:
      found.append(
        f"{name}: {begin:.0%} of the sequences that its mask shortens begin with steps "
        f"that it calls absent, and {absent:.0%} of such steps hold something. {RIGHT}"
      )
  return found


def _begin_absent(x: Modality) -> float:
  """Of the sequences with an absent step, how many have none behind the first real."""
  offsets = x.offsets[x.offsets <= MOST]
  parts = [x.mask[i:j] for i, j in zip(offsets[:-1], offsets[1:], strict=True)]
  holes = [own for own in parts if not own.all()]
  leading = [own for own in holes if own.any() and own[own.argmax() :].all()]
  return len(leading) / max(1, len(holes))
