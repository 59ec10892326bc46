"""A data set of one's own: a table, and an .npy file a clip and modality.

Columns `id`, `split`, `label`, and one a modality with the name of a file, relative to
the table's folder: (T, D) steps or a vector (D,). An empty cell means that the clip
lacks the modality. `split` and `label` may be absent for prediction. Labels are numbers
with a point (regression), integers (classes) or words (classes by name). Columns
`dialogue_id`, `turn`, `speaker`, `video_id`, `label_T`, `label_A` and `label_V` may be
there; with `dialogue_id` an empty label is that of an utterance which is only context.
Further `label_x` and `split_x` are choices. Commas, semicolons, tabs or bars separate
the cells; the text is UTF-8 or UTF-16, or what `encoding` says.
"""

import pathlib

import numpy as np

from mcr_jax.data import columns as named_columns
from mcr_jax.data import parts, words
from mcr_jax.data.labels import NO_CLASS
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers import merbench
from mcr_jax.data.readers.common import files_of_table, table, values
from mcr_jax.data.readers.common.source import START, Source
from mcr_jax.data.readers.common.table import Table
from mcr_jax.data.schema import Column, Dataset, Modality, canonical
from mcr_jax.errors import UserError, choose

FORMAT = "a .csv manifest of .npy files"
OPTIONS = ("decimal", "encoding")
OWN = ("id", "split", "label")
SUFFIXES = (".csv", ".tsv", ".txt")
SENTENCES = "raw_text"


def matches(source: Source) -> bool:
  """Whether it is a table with a column `id`, or a folder with one."""
  if source.folder:
    return bool(_tables(source)) and not merbench.matches(source)
  return source.packed is None and table.is_manifest(source.start)


def read(source: Source, decimal: str = ".", encoding: str = "") -> Dataset:
  """The table, or the only table in a folder.

  Args:
    source: of this format.
    decimal: the sign of decimal numbers.
    encoding: of the text, where it is not UTF-8 and does not say so itself.
  """
  choose(decimal, (".", ","), "data.decimal")
  path, ledger = _table_file(source), Ledger()
  found = table.read(path, encoding)
  columns = _by_role(found.columns, path)
  for key, cells in columns.items():
    ledger.hold(key, sum(map(bool, cells)), "cells")
  reason = "no cell of these rows holds anything"
  ledger.part("rows", len(found.empty), reason, "rows", map(str, found.empty))
  ids = columns.pop("id")
  ledger.use("id", "ids")
  own = words.Labels(None)
  if "label" in columns:
    own = words.labels(columns.pop("label"), found.place, f"{path}: 'label'", decimal)
    ledger.use("label", "labels" if own.values is not None else "")
    ledger.leave("label", "no cell holds a label")
  splits = columns.pop("split", None)
  ledger.use("split", "splits")
  named, modalities, notes = {}, {}, _notes(found.head)
  for key in [x for x in columns if _is_named(x, columns[x])]:
    cells = columns.pop(key)
    ledger.use(key, f"the column {key}")
    named[key] = _column(key, cells, own, found, path, decimal)
  files = [x for x in columns if files_of_table.names_files(columns[x])]
  beside = files_of_table.unnamed(path, [x for key in files for x in columns[key]])
  ledger.part(".npy files", len(beside), "no row names them", "files", beside)
  for key in files:
    name = canonical(key)
    if name in modalities:
      raise UserError(f"{path}: two columns are both the {name} modality.")
    modalities[name], note = _modality(path, key, columns.pop(key), found, ledger)
    notes.append(note)
  if not modalities:
    _refuse_featureless(path, columns, found)
  extras = {}
  for key, cells in columns.items():
    extras |= _extra(key, cells, found, path, decimal, ledger)
  return Dataset(
    values.strings(ids, f"{path}: 'id'"),
    modalities,
    None if splits is None else values.strings(list(parts.named(splits)), str(path)),
    own.values,
    own.names,
    str(path),
    tuple(notes),
    extras,
    columns=named,
    ledger=(*ledger.entries(), *own.entries("label")),
  )


def _notes(head) -> list[str]:
  notes = []
  if head.separator != ",":
    name = table.SEPARATORS.get(head.separator, repr(head.separator))
    notes.append(f"Its cells are separated by {name}.")
  if not head.encoding.startswith("utf-8"):
    notes.append(f"Its text is {head.encoding}.")
  return notes


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
    if path.suffix.lower() in SUFFIXES:
      with open(path, "rb") as file:
        found += [path] * table.is_manifest(file.read(START))
  return found


