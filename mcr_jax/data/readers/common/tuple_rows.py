"""One segment as MISA and its kin write it, taken apart: ((words, ...), label, id)."""

import collections
import dataclasses
from collections.abc import Sequence

import numpy as np

from mcr_jax.data.readers.common import values
from mcr_jax.data.readers.common.nearest import Lack
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

SEVERAL, MANY = (2, 3), 10_000


@dataclasses.dataclass(frozen=True, eq=False)
class Row:
  """One segment.

  Attributes:
    vision: (T, D), or None where it is empty.
    audio: (T, D), or None.
    label: an array of numbers, or None.
    segment: its id.
    said: its words as texts, or None.
    numbers: (T,) of its words in a vocabulary, or None.
    vectors: (T, D) of its words, or None.
    more: what else there is, by name.
  """

  vision: np.ndarray | None
  audio: np.ndarray | None
  label: np.ndarray | None
  segment: object
  said: tuple[str, ...] | None = None
  numbers: np.ndarray | None = None
  vectors: np.ndarray | None = None
  more: tuple[str, ...] = ()


def lists(content: object) -> dict:
  """Name -> the list of a split; a single list is named None. Empty if it is none."""
  if is_list(content):
    return {None: content}
  if isinstance(content, dict):
    found = {key: x for key, x in content.items() if is_list(x)}
    full = found and all(is_list(x) or not _sized(x) for x in content.values())
    return found if full else {}
  several = isinstance(content, list | tuple) and len(content) in SEVERAL
  if several and all(map(is_list, content)):
    # In the order of all of these scripts; two have no validation.
    names = SPLITS if len(content) == len(SPLITS) else ("train", "test")
    return dict(zip(names, content, strict=True))
  return {}


def is_list(value: object) -> bool:
  """Whether it is a list whose first item is such a segment."""
  return isinstance(value, list | tuple) and len(value) > 0 and is_row(value[0])


def is_row(value: object) -> bool:
  """Whether it is ((words, vision, audio, ...), label, id)."""
  whole = isinstance(value, list | tuple) and 2 <= len(value) <= 4
  if not whole or not isinstance(value[0], list | tuple) or len(value[0]) < 3:
    return False
  return _is_words(value[0][0]) and all(map(_is_steps, value[0][1:3]))


def lacks(content: object) -> Lack | None:
  """What the first item of a list of tuples has and lacks."""
  if isinstance(content, dict):
    content = next((x for x in content.values() if isinstance(x, list | tuple)), None)
  first = content[0] if isinstance(content, list | tuple) and content else None
  if not isinstance(first, list | tuple) or not first:
    return None
  inner = first[0] if isinstance(first[0], list | tuple) else ()
  wanted = {
    "a tuple of words, vision and audio": len(inner) >= 3,
    "words": bool(inner) and _is_words(inner[0]),
    "vision (T, D)": len(inner) > 1 and _is_steps(inner[1]),
    "audio (T, D)": len(inner) > 2 and _is_steps(inner[2]),
    "a label and a segment behind them": 2 <= len(first) <= 4,
  }
  has = tuple(x for x in wanted if wanted[x])
  return Lack(has, tuple(x for x in wanted if not wanted[x])) if inner else None


def row(value: object, what: str) -> Row:
  """One segment; what is wrong with it is said with its place.

  Args:
    value: of the file.
    what: the file and the place, for messages.
  """
  if not is_row(value):
    raise UserError(
      f"{what} is {values.describe(value)}; right is ((words, vision, audio), label, "
      "segment)."
    )
  features, label, *rest = value
  words, vision, audio, *more = features
  texts, numbers, vectors = _words(words, f"{what}: words")
  further = next((x for x in more if _texts(x) is not None), None)
  if further is not None and texts is None:
    texts = _texts(further)
  return Row(
    _steps(vision, f"{what}: vision"),
    _steps(audio, f"{what}: audio"),
    None if label is None else values.numbers(_array(label), f"{what}: label"),
    rest[0] if rest else what.rpartition(" ")[2],
    texts,
    numbers,
    vectors,
    tuple(
      "texts" if x is further else f"features, part {i}" for i, x in enumerate(more, 4)
    )
    + tuple(f"part {i}" for i in range(4, 3 + len(rest))),
  )


def refuse_repeats(found: Sequence, source: str) -> None:
  """Refuses lists of more segments than arrays: one item again and again."""
  known = [x for x in found if is_row(x)]
  for place in range(2):
    arrays = {id(x[0][place]) for x in known}
    if len(found) > MANY and 2 * len(arrays) < len(found):
      raise UserError(
        f"{source}: refused: {len(found):,} segments repeat {len(arrays):,} arrays."
      )


def holdings(rows: Sequence[Row]) -> dict[str, int]:
  """What segments hold, and how many of them do."""
  found = collections.Counter(name for row in rows for name in row.more)
  own = dict.fromkeys(("words", "vision", "audio", "label", "segment"), len(rows))
  return own | found


def _sized(value) -> bool:
  return isinstance(value, list | tuple | dict | np.ndarray) and len(value) > 0


def _is_steps(value) -> bool:
  if isinstance(value, np.ndarray):
    return value.dtype.kind in "biuf" and (value.ndim == 2 or not value.size)
  listed = isinstance(value, list | tuple)
  return listed and all(isinstance(x, list | tuple | np.ndarray) for x in value[:1])


def _is_words(value) -> bool:
  if isinstance(value, np.ndarray):
    return value.ndim in (1, 2)
  return isinstance(value, list | tuple) and all(
    isinstance(x, str | bytes | int | np.generic | np.ndarray | list) for x in value[:1]
  )


def _array(value):
  return np.asarray([value]) if isinstance(value, int | float | np.generic) else value


def _steps(value, what) -> np.ndarray | None:
  array = values.numbers(value, what)
  if not array.size:
    return None
  if array.ndim != 2:
    raise UserError(f"{what} has shape {array.shape}; right is (T, D).")
  return array


def _texts(value) -> tuple[str, ...] | None:
  """Words as texts; of an array or list of texts, else None."""
  if isinstance(value, np.ndarray):
    value = value.reshape(-1) if 1 in value.shape[1:] else value  # (T, 1)
    value = value.tolist() if value.ndim == 1 and value.dtype.kind in "USO" else None
  if not isinstance(value, list | tuple):
    return None
  texts = [x.decode("utf-8", "replace") if isinstance(x, bytes) else x for x in value]
  return tuple(texts) if all(isinstance(x, str) for x in texts) else None


def _words(value, what):
  """Words as texts, as numbers, and as vectors; two of the three are None."""
  if not len(value):
    return (), np.zeros(0, np.int64), None
  texts = _texts(value)
  if texts is not None:
    return texts, None, None
  array = values.numbers(value, what)
  if array.ndim == 2 and array.dtype.kind == "f":
    return None, None, array
  if array.ndim == 2 and 1 in array.shape:
    array = array.reshape(-1)
  if array.ndim != 1:
    raise UserError(f"{what} have shape {array.shape}; right are (T,) words.")
  return None, values.integers(array, what), None
