"""Tables with features in their columns: .csv, ARFF of openSMILE and Weka, Parquet.

A row is a sample, with a number a column and feature, or a list in a cell; or a step
of a sample, where ids repeat and a column says when. `audio_0`, `audio_1`, ... are
features of audio; see `mcr_jax.data.readers.common.feature_groups` for other names.
"""

from mcr_jax.data import ledger
from mcr_jax.data.readers.common import (
  arff,
  columnar,
  files_of_table,
  lists_of_cells,
  of_rows,
  split_files,
  table,
)
from mcr_jax.data.readers.common.rows import Part, Rows, joined
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset
from mcr_jax.data.words import COMMA, NUMBER
from mcr_jax.errors import choose

FORMAT = "a table of features (.csv, ARFF, Parquet)"
OPTIONS = ("decimal", "encoding")
# The names of columns may be long, and the first row counts.
HEAD = 1 << 20
FEWEST = 2


def matches(source: Source) -> bool:
  """Whether it is a table whose first row has numbers, or a folder of one a split."""
  if source.path is None or source.folder:
    found = split_files.of(source.files, split_files.TABLES)
    return bool(found) and all(_is_table(Source((x,))) for x in found.values())
  return _is_table(source)


def read(source: Source, decimal: str = ".", encoding: str = "") -> Dataset:
  """The table, or those of a folder.

  Args:
    source: of this format.
    decimal: the sign of decimal numbers.
    encoding: of the text, where it is not UTF-8 and does not say so itself.
  """
  choose(decimal, (".", ","), "data.decimal")
  if source.path is not None and not source.folder:
    return of_rows.dataset(_rows(source, encoding), str(source), decimal=decimal)
  files = split_files.of(source.files, split_files.TABLES)
  for path in source.files:
    if path not in files.values():
      size, why = path.stat().st_size, "it is no table of a split"
      source.left.append(ledger.left(path.name, size, why, "bytes"))
  found = joined({name: _rows(Source((x,)), encoding) for name, x in files.items()})
  return of_rows.dataset(found, str(source), decimal=decimal)


def _is_table(source) -> bool:
  if columnar.is_columnar(source.start):
    return source.packed is None
  if arff.is_arff(source.start):
    return True
  if table.head(source.start) is None:
    return False
  with open(source.path, "rb") as file:
    start = file.read(HEAD) if source.data is None else bytes(source.data[:HEAD])
  found = table.first_row(start)
  cells = list(found.values())
  numbers = sum(bool(NUMBER.fullmatch(x) or COMMA.fullmatch(x)) for x in cells)
  named = not any(map(NUMBER.fullmatch, found))
  features = numbers >= FEWEST or any(map(lists_of_cells.is_list, cells))
  return features and named and not files_of_table.names_files(cells)


def _rows(source, encoding) -> Rows:
  if columnar.is_columnar(source.start):
    return columnar.read(source.path)
  if arff.is_arff(source.start):
    return arff.read(source.path, encoding, source.data)
  found = table.read(source.path, encoding, source.data)
  separator = table.SEPARATORS.get(found.head.separator, repr(found.head.separator))
  how = f"It is a table of {len(found.lines):,} rows, whose cells {separator} separate"
  wide = found.head.encoding
  how += f", of {wide}." if not wide.startswith("utf-8") else "."
  columns = {
    key: lists_of_cells.read([x or None for x in cells], found.place, key)
    for key, cells in found.columns.items()
  }
  return Rows((Part("", columns, len(found.lines)),), how, found.place)
