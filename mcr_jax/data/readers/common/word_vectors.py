"""Vectors of words from a file of the user's: text as GloVe has it, or rows by number.

A text file has a line a word, the word and its numbers between blanks (a first line of
two numbers, as word2vec writes it, is none). An .npy array (V, D) has a row a number.
Only what a data set mentions is kept of either.
"""

import pathlib
from collections.abc import Collection

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common import npy
from mcr_jax.errors import UserError

LONGEST_LINE = 1 << 16
MAGIC = b"\x93NUMPY"


def path_of(chosen: str, source: pathlib.Path | None) -> pathlib.Path:
  """The file that `data.vectors` names, from here or beside the data."""
  path = pathlib.Path(chosen).expanduser()
  if not path.is_file() and source is not None:
    folder = source if source.is_dir() else source.parent
    path = path if not (folder / path).is_file() else folder / path
  if not path.is_file():
    raise UserError(f"data.vectors={chosen!r}: there is no such file.")
  return path


def is_rows(path: pathlib.Path) -> bool:
  """Whether it has rows by number, and no words."""
  with open(path, "rb") as file:
    return file.read(len(MAGIC)) == MAGIC


def rows(path: pathlib.Path) -> np.ndarray:
  """(V, D) the vectors by number."""
  found = npy.read(path)
  if found.ndim != 2 or not found.shape[1]:
    raise UserError(f"data.vectors: {path} has shape {found.shape}; right is (V, D).")
  return found


def of_words(path: pathlib.Path, words: Collection[str]) -> dict[str, np.ndarray]:
  """Word -> its vector (D,) float32, of those words that the file has.

  A word that it has in small letters alone gets that vector.
  """
  wanted = set(words)
  small = {x.lower() for x in wanted}
  found: dict[str, np.ndarray] = {}
  width = 0
  with open(path, "rb") as file:
    number = 0
    while line := file.readline(LONGEST_LINE):
      number += 1
      name, _, tail = line.strip().partition(b" ")
      word = name.decode("utf-8", "replace")
      if (word not in wanted and word not in small) or word in found:
        continue
      vector = _numbers(tail, path, number)
      if number == 1 and len(vector) == 1:
        continue  # how many there are, and how wide
      if width and len(vector) != width:
        raise UserError(
          f"data.vectors: {path}: line {number} has {len(vector)} numbers, the others "
          f"{width}."
        )
      width = len(vector)
      memory.take(vector.nbytes, f"data.vectors: {path}")
      found[word] = vector
  if not found:
    raise UserError(
      f"data.vectors: {path} has none of the {len(wanted):,} words, such as "
      f"{next(iter(sorted(wanted)), '')[:40]!r}; right is a line a word, the word and "
      "its numbers between blanks."
    )
  return {x: found.get(x, found.get(x.lower())) for x in wanted if _has(found, x)}


def _has(found, word) -> bool:
  return word in found or word.lower() in found


def _numbers(tail, path, number) -> np.ndarray:
  try:
    vector = np.array(tail.split(), np.float32)
  except ValueError:
    vector = np.zeros(0)
  if not vector.size:
    raise UserError(
      f"data.vectors: {path}: line {number} is {tail[:40]!r} behind its word; right "
      "are numbers between blanks."
    )
  return vector
