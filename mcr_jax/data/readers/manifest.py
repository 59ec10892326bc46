"""A data set of one's own: a .csv table, and an .npy file a clip and modality.

Columns `id`, `split`, `label`, and one a modality with the name of a file, relative to
the table's folder: (T, D) steps or a vector (D,). An empty cell means that the clip
lacks the modality. `split` and `label` may be absent for prediction. Labels are numbers
with a point (regression), integers (classes) or words (classes by name). Columns
`dialogue_id`, `turn`, `speaker`, `video_id`, `label_T`, `label_A` and `label_V` may be
there; with `dialogue_id` an empty label is that of an utterance which is only context.
"""

import csv
import pathlib

import numpy as np

from mcr_jax.data import columns as named_columns
from mcr_jax.data import memory
from mcr_jax.data.labels import NO_CLASS
from mcr_jax.data.readers import merbench
from mcr_jax.data.readers.common import npy, sequences, values
from mcr_jax.data.readers.common.source import START, Source, is_table
from mcr_jax.data.schema import Column, Dataset, canonical
from mcr_jax.errors import UserError

FORMAT = "a .csv manifest of .npy files"
OPTIONS = ()
OWN = ("id", "split", "label")


def matches(source: Source) -> bool:
  """Whether it is a table with a column `id`, or a folder with one."""
  if source.folder:
    return bool(_tables(source)) and not merbench.matches(source)
  return is_table(source.start)


def read(source: Source) -> Dataset:
  """The table, or the only table in a folder."""
  path = _table_file(source)
  columns = _columns(path)
  ids = columns.pop("id")
  splits, labels = columns.pop("split", None), columns.pop("label", None)
  named = {
    key: columns.pop(key)
    for key in list(columns)
    if key in named_columns.ROLES and not any(x.endswith(".npy") for x in columns[key])
  }
  modalities, notes = {}, []
  for key, cells in columns.items():
    name = canonical(key)
    if name in modalities:
      raise UserError(f"{path}: two columns are both the {name} modality.")
    # The same file in two rows is one array.
    files = {
      cell: npy.read(_inside(path, cell)) for cell in dict.fromkeys(cells) if cell
    }
    rows = [files.get(cell) for cell in cells]
    modalities[name] = sequences.from_list(name, rows, f"{path}: {key}", holes=False)
    lost = sum(row is None for row in rows)
    notes.append(f"{name}: {len(files)} files" + f", missing in {lost}." * bool(lost))
  if not modalities:
    raise UserError(f"{path} has no column of .npy files beside {', '.join(OWN)}.")
  labels, classes = _labels(labels, path, context="dialogue_id" in named)
  if splits is not None:
    splits = values.strings([values.SPLIT_NAMES.get(x, x) for x in splits], str(path))
  ids = values.strings(ids, f"{path}: 'id'")
  return Dataset(
    ids,
    modalities,
    splits,
    labels,
    classes,
    str(path),
    tuple(notes),
    columns={key: _column(key, x, labels, classes, path) for key, x in named.items()},
  )


def _table_file(source) -> pathlib.Path:
  if not source.folder:
    return source.path
  files = _tables(source)
  if len(files) != 1:
    found = ", ".join(x.name for x in files)
    raise UserError(f"{source} has {len(files)} tables ({found}): give one's path.")
  return files[0]


def _tables(source) -> list[pathlib.Path]:
  found = []
  for path in source.files:
    if path.suffix == ".csv":
      with open(path, "rb") as file:
        found += [path] * is_table(file.read(START))
  return found


def _columns(path) -> dict[str, list[str]]:
  # A cell of a few bytes is a string of Python.
  memory.take(32 * path.stat().st_size, str(path))
  try:
    with open(path, newline="", encoding="utf-8-sig") as file:
      table = list(csv.reader(file))
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f"{path} is no table: {error}") from None
  header, rows = [x.strip() for x in table[0]], [row for row in table[1:] if row]
  if "id" not in header or len(set(header)) != len(header) or "" in header:
    raise UserError(f"{path}: its columns {header[:10]} must differ, with 'id'.")
  for number, row in enumerate(rows, 2):
    if len(row) != len(header):
      raise UserError(
        f"{path}: row {number} has {len(row)} cells for {len(header)} columns."
      )
  if not rows:
    raise UserError(f"{path} has no rows.")
  return {key: [row[i].strip() for row in rows] for i, key in enumerate(header)}


def _inside(path, cell) -> pathlib.Path:
  """A file of the table, which must not lead out of the table's folder."""
  relative = pathlib.PurePath(cell)
  if relative.is_absolute() or ".." in relative.parts or "\0" in cell:
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


def _labels(cells, path, *, context):
  """(N,) numbers or classes, and the names of the classes.

  Args:
    cells: of the column, None where there is no such column.
    path: for messages.
    context: whether an utterance may have none.
  """
  if cells is None:
    return None, ()
  if "" in cells and not context:
    raise UserError(
      f"{path}: row {cells.index('') + 2} has no label; leave out the row, or "
      "the whole column for prediction."
    )
  known = [cell for cell in cells if cell]
  for kind, dtype, nothing in ((int, np.int64, NO_CLASS), (float, np.float32, np.nan)):
    try:
      return np.array([kind(x) if x else nothing for x in cells], dtype), ()
    except (ValueError, OverflowError):
      continue
  classes = sorted(set(known))
  values.strings(classes, f"{path}: 'label'")
  return _numbered(cells, classes), tuple(classes)


def _numbered(cells, classes):
  number = {name: i for i, name in enumerate(classes)} | {"": NO_CLASS}
  return np.array([number[cell] for cell in cells])


def _column(key, cells, labels, classes, path) -> Column:
  """One of the named columns; labels by modality are of the kind of the labels."""
  if key not in named_columns.MODALITIES:
    if "" in cells:
      raise UserError(f"{path}: row {cells.index('') + 2} has no {key!r}.")
    found = values.strings(cells, f"{path}: {key!r}")
    if key == "turn":
      found = _parsed(key, cells, int, None, path)
  elif classes:
    for row, cell in enumerate(cells, 2):
      if cell and cell not in classes:
        raise UserError(
          f"{path}: {key!r} of row {row} is {cell[:80]!r}; the labels are "
          f"{', '.join(classes)}."
        )
    found = _numbered(cells, classes)
  elif labels is not None and labels.dtype.kind == "i":
    found = _parsed(key, cells, int, NO_CLASS, path)
  else:
    found = _parsed(key, cells, float, np.nan, path)
  return named_columns.column(key, found, len(cells), str(path))


def _parsed(key, cells, kind, nothing, path) -> np.ndarray:
  numbers = []
  for row, cell in enumerate(cells, 2):
    try:
      numbers.append(kind(cell) if cell else nothing)
    except ValueError:
      right = "a whole number" if kind is int else "a number"
      raise UserError(
        f"{path}: {key!r} of row {row} is {cell[:80]!r}; right is {right}."
      ) from None
  try:
    return np.array(numbers, np.int64 if kind is int else np.float32)
  except OverflowError:
    raise UserError(f"{path}: {key!r} holds a number that is too large.") from None
