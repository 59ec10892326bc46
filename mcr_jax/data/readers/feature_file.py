"""This library's own feature file; `mcr_jax.data.npz` says what is in it."""

from mcr_jax.data import npz
from mcr_jax.data.readers import merbench
from mcr_jax.data.readers.common import npy
from mcr_jax.data.readers.common.source import ZIP, Source
from mcr_jax.data.schema import Dataset

FORMAT = "an .npz feature file"
OPTIONS = ()


def matches(source: Source) -> bool:
  """Whether it is a zip file of arrays, and no dict of another format's."""
  if not source.start.startswith(ZIP) or merbench.matches(source):
    return False
  return source.content is None and bool(source.arrays)


def read(source: Source) -> Dataset:
  """The feature file."""
  return npz.read(source.path, data=source.data, objects=npy.loaded)
