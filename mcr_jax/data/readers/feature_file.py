"""This library's own feature file; `mcr_jax.data.npz` says what is in it."""

from mcr_jax.data import npz
from mcr_jax.data.readers import merbench
from mcr_jax.data.readers.common.source import ZIP, Source
from mcr_jax.data.schema import Dataset

FORMAT = "an .npz feature file"
OPTIONS = ()


def matches(source: Source) -> bool:
  """Whether it is a zip file, and not that of MERBench's labels."""
  return source.start.startswith(ZIP) and not merbench.matches(source)


def read(source: Source) -> Dataset:
  """The feature file."""
  return npz.read(source.path)
