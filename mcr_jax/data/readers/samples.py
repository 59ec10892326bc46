"""Samples in an order of their own: lists of dicts, dicts by id, columns, JSON, HDF5.

See `mcr_jax.data.readers.common.orders` for the orders, which may be in a pickle, an
.npz or .npy file, an HDF5 file or JSON, also with a sample a line.
"""

from collections.abc import Mapping

from mcr_jax.data.readers.common import of_rows
from mcr_jax.data.readers.common.rows import Rows
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset

FORMAT = "a data set of samples as dicts or columns (pickle, .npz, JSON, HDF5)"
OPTIONS = ("parts",)


def matches(source: Source) -> bool:
  """Whether it holds samples in one of the orders."""
  return isinstance(source.content, Rows)


def read(source: Source, parts: Mapping[str, str] | None = None) -> Dataset:
  """The data set.

  Args:
    source: of this format.
    parts: split -> the file's name of what to take for it.
  """
  return of_rows.dataset(source.content, str(source), chosen=parts)
