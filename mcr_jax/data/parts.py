"""Which of the splits of a file train, choose and test."""

import dataclasses
from collections.abc import Iterable, Mapping

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError, choose

WORDS = {
  "train": ("train", "training"),
  "valid": ("valid", "val", "dev", "devel", "development", "validation"),
  "test": ("test", "testing"),
}


def name_of(name: object) -> str:
  """`train`, `valid` or `test` of what people call these; any other name as it is."""
  text = str(name).strip()
  return next((x for x, words in WORDS.items() if text.lower() in words), text)


def named(names: Iterable[object]) -> np.ndarray:
  """(N,) the splits of samples, under the names that mcr_jax uses."""
  return np.array([name_of(x) for x in names], dtype=str)


def roles(names: Iterable[object], source: str, chosen: Mapping[str, str]) -> dict:
  """Name in a file -> `train`, `valid` or `test`; what has no role is not in it.

  A file that knows none of the three keeps the names of its own.

  Args:
    names: of the parts of a file, a dict each or a file each.
    source: for messages.
    chosen: split -> name, as `data.parts` says.
  Raises:
    UserError: two names are the same split, or what is chosen is not there.
  """
  names = list(names)
  found = {}
  for split, name in chosen.items():
    choose(split, SPLITS, "data.parts")
    choose(name, [str(x) for x in names], f"{source}: data.parts.{split}")
    found |= {x: split for x in names if str(x) == name}
  for name in names:
    split = name_of(name)
    if name in found or split not in SPLITS or split in chosen:
      continue
    if split in found.values():
      other = next(x for x, taken in found.items() if taken == split)
      raise UserError(
        f"{source}: {other!r} and {name!r} are both the split {split!r}: "
        f"data.parts.{split}={name} chooses."
      )
    found[name] = split
  return found or {name: str(name) for name in names}


def further(name: str) -> str:
  """Why a split of another name than the three is not read, and how it would be."""
  return (
    "a further split, which neither trains nor tests; "
    f"data.parts.test={name} takes it for the test split"
  )


def take(dataset: Dataset, chosen: Mapping[str, str]) -> Dataset:
  """The data set with other splits in the place of its own; the rest is left out.

  Args:
    dataset: whose `splits` may have any names.
    chosen: split -> name, as `data.parts` says.
  """
  if not chosen or dataset.splits is None:
    return dataset
  names = sorted(set(dataset.splits.tolist()))
  found = roles(names, dataset.source, chosen)
  left = [
    ledger.left(x, (dataset.splits == x).sum(), further(x), "samples")
    for x in names
    if x not in found
  ]
  splits = np.array([found.get(x, x) for x in dataset.splits.tolist()])
  kept = np.flatnonzero(np.isin(dataset.splits, list(found)))
  return dataclasses.replace(dataset, splits=splits).select(kept).leaving(*left)
