"""A file a split: `train.pkl`, `dev.pkl`, `test.pkl` in one folder, or named so."""

import pathlib
import re
from collections.abc import Sequence

from mcr_jax.data import parts
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

PICKLES = (".pkl", ".pickle", ".p")
JSON = (".json", ".jsonl")
TABLES = (".csv", ".tsv", ".arff", ".parquet", ".feather")
# Where there is one of these, a folder of pickles is of another format.
OTHERS = (".csv", ".tsv", ".npz", ".csd", ".hdf5")
WORD = re.compile(r"[^A-Za-z0-9]+")


def of(
  files: Sequence[pathlib.Path], suffixes: Sequence[str] = (*PICKLES, *JSON)
) -> dict[str, pathlib.Path]:
  """Split -> its file; empty where files are no splits of one data set.

  Args:
    files: of a folder, or that were named.
    suffixes: that the files of splits have.
  """
  others = set(OTHERS) - set(suffixes)
  if any(x.suffix.lower() in others for x in files):
    return {}
  found = {}
  for path in files:
    split = _split(path, suffixes)
    if split is None:
      continue
    if split in found:
      raise UserError(
        f"{found[split].name!r} and {path.name!r} are both the split {split!r}: give "
        "the files of one data set."
      )
    found[split] = path
  return found if len(found) > 1 else {}


def _split(path, suffixes) -> str | None:
  if path.suffix.lower() not in suffixes:
    return None
  names = [parts.name_of(x) for x in WORD.split(path.stem) if x]
  splits = [x for x in names if x in SPLITS]
  return splits[0] if len(splits) == 1 else None
