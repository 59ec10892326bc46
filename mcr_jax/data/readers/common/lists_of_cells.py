"""Lists of numbers in the cells of a table, as pandas and NumPy print them."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from mcr_jax.errors import UserError

LIST = re.compile(r"\[[\s\d.,eE+\-\[\]naif]*\]", re.ASCII)
GAP = re.compile(r"[,\s]+")
BEGIN = re.compile(r"\[[\[\s]*[-+.\d]")


def is_list(cell: str) -> bool:
  """Whether a cell begins as a printed list of numbers does."""
  return BEGIN.match(cell) is not None and cell.endswith("]")


def read(
  cells: Sequence[str | None], place: Callable[[int], str], key: str
) -> Sequence[str | None] | list[np.ndarray | None]:
  """The cells of a column as arrays, where all of them are lists; else as they are.

  Raises:
    UserError: a list was shortened when it was printed, or is none of numbers.
  """
  if not any(x is not None and is_list(x) for x in cells):
    return cells
  if not all(x is None or is_list(x) for x in cells):
    return cells
  return [None if x is None else _array(x, place(i), key) for i, x in enumerate(cells)]


def _array(cell, place, key) -> np.ndarray:
  if "..." in cell:
    raise UserError(
      f"{key!r} of {place} was shortened when it was printed: {cell[:60]!r} leaves "
      "numbers out by '...'. Write it again as a list: x.tolist()."
    )
  if not LIST.fullmatch(cell):
    raise UserError(f"{key!r} of {place} is {cell[:60]!r}; right is a list of numbers.")
  # Rows of a matrix are as long as one another, or what they make is no array.
  rows = [x.strip(", \n\r\t") for x in re.split(r"[\[\]]", cell)]
  try:
    array = np.array([[float(x) for x in GAP.split(row)] for row in rows if row])
  except ValueError:
    raise UserError(
      f"{key!r} of {place} is {cell[:60]!r}; right is a list of numbers."
    ) from None
  return array if cell.startswith("[[") else array.reshape(-1)
