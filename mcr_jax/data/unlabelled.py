"""Samples without a label: a mistake, left out, or kept with a weight of 0.

In files a label that is not there is NaN, or the class -1. Utterances of a dialogue may
lack one at any time: they are the context of the others.
"""

import collections
import dataclasses

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError, choose

POLICIES = ("error", "drop", "keep")
# In files: the class of an utterance that has none. Of a number it is NaN.
NO_CLASS = -1


def absent(labels: np.ndarray) -> np.ndarray:
  """(N,) bool, which labels (N,) or (N, K) say that there is none."""
  flat = labels.reshape(len(labels), -1)
  if flat.dtype.kind != "f" and flat.min(initial=0) < NO_CLASS:
    return np.zeros(len(labels), bool)  # these are no classes
  marks = np.isnan(flat) if flat.dtype.kind == "f" else flat == NO_CLASS
  return marks.all(1)


def settle(dataset: Dataset, policy: str) -> Dataset:
  """What becomes of samples whose labels say that there is none.

  Args:
    dataset: with labels (N,) or (N, K), and in `label_mask` what is settled already.
    policy: `error`; `drop` leaves them out; `keep` keeps them with a weight of 0. In a
      data set of dialogues `error` keeps them as well.
  Returns:
    With a label of 0 and `label_mask` False where there is none.
  """
  choose(policy, POLICIES, "data.unlabelled")
  labels = np.asarray(dataset.labels)
  fresh = absent(labels) & dataset.labelled
  missing = fresh | ~dataset.labelled
  if missing.all():
    raise UserError(f"{dataset.source}: no sample has a label.")
  if not missing.any():
    return dataclasses.replace(dataset, label_mask=None)
  dialogues = "dialogue_id" in dataset.columns
  if policy == "error" and fresh.any() and not dialogues:
    _refuse(dataset, fresh)
  if policy == "drop":
    kept = dataset.select(np.flatnonzero(~missing))
    left = ledger.left(
      "samples",
      missing.sum(),
      "they have no label, and such samples are to be left out",
      "samples",
      dataset.ids[missing].tolist(),
    )
    return dataclasses.replace(kept, label_mask=None).leaving(left)
  if fresh.any():
    role = "context of their dialogue" if dialogues else "kept with a weight of 0"
    dataset = dataset.noted(
      f"{missing.sum():,} of {len(dataset):,} utterances have no label: they are "
      f"{role}."
    )
  labels = np.where(missing.reshape(-1, *[1] * (labels.ndim - 1)), 0, labels)
  return dataclasses.replace(dataset, labels=labels, label_mask=~missing)


def _refuse(dataset, missing):
  count, first = int(missing.sum()), str(dataset.ids[missing.argmax()])
  what = f"{count:,} of {len(dataset):,} samples have no label"
  if dataset.labels.dtype.kind != "f":
    what = f"{count:,} of {len(dataset):,} labels are {NO_CLASS}, which says no label"
  splits = ""
  if dataset.splits is not None and dataset.splits.shape == (len(dataset),):
    counts = collections.Counter(dataset.splits[missing].tolist())
    order = lambda item: (*SPLITS, item[0]).index(item[0])
    parts = (f"{n:,} in {x}" for x, n in sorted(counts.items(), key=order))
    splits = f" ({', '.join(parts)})"
  # Where a reader knows the place in the file, it says so.
  places = [x for x in dataset.ledger if x.unit == "labels" and x.items and not x.use]
  said = "".join(f"; {x.name}: {', '.join(x.items)}" for x in places)
  numbered = ""
  if dataset.labels.dtype.kind != "f":
    numbered = (
      " Classes are numbered from 0; whole numbers of a regression need "
      "data.task=regression."
    )
  raise UserError(
    f"{dataset.source}: {what}{splits}, the first is that of sample {first!r}{said}."
    f"{numbered} data.unlabelled=drop leaves them out, keep gives them a weight of 0."
  )
