"""Tables with features in their columns: .csv, ARFF of openSMILE and Weka, Parquet.

A row is a sample, with a number a column and feature, or in Parquet a list; or a step
of a sample, where ids repeat and a column says when. `audio_0`, `audio_1`, ... are
features of audio; see `mcr_jax.data.readers.common.feature_groups` for other names.
"""

from mcr_jax.data.readers.common import arff, columnar, files_of_table, of_rows, table
from mcr_jax.data.readers.common.rows import Part, Rows
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
  """Whether it is a table whose first row has numbers, and names no files."""
  if source.path is None or source.folder:
    return False
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
  return numbers >= FEWEST and named and not files_of_table.names_files(cells)


def read(source: Source, decimal: str = ".", encoding: str = "") -> Dataset:
  """The table.

  Args:
    source: of this format.
    decimal: the sign of decimal numbers.
    encoding: of the text, where it is not UTF-8 and does not say so itself.
  """
  choose(decimal, (".", ","), "data.decimal")
  if columnar.is_columnar(source.start):
    return of_rows.dataset(columnar.read(source.path), str(source))
  if arff.is_arff(source.start):
    return of_rows.dataset(arff.read(source.path, encoding, source.data), str(source))
  found = table.read(source.path, encoding, source.data)
  separator = table.SEPARATORS.get(found.head.separator, repr(found.head.separator))
  how = f"It is a table of {len(found.lines):,} rows, whose cells {separator} separate"
  wide = found.head.encoding
  how += f", of {wide}." if not wide.startswith("utf-8") else "."
  columns = {key: [x or None for x in cells] for key, cells in found.columns.items()}
  part = Part("", columns, len(found.lines))
  return of_rows.dataset(Rows((part,), how, found.place), str(source), decimal=decimal)
