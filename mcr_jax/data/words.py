"""Labels that a file holds as text: numbers, classes by name, or a mistake.

One cell that is no number among numbers is never the name of a class. What says that
there is nothing, such as an empty cell or N/A, is a label that is not there.
"""

import dataclasses
import re
from collections.abc import Callable, Sequence

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.ledger import Entry
from mcr_jax.data.unlabelled import NO_CLASS
from mcr_jax.errors import UserError

NOTHING = ("", "?", "-", "n/a", "na", "#n/a", "nan", "null", "none", "nil")
# "none" and "-" may well be the name of a class among others.
AMONG_WORDS = ("", "?", "n/a", "#n/a", "nan", "null")
FLAGS = re.ASCII | re.IGNORECASE
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?inf(inity)?", FLAGS)
WHOLE = re.compile(r"[-+]?\d{1,18}", FLAGS)
COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", FLAGS)
# As spreadsheets write them, which is not how a number is read.
THOUSANDS = re.compile(r"[-+]?\d{1,3}([,' ])\d{3}(?:\1\d{3})*(\.\d+)?", re.ASCII)
PERCENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+) ?%", re.ASCII)
DECORATED = re.compile(r"[^\w\s]?\s*[-+]?[\d.,]*\d\s*[^\w\s]", re.ASCII)
MANY = 20
DECIMAL = (
  " data.decimal=, reads a comma as the decimal sign, and so does --decimal , of "
  "inspect and convert."
)


@dataclasses.dataclass(frozen=True)
class Labels:
  """What the cells of a column say.

  Attributes:
    values: (N,) float32, or int64 of classes; NaN or `NO_CLASS` where there is none.
      None where no cell says anything.
    names: of classes that are words, in the order of their numbers.
    absent: places and cells that say that there is nothing.
  """

  values: np.ndarray | None
  names: tuple[str, ...] = ()
  absent: tuple[str, ...] = ()

  def entries(self, name: str) -> tuple[Entry, ...]:
    """The cells without a label for the ledger."""
    count = len(self.absent)
    why = "these cells say that there is no label"
    return (ledger.left(name, count, why, "labels", self.absent),) if count else ()


def labels(
  cells: Sequence[str],
  place: Callable[[int], str],
  what: str,
  decimal: str = ".",
  *,
  numeric: bool = False,
) -> Labels:
  """Labels from text.

  Args:
    cells: without blanks around them.
    place: index -> where it is in the file, such as `row 9`.
    what: the file and the column, for messages.
    decimal: the sign of decimal numbers, "." or ",".
    numeric: whether they have to be numbers; whole ones are then no classes.
  Raises:
    UserError: some cells are numbers and some are not, or there are too many different
      words for classes.
  """
  cells = [str(x).strip() for x in cells]
  plain = [x.replace(",", ".") if COMMA.fullmatch(x) else x for x in cells]
  if decimal == ",":
    _refuse_points(cells, place, what)
  numbers = [bool(NUMBER.fullmatch(x)) for x in (plain if decimal == "," else cells)]
  nothing = NOTHING if any(numbers) else AMONG_WORDS
  empty = [x.lower() in nothing for x in cells]
  absent = tuple(f"{place(i)} {x!r}" for i, x in enumerate(cells) if empty[i])
  others = [i for i in range(len(cells)) if not (numbers[i] or empty[i])]
  if all(empty):
    return Labels(None, (), absent)
  like = numeric or any(numbers) or any(_is_number_like(cells[i]) for i in others)
  if others and like:
    _refuse_mixture(cells, others, sum(numbers), place, what, decimal)
  if others:
    return _words(cells, empty, absent, what)
  pairs = list(zip(empty, cells, strict=True))
  if not numeric and all(e or WHOLE.fullmatch(x) for e, x in pairs):
    whole = [NO_CLASS if e else int(x) for e, x in pairs]
    return Labels(np.array(whole, np.int64), (), absent)
  found = [np.nan if e else float(x) for e, x in zip(empty, plain, strict=True)]
  with np.errstate(over="ignore"):  # what overflows is not finite, and told later
    return Labels(np.array(found).astype(np.float32), (), absent)


def _words(cells, empty, absent, what) -> Labels:
  names = sorted({x for x, e in zip(cells, empty, strict=True) if not e})
  if len(names) > MANY and 2 * len(names) > len(cells):
    raise UserError(
      f"{what}: {len(cells)} labels are {len(names)} different words, such as "
      f"{names[0][:60]!r} and {names[1][:60]!r}; that is no classification."
    )
  number = {name: i for i, name in enumerate(names)}
  found = [NO_CLASS if e else number[x] for x, e in zip(cells, empty, strict=True)]
  return Labels(np.array(found, np.int64), tuple(names), absent)


def _is_number_like(cell) -> bool:
  """A decimal comma, or a number with a sign such as a percent."""
  return bool(COMMA.fullmatch(cell) or DECORATED.fullmatch(cell))


def _refuse_mixture(cells, others, count, place, what, decimal):
  shown = ", ".join(f"{place(i)} {cells[i][:60]!r}" for i in others[:5])
  more = ", ..." * (len(others) > 5)
  hint = " Write numbers alone, or words throughout for classes by name."
  if decimal != "," and any(COMMA.fullmatch(cells[i]) for i in others):
    hint = DECIMAL
  raise UserError(
    f"{what}: {len(others):,} of {len(cells):,} labels are no numbers, "
    f"{f'though {count:,} are' if count else 'though they look like some'}: "
    f"{shown}{more}.{hint}"
  )


def _refuse_points(cells, place, what):
  wrong = [i for i, x in enumerate(cells) if NUMBER.fullmatch(x) and "." in x]
  if wrong:
    shown = ", ".join(f"{place(i)} {cells[i][:60]!r}" for i in wrong[:5])
    raise UserError(
      f"{what}: with data.decimal=, {len(wrong):,} numbers have a point: {shown}."
    )
