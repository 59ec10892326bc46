"""Reads the feature files that people share, whatever project wrote them.

The format is recognised from what a file contains; nothing that a file says is run.
"""

import dataclasses
import os
import pathlib
import re
from collections.abc import Sequence

from mcr_jax.data import memory, npz
from mcr_jax.data.readers import (
  conversation,
  csd,
  manifest,
  merbench,
  mmsa,
  mult,
  unpickle,
)
from mcr_jax.data.readers.values import describe
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

KNOWN = (
  "MMSA and MMSA-FET pickles, MulT pickles, MELD and IEMOCAP conversation pickles "
  "(DialogueRNN, MM-DFN), CMU-MultimodalSDK .csd files, MERBench folders, .npz feature "
  "files, and a .csv manifest of .npy files"
)
# Of protocols 0 and 1, which have no mark of their own.
OLD_PICKLE = b"(c]}lIKMJLGFSUVXT)NP"
# Names of modalities become those of parameters, columns and lines of a screen.
NAME = re.compile(r"\w[\w .+-]{0,79}")


def read(
  path: str | os.PathLike | Sequence[str | os.PathLike],
  *,
  align: str | None = None,
  features: dict[str, str] | None = None,
  limit: float | int | None = None,
) -> Dataset:
  """A file or folder of any known format as a data set, its labels not yet checked.

  Args:
    path: a file, a folder, or several .csd files.
    align: of .csd files, the modality whose intervals become the steps of all.
    features: of MERBench folders, modality -> name of its feature folder.
    limit: bytes of memory to take at most; by default what is free.
  Raises:
    UserError: the file is of no known format, damaged, holds more than data, or does
      not fit.
  """
  with memory.bounded(limit):
    dataset = _read(path, align, features)
  for name in dataset.modalities:
    if not NAME.fullmatch(name):
      raise UserError(
        f"{dataset.source}: refused: a modality named {name[:80]!r}; right are letters "
        "and digits, and inside '_', '.', '+', '-' and blanks."
      )
  return dataset


def _read(path, align, features) -> Dataset:
  if not isinstance(path, (str, os.PathLike)):
    dataset = _guarded(", ".join(map(str, path)), csd.read, list(path), align)
    return _named(dataset, FORMATS["csd"])
  path = pathlib.Path(path)
  kind = _guarded(str(path), recognise, path)
  if align is not None and kind != "csd":
    raise UserError(f"{path}: align={align!r} is for .csd files, this is {kind}.")
  if features is not None and kind != "MERBench":
    raise UserError(f"{path}: features are chosen for MERBench folders, not {kind}.")
  options = {"csd": (align,), "MERBench": (features,)}.get(kind, ())
  dataset = _guarded(str(path), READERS[kind], path, *options)
  return _named(dataset, FORMATS[kind]) if kind in FORMATS else dataset


def recognise(path: str | os.PathLike) -> str:
  """The kind of a file or folder: a key of `READERS`."""
  path = pathlib.Path(path)
  if path.is_dir():
    return _guarded(str(path), _recognise_folder, path)
  if not path.exists():
    raise UserError(f"{path}: there is no such file.")
  if not path.is_file():
    raise UserError(f"{path} is neither a file nor a folder.")
  with open(path, "rb") as file:
    start = file.read(512)
  if start.startswith(b"PK\3\4"):
    return "MERBench" if merbench.is_label_file(path) else "npz"
  if start.startswith(csd.MAGIC):
    return "csd"
  if start.startswith(b"\x93NUMPY"):
    raise UserError(
      f"{path} is one array. A data set has ids and modalities: write it by "
      "numpy.savez(file, id=..., text=...), or list .npy files in a .csv manifest."
    )
  if start[:1] == b"\x80":
    return "pickle"
  if manifest.is_header(start):
    return "manifest"
  if start and start[:1] in OLD_PICKLE:
    return "pickle"
  raise UserError(f"{path} begins with {start[:16]!r}. Known are {KNOWN}.")


def _recognise_folder(path) -> str:
  files = sorted(x for x in path.iterdir() if x.is_file())
  if any(csd.is_hdf5(x) for x in files):
    return "csd"
  if any(x.suffix == ".npz" and merbench.is_label_file(x) for x in files):
    return "MERBench"
  if any(manifest.is_manifest(x) for x in files if x.suffix == ".csv"):
    return "manifest"
  names = ", ".join(repr(x.name)[:40] for x in files[:8]) or "no files"
  raise UserError(f"{path} is a folder with {names}. Known are {KNOWN}.")


def _named(dataset, name) -> Dataset:
  notes = (f"The format is {name}.", *dataset.notes)
  return dataclasses.replace(dataset, notes=notes)


def _read_pickle(path) -> Dataset:
  content = unpickle.load(path)
  for reader in (conversation, mmsa, mult):
    if reader.matches(content):
      return _named(reader.read(content, str(path)), reader.FORMAT)
  raise UserError(f"{path} is a pickle of {describe(content)}. Known are {KNOWN}.")


def _guarded(source, function, *arguments):
  """Calls a reader; what a damaged file breaks in it is the file's fault."""
  try:
    return function(*arguments)
  except UserError as error:
    if source in str(error):
      raise
    raise UserError(f"{source}: {error}") from error
  except OSError as error:
    raise UserError(f"{source} cannot be read: {error.strerror or error}.") from None
  except MemoryError as error:
    raise UserError(f"{source} does not fit into memory: {error}") from error
  except Exception as error:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise UserError(
      f"{source} cannot be read, it may be damaged ({reason})."
    ) from error


FORMATS = {
  "csd": "CMU-MultimodalSDK's",
  "MERBench": "MERBench's",
  "manifest": "a table of .npy files",
}
READERS = {
  "npz": npz.read,
  "csd": csd.read,
  "MERBench": merbench.read,
  "manifest": manifest.read,
  "pickle": _read_pickle,
}