def _by_role(columns, path) -> dict[str, list[str]]:
  """The columns with the names of ours as we write them, whatever their case."""
  ours = {x.lower(): x for x in (*OWN, *named_columns.ROLES, SENTENCES)}
  result = {}
  for key, cells in columns.items():
    name = ours.get(key.lower(), key)
    if name in result:
      raise UserError(f"{path}: two columns are both {name!r}.")
    result[name] = cells
  if "id" not in result:
    raise UserError(f"{path}: its columns {list(columns)[:10]} need one of ids, 'id'.")
  return result


def _is_named(key, cells) -> bool:
  """Whether it is one of the columns by name; speakers may have features as well."""
  return key in named_columns.ROLES and not files_of_table.names_files(cells)


def _modality(path, key, cells, found: Table, ledger) -> tuple[Modality, str]:
  name = canonical(key)
  modality, empty = files_of_table.read(path, key, cells, found.place)
  ledger.use(key, f"the modality {name}")
  why = f"the file holds an array of no values: its samples lack {name}"
  ledger.part(key, len(empty), why, "files", empty)
  lost = int((~modality.present).sum())
  count = len({x for x in cells if x})
  return modality, f"{name}: {count} files" + f", missing in {lost}" * bool(lost) + "."


def _refuse_featureless(path, columns, found):
  cells = ((key, next(filter(None, x), "")) for key, x in columns.items())
  held = ", ".join(f"{key!r} ({cell[:30]!r})" for key, cell in list(cells)[:8])
  raise UserError(
    f"{path} has no column of .npy files beside {', '.join(OWN)}; its other columns "
    f"are {held or 'none'}. Features are in files: a column a modality, such as "
    "'text', with the name of an .npy file in every cell."
  )


def _extra(key, cells, found, path, decimal, ledger) -> dict[str, np.ndarray]:
  """What a column without files serves: a choice, or nothing."""
  if not any(cells):
    ledger.leave(key, "the column is empty")
    return {}
  if key.startswith("label"):
    read = words.labels(cells, found.place, f"{path}: {key!r}", decimal)
    if read.values is None:
      ledger.leave(key, "no cell holds a label")
      return {}
    ledger.use(key, "a choice for data.label")
    names = {f"{key}_names": np.array(read.names)} if read.names else {}
    return {key: read.values} | names
  if key == SENTENCES:
    ledger.use(key, "kept for drawings and pages")
    return {key: np.array([x[: values.LONGEST_NAME] for x in cells], dtype=str)}
  if max(map(len, cells)) > values.LONGEST_NAME or canonical(key) in values.MODALITIES:
    ledger.leave(key, "its cells name no .npy files, and text needs vectors")
    return {}
  if key.startswith("split"):
    ledger.use(key, "a choice for data.split")
    return {key: parts.named(cells)}
  ledger.leave(key, "its cells name no .npy files; data.fold_by may name it")
  return {key: np.array(cells, dtype=str)}


def _column(key, cells, own: words.Labels, found, path, decimal) -> Column:
  """One of the named columns; labels by modality are of the kind of the labels."""
  what = f"{path}: {key!r}"
  if key not in named_columns.MODALITIES:
    if "" in cells:
      raise UserError(f"{path}: {found.place(cells.index(''))} has no {key!r}.")
    result = values.strings(cells, what)
    if key == "turn":
      result = _turns(cells, found, what)
  elif own.names:
    number = {name: i for i, name in enumerate(own.names)} | {"": NO_CLASS}
    for i, cell in enumerate(cells):
      if cell not in number:
        raise UserError(
          f"{path}: {key!r} of {found.place(i)} is {cell[:80]!r}; the labels are "
          f"{', '.join(own.names)}."
        )
    result = np.array([number[cell] for cell in cells])
  else:
    whole = own.values is not None and own.values.dtype.kind == "i"
    read = words.labels(cells, found.place, what, decimal, numeric=not whole)
    result = np.full(len(cells), np.nan) if read.values is None else read.values
    if whole and (read.names or result.dtype.kind != "i"):
      raise UserError(f"{what} must hold whole numbers, as the labels do.")
  return named_columns.column(key, result, len(cells), str(path))


def _turns(cells, found, what) -> np.ndarray:
  for i, cell in enumerate(cells):
    if not words.WHOLE.fullmatch(cell):
      raise UserError(
        f"{what} of {found.place(i)} is {cell[:80]!r}; right is a whole number."
      )
  return np.array(list(map(int, cells)), np.int64)
