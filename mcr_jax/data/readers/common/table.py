"""Tables of text as people save them: their separator, encoding, header and rows."""

import codecs
import csv
import dataclasses
import io
import pathlib
import re

from mcr_jax.data import memory
from mcr_jax.errors import UserError

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
BOMS = {
  codecs.BOM_UTF8: "utf-8-sig",
  codecs.BOM_UTF32_LE: "utf-32",
  codecs.BOM_UTF32_BE: "utf-32",
  codecs.BOM_UTF16_LE: "utf-16",
  codecs.BOM_UTF16_BE: "utf-16",
}
# Excel may say the separator in a line of its own.
STATED = re.compile(r'"?sep=(.)"?\s*')
LONGEST = 4096
# What pandas calls the column of row numbers that it wrote without a name.
NAMELESS = "Unnamed: 0"


@dataclasses.dataclass(frozen=True)
class Head:
  """How a table begins.

  Attributes:
    columns: the names in its first line, as they stand there.
    separator: of `SEPARATORS`.
    encoding: of its text, as far as the first bytes say.
    skip: lines before the names.
  """

  columns: tuple[str, ...]
  separator: str
  encoding: str
  skip: int = 0


@dataclasses.dataclass(frozen=True)
class Table:
  """The cells of a table, without blanks around them.

  Attributes:
    head: see the class.
    columns: name -> cells.
    lines: of the file, on which the rows end.
    empty: lines on which no cell holds anything.
  """

  head: Head
  columns: dict[str, list[str]]
  lines: list[int]
  empty: list[int]

  def place(self, row: int) -> str:
    """Where in the file a row is."""
    return f"row {self.lines[row]}"


def encoding_of(start: bytes) -> str:
  """The encoding that the first bytes of a text show; UTF-8 if they show nothing."""
  for mark, name in BOMS.items():
    if start.startswith(mark):
      return name
  few = start[:64]
  if len(few) >= 8 and not any(few[1::2]) and all(few[:-1:2]):
    return "utf-16-le"
  if len(few) >= 8 and not any(few[::2]) and all(few[1::2]):
    return "utf-16-be"
  return "utf-8"


def head(start: bytes) -> Head | None:
  """How a table begins; None of what begins like none.

  Args:
    start: the first bytes of a file.
  """
  encoding = encoding_of(start)
  lines = start.decode(encoding, "ignore").splitlines()
  stated = STATED.fullmatch(lines[0]) if lines else None
  skip = 1 if stated else 0
  if len(lines) <= skip or "\0" in lines[skip]:
    return None
  found = []
  for separator in [stated[1]] if stated else SEPARATORS:
    try:
      names = next(csv.reader([lines[skip]], delimiter=separator), [])
    except csv.Error:
      continue
    names = tuple(x.strip() for x in names)
    # The last name may be cut.
    if len(names) > 1:
      found.append(Head(names, separator, encoding, skip))
  return max(found, key=lambda x: len(x.columns), default=None)


def is_manifest(start: bytes) -> bool:
  """Whether a file begins with a table's column names, `id` among them."""
  found = head(start)
  return found is not None and "id" in (x.lower() for x in found.columns)


def read(
  path: pathlib.Path, encoding: str = "", data: bytearray | None = None
) -> Table:
  """A table as text.

  Args:
    path: of the file.
    encoding: of its text; "" is UTF-8, or what its first bytes show.
    data: its bytes where it came packed.
  Raises:
    UserError: it is not text of the encoding, or a row has too many or few cells.
  """
  text = decoded(path, encoding, data)
  first = head(text[:LONGEST].encode("utf-8", "replace"))
  if first is None:
    raise UserError(f"{path} is no table: its first line names no columns.")
  with open(path, "rb") as file:
    start = file.read(LONGEST) if data is None else bytes(data[:LONGEST])
  shown = encoding or encoding_of(start)
  first = dataclasses.replace(first, encoding=shown)
  try:
    rows, lines, empty = _rows(text, first)
  except csv.Error as error:
    raise UserError(f"{path} is no table: {error}.") from None
  return _of_rows(path, first, rows, lines, empty)


def first_row(start: bytes) -> dict[str, str]:
  """The first row below the names, by name; nothing where it is not whole.

  Args:
    start: of the file, as far as it was read.
  """
  found = head(start)
  if found is None:
    return {}
  lines = start.decode(found.encoding, "ignore").splitlines(keepends=True)
  reader = csv.reader(lines[found.skip + 1 : found.skip + 3], delimiter=found.separator)
  try:
    cells = [x.strip() for x in next(filter(any, reader), [])]
  except csv.Error:
    return {}
  whole = len(cells) == len(found.columns)
  return dict(zip(found.columns, cells, strict=True)) if whole else {}


def decoded(
  path: pathlib.Path, encoding: str = "", data: bytearray | None = None
) -> str:
  """The text of a file.

  Args:
    path: of the file.
    encoding: of its text; "" is UTF-8, or what its first bytes show.
    data: its bytes where it came packed.
  Raises:
    UserError: it is not text of the encoding, or its cells would not fit.
  """
  # A cell of a few bytes is a string of Python.
  memory.take(32 * (path.stat().st_size if data is None else len(data)), str(path))
  data = path.read_bytes() if data is None else data
  try:
    return data.decode(encoding or encoding_of(bytes(data[:LONGEST])))
  except LookupError:
    raise UserError(
      f"data.encoding={encoding!r} is no encoding of text; right are utf-8, utf-16, "
      "gbk, gb18030, big5, shift_jis, cp1252 and the others of Python."
    ) from None
  except UnicodeDecodeError as error:
    row = data.count(b"\n", 0, error.start) + 1
    raise UserError(
      f"{path} is no {error.encoding} from row {row} on (byte {error.start:,} is "
      f"{data[error.start]:#04x}). Say what it is: data.encoding=gbk of most tables "
      "from China, cp1252 from the west of Europe; or save it as UTF-8."
    ) from None


def _rows(text, first):
  """Rows with any cell, their lines, and the lines of those without one."""
  reader = csv.reader(io.StringIO(text, newline=""), delimiter=first.separator)
  rows, lines, empty = [], [], []
  for row in reader:
    if reader.line_num <= first.skip:
      continue
    if any(x.strip() for x in row):
      rows.append([x.strip() for x in row])
      lines.append(reader.line_num)
    elif row:
      empty.append(reader.line_num)
  return rows, lines, empty


def _of_rows(path, first, rows, lines, empty) -> Table:
  header, rows, lines = rows[0], rows[1:], lines[1:]
  # A spreadsheet ends every line with the separators of columns that were deleted.
  while header and not header[-1] and all(len(x) <= len(header) for x in rows):
    if any(len(x) == len(header) and x[-1] for x in rows):
      break
    rows = [x[: len(header) - 1] for x in rows]
    header = header[:-1]
  if header and not header[0] and NAMELESS not in header:
    header = [NAMELESS, *header[1:]]
  if len(set(header)) != len(header) or "" in header:
    twice = next((x for x in header if header.count(x) > 1), "")
    raise UserError(
      f"{path}: its columns {header[:10]} must have different names; {twice!r} is "
      f"there {header.count(twice)} times."
    )
  for line, row in zip(lines, rows, strict=True):
    if len(row) != len(header):
      raise UserError(
        f"{path}: row {line} has {len(row)} cells for {len(header)} columns, which "
        f"{SEPARATORS.get(first.separator, first.separator)} separate."
      )
  if not rows:
    raise UserError(f"{path} has no rows.")
  columns = {key: [row[i] for row in rows] for i, key in enumerate(header)}
  return Table(first, columns, lines, empty)
