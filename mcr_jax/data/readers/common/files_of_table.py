"""The .npy files that the cells of a table name, all inside of the table's folder."""

import os
import pathlib
from collections.abc import Callable, Sequence

from mcr_jax.data.readers.common import npy, sequences
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError

SUFFIX = ".npy"


def names_files(cells: Sequence[str]) -> bool:
  """Whether a column is one of files: a cell of it ends as they do."""
  return any(x.lower().endswith(SUFFIX) for x in cells)


def read(
  path: pathlib.Path, key: str, cells: Sequence[str], place: Callable[[int], str]
) -> tuple[Modality, list[str]]:
  """The sequences of a column, and which of its files hold arrays of no values.

  Args:
    path: of the table.
    key: of the column.
    cells: names of files relative to the table's folder; "" where there is none.
    place: index -> where it is in the table, such as `row 9`.
  """
  # The same file in two rows is one array.
  files = {}
  for i, cell in enumerate(cells):
    if cell and cell not in files:
      if not cell.lower().endswith(SUFFIX):
        raise UserError(
          f"{path}: {key!r} of {place(i)} is {cell[:80]!r}; right is the name of an "
          ".npy file, or an empty cell where there is none."
        )
      file = inside(path, cell)
      if not file.is_file():
        raise UserError(
          f"{path}: {key!r} of {place(i)}: {cell[:80]!r}: there is no such file."
        )
      files[cell] = npy.read(file)
  empty = [cell for cell, x in files.items() if not x.size]
  rows = [None if cell in empty else files.get(cell) for cell in cells]
  return sequences.from_list(key, rows, f"{path}: {key}", holes=False), empty


def inside(path: pathlib.Path, cell: str) -> pathlib.Path:
  """A file of a table, which must not lead out of the table's folder."""
  relative = pathlib.PurePath(cell)
  # Written on Windows, unless there is a file of just this name.
  if "\\" in cell and "\0" not in cell and not (path.parent / relative).exists():
    relative = pathlib.PurePath(cell.replace("\\", "/"))
  drive = bool(pathlib.PureWindowsPath(cell).drive)
  if relative.is_absolute() or drive or ".." in relative.parts or "\0" in cell:
    raise UserError(
      f"{path}: refused: {cell[:80]!r}. Files are named relative to the table's folder "
      "and lie in it."
    )
  file = path.parent / relative
  # A folder that came as a whole must not point at files that did not.
  if not file.resolve().is_relative_to(path.parent.resolve()):
    raise UserError(
      f"{path}: refused: {cell[:80]!r} is a link out of the table's folder. Put the "
      "file there."
    )
  return file


def unnamed(path: pathlib.Path, cells: Sequence[str]) -> list[str]:
  """The .npy files in the folders of those that cells name, and that no cell names."""
  named = {inside(path, cell) for cell in set(cells) if cell}
  found = []
  for folder in sorted({x.parent for x in named}):
    with os.scandir(folder) as entries:
      files = [folder / x.name for x in entries if x.name.endswith(SUFFIX)]
    found += sorted(str(x.relative_to(path.parent)) for x in files if x not in named)
  return found
