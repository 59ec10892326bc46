"""Parquet and Feather tables, where pyarrow is installed."""

import importlib.util
import pathlib
from collections.abc import Iterator

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common.rows import Part, Rows
from mcr_jax.errors import UserError

PARQUET, ARROW = b"PAR1", b"ARROW1"
FREE_BYTES, MAX_EXPANSION = 64 << 20, 100
BATCH = 1024


def is_columnar(start: bytes) -> bool:
  """Whether a file is one of these tables, and can be read here."""
  known = start.startswith((PARQUET, ARROW))
  return known and importlib.util.find_spec("pyarrow") is not None


def read(path: pathlib.Path) -> Rows:
  """The rows of a table; lists of numbers as arrays.

  Raises:
    UserError: it is damaged, or would expand beyond its bound.
  """
  import pyarrow

  left = FREE_BYTES + MAX_EXPANSION * path.stat().st_size
  columns: dict[str, list] = {}
  count = 0
  try:
    for batch in _batches(path):
      left -= batch.nbytes
      if left < 0:
        raise UserError(
          f"{path}: refused: {path.stat().st_size:,} bytes would expand to more than "
          f"{MAX_EXPANSION} times as much."
        )
      memory.take(4 * batch.nbytes, str(path))
      count += batch.num_rows
      for name, column in zip(batch.schema.names, batch.columns, strict=True):
        columns.setdefault(name, []).extend(_entries(column))
  except pyarrow.ArrowException as error:
    what = " ".join(str(error).split())[:150]
    raise UserError(f"{path} is a damaged table of Arrow: {what}") from None
  if not count:
    raise UserError(f"{path} has no rows.")
  if any(len(x) != count for x in columns.values()):
    raise UserError(f"{path}: two of its columns have one name.")
  how = f"It is a table of Arrow with {count:,} rows and {len(columns):,} columns."
  return Rows((Part("", columns, count),), how, "row {}".format)


def _batches(path) -> Iterator:
  import pyarrow.parquet

  with open(path, "rb") as file:
    if file.read(4) == PARQUET:
      yield from pyarrow.parquet.ParquetFile(path).iter_batches(BATCH)
      return
  with pyarrow.ipc.open_file(str(path)) as file:
    for i in range(file.num_record_batches):
      yield file.get_batch(i)


def _entries(column) -> list:
  """What a column holds a row: numbers, words, or arrays of numbers."""
  return [_array(x) if isinstance(x, list) else x for x in column.to_pylist()]


def _array(entry) -> object:
  try:
    found = np.asarray(entry)
  except ValueError:
    return entry
  return found if found.dtype.kind in "biuf" else entry
