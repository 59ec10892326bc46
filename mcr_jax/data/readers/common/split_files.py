"""A pickle a split: `train.pkl`, `dev.pkl`, `test.pkl` in one folder, or named so."""

import pathlib
import re
from collections.abc import Sequence

from mcr_jax.data import parts
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

SUFFIXES = (".pkl", ".pickle", ".p")
# Where there is one of these, the folder is of another format.
OTHERS = (".csv", ".tsv", ".npz", ".csd", ".hdf5")
WORD = re.compile(r"[^A-Za-z0-9]+")


def of(files: Sequence[pathlib.Path]) -> dict[str, pathlib.Path]:
  """Split -> its file; empty where files are no splits of one data set."""
  if any(x.suffix.lower() in OTHERS for x in files):
    return {}
  found = {}
  for path in files:
    split = _split(path)
    if split is None:
      continue
    if split in found:
      raise UserError(
        f"{found[split].name!r} and {path.name!r} are both the split {split!r}: give "
        "the files of one data set."
      )
    found[split] = path
  return found if len(found) > 1 else {}


def _split(path) -> str | None:
  if path.suffix.lower() not in SUFFIXES:
    return None
  names = [parts.name_of(x) for x in WORD.split(path.stem) if x]
  splits = [x for x in names if x in SPLITS]
  return splits[0] if len(splits) == 1 else None
