"""ARFF tables, as openSMILE and Weka write them: names and types, then rows of commas.

Sparse rows and relational attributes are refused by name.
"""

import csv
import pathlib
import re

from mcr_jax.data.readers.common import table
from mcr_jax.data.readers.common.rows import Part, Rows
from mcr_jax.errors import UserError

ATTRIBUTE = re.compile(
  r"@attribute\s+('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"|\S+)\s+(.+)", re.I
)
BEGIN = re.compile(rb"(\s*%[^\n]*\n|\s+)*@relation\b", re.I)


def is_arff(start: bytes) -> bool:
  """Whether a file begins as an ARFF table does."""
  return BEGIN.match(start.removeprefix(b"\xef\xbb\xbf")) is not None


def read(path: pathlib.Path, encoding: str = "", data: bytearray | None = None) -> Rows:
  """The rows of a table; "" and ? are entries that are not there.

  Args:
    path: of the file.
    encoding: of its text; "" is UTF-8.
    data: its bytes where it came packed.
  """
  lines = table.decoded(path, encoding, data).splitlines()
  names, begin = _names(path, lines)
  columns: dict[str, list] = {name: [] for name in names}
  places = []
  for number, line in enumerate(lines[begin:], begin + 1):
    if not line.strip() or line.lstrip().startswith("%"):
      continue
    if line.lstrip().startswith("{"):
      raise UserError(f"{path}: row {number} is sparse; write a value a column.")
    cells = _cells(line)
    if len(cells) != len(names):
      raise UserError(
        f"{path}: row {number} has {len(cells)} cells for {len(names)} attributes."
      )
    places.append(number)
    for name, cell in zip(names, cells, strict=True):
      columns[name].append(None if cell == "?" else cell)
  if not places:
    raise UserError(f"{path} has no rows behind @data.")
  how = f"It is an ARFF table of {len(places):,} rows and {len(names):,} attributes."
  where = lambda i: f"row {places[i]}"
  return Rows((Part("", columns, len(places)),), how, where)


def _names(path, lines) -> tuple[list[str], int]:
  """The names of the attributes, and the line behind @data."""
  names = []
  for number, line in enumerate(lines, 1):
    text = line.strip()
    if text.lower() == "@data":
      if len(set(names)) < len(names):
        twice = next(x for x in names if names.count(x) > 1)
        raise UserError(f"{path}: two attributes are named {twice[:60]!r}.")
      return names, number
    found = ATTRIBUTE.fullmatch(text)
    if found and found[2].strip().lower().startswith("relational"):
      raise UserError(f"{path}: row {number}: relational attributes are not read.")
    if found:
      names.append(found[1].strip("'\""))
  raise UserError(f"{path} has no line @data behind its attributes; it may be cut.")


def _cells(line) -> list[str]:
  """The cells of a row, in quotes of either kind."""
  quote = "'" if line.count("'") > line.count('"') else '"'
  reader = csv.reader([line], quotechar=quote, escapechar="\\", skipinitialspace=True)
  return [x.strip() for x in next(reader, [])]
