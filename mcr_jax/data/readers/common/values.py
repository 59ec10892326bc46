"""Numbers and names from what a file holds, without taking more memory than it has.

A list in a pickle may hold the same item a million times at the cost of one. Here such
lists become arrays, so here is where that is counted.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.schema import canonical
from mcr_jax.errors import UserError

LISTED_NUMBERS = 1 << 25
SHARED_BYTES = 64 << 20
LONGEST_NAME = 200
MODALITIES = ("text", "vision", "audio")
# What the CMU-MultimodalSDK calls its features, without digits and signs.
SDK_NAMES = {
  "glove": "text",
  "glovevectors": "text",
  "covarep": "audio",
  "opensmile": "audio",
  "facet": "vision",
  "openface": "vision",
}


def numbers(value, what: str) -> np.ndarray:
  """A file's array, list or list of arrays as an array of numbers.

  Args:
    value: of the file.
    what: its name, for the message.
  """
  if isinstance(value, np.ndarray) and value.dtype == object:
    value = value.tolist()
  if not isinstance(value, np.ndarray):
    _count(value, what, LISTED_NUMBERS, 6)
    try:
      value = np.asarray(value)
    except ValueError as error:
      raise UserError(f"{what} is ragged: {str(error)[:80]}") from None
  if value.dtype.kind not in "biuf":
    raise UserError(f"{what} is of type {value.dtype}; it must hold numbers.")
  return value


def listed(value, what: str) -> np.ndarray | list[np.ndarray]:
  """A file's features: one array, or where samples differ in length an array of each.

  Args:
    value: an array, a list, or an object array; of arrays or lists (T_i, D).
    what: its name, for the message.
  """
  if isinstance(value, np.ndarray) and value.dtype == object and value.ndim == 1:
    value = value.tolist()
  several = isinstance(value, (list, tuple))
  if not several or not all(isinstance(x, (np.ndarray, list, tuple)) for x in value):
    return numbers(value, what)
  # The same item twice is one array, so that repeats are seen as such.
  distinct = {id(x): x for x in value}
  lists = [x for x in distinct.values() if not isinstance(x, np.ndarray)]
  _count(lists, what, LISTED_NUMBERS, 6)
  arrays = {key: numbers(x, what) for key, x in distinct.items()}
  found = [arrays[id(x)] for x in value]
  if len({x.shape for x in found}) != 1:
    return found
  refuse_repeats(found, what)
  memory.take(sum(x.nbytes for x in found), what)
  return np.stack(found)


def _count(value, what, left, depth) -> int:
  """How many more numbers a list may hold after `value`."""
  if isinstance(value, np.ndarray):
    left -= value.size
  elif isinstance(value, (list, tuple)) and depth:
    left -= 1
    for item in value:
      left = _count(item, what, left, depth - 1)
  elif isinstance(value, (bool, int, float, np.bool_, np.number)):
    left -= 1
  else:
    raise UserError(f"{what} holds a {type(value).__name__}; it must hold numbers.")
  if left < 0:
    raise UserError(f"{what} is a list of more than {LISTED_NUMBERS:,} numbers.")
  return left


def refuse_repeats(arrays: Iterable[np.ndarray], source: str) -> None:
  """Refuses a file that mentions the same array again and again."""
  arrays = list(arrays)
  total = sum(array.nbytes for array in arrays)
  distinct = sum(array.nbytes for array in {id(x): x for x in arrays}.values())
  if total > SHARED_BYTES and total > 2 * distinct:
    raise UserError(
      f"{source}: refused: its arrays repeat one another, {distinct >> 20} MiB would "
      f"become {total >> 20} MiB."
    )


def names(values, what: str, count: int) -> np.ndarray:
  """Ids or class names as strings; rows of several parts become `first$_$others`."""
  if isinstance(values, np.ndarray):
    if values.ndim not in (1, 2):
      raise UserError(f"{what} has shape {values.shape}; it must be a list.")
    values = values.tolist()
  if not isinstance(values, (list, tuple)) or len(values) != count:
    found = len(values) if isinstance(values, (list, tuple)) else type(values).__name__
    raise UserError(f"{what} has {found} entries; there are {count} samples.")
  return strings([_joined(value) for value in values], what)


def _joined(value) -> str:
  if isinstance(value, np.ndarray):
    value = value.tolist()
  if isinstance(value, (list, tuple)):
    parts = [name(part) for part in value[:8]]
    rest = "_".join(parts[1:])
    return f"{parts[0]}$_${rest}" if rest else "".join(parts)
  return name(value)


def name(value) -> str:
  """One name of a file, as a string."""
  if isinstance(value, np.generic):
    value = value.item()
  if isinstance(value, bytes):
    value = value.decode("utf-8", "replace")
  if isinstance(value, bool) or not isinstance(value, (str, int, float)):
    raise UserError(f"a name is a {type(value).__name__}; it must be a string.")
  return str(value)


def strings(values: Sequence[str], what: str) -> np.ndarray:
  """Short strings as an array, whose rows all take the room of the longest."""
  longest = max(map(len, values), default=0)
  if longest > LONGEST_NAME:
    raise UserError(
      f"{what} holds a name of {longest} characters; {LONGEST_NAME} are allowed."
    )
  return np.array(list(values), dtype=str) if values else np.zeros(0, "U1")


def integers(values: np.ndarray, what: str) -> np.ndarray:
  """Class numbers, which some files store as floats."""
  whole = values.astype(np.int64) if np.isfinite(values).all() else None
  if whole is None or not (whole == values).all():
    raise UserError(f"{what} must hold whole numbers.")
  return whole


def sdk_name(key: object) -> str:
  """The modality that the CMU-MultimodalSDK gives such a name, "" of others."""
  letters = (
    "".join(x for x in key.lower() if x.isalpha()) if isinstance(key, str) else ""
  )
  return SDK_NAMES.get(letters, "")


def keys_by_name(mapping: dict) -> dict[str, str]:
  """Modality -> the key of a dict that holds it, in the order of mcr_jax.

  The names of the CMU-MultimodalSDK count where there are none of ours, and where two
  modalities, or one and labels, are named.
  """
  found, theirs = {}, {}
  for key, value in mapping.items():
    if value is None or isinstance(value, (bool, int, float, np.generic)):
      continue  # a setting of one of these names is no features
    own = canonical(key) if isinstance(key, str) else ""
    for name, table in ((own, found), (sdk_name(key), theirs)):
      if name in MODALITIES:
        if name in table:
          raise UserError(
            f"two entries are both the {name} modality: {table[name]!r}, {key!r}."
          )
        table[name] = key
  # One table of GloVe is a vocabulary, and no modality of samples.
  labelled = any("label" in str(key).lower() for key in mapping)
  if len(theirs | found) > 1 or labelled:
    found = theirs | found
  return {name: found[name] for name in MODALITIES if name in found}


def by_name(mapping: dict) -> dict[str, object]:
  """The modalities of a dict under the names that mcr_jax uses, in its order."""
  return {name: mapping[key] for name, key in keys_by_name(mapping).items()}


def describe(content) -> str:
  """A few words on an unknown content: its type and what it holds."""
  kind = type(content).__name__
  if isinstance(content, dict):
    return f"a dict of {len(content)} keys ({_keys(content)}){_inner(content.values())}"
  if isinstance(content, np.ndarray):
    return f"an array of shape {content.shape} of {content.dtype}"
  if isinstance(content, (list, tuple, set)):
    kinds = ", ".join(type(item).__name__ for item in list(content)[:10])
    return f"a {kind} of {len(content)} items ({kinds}){_inner(content)}"
  return f"a {kind}"


def _keys(content) -> str:
  return ", ".join(repr(key)[:40] for key in list(content)[:8])


def _inner(items) -> str:
  """What the first of several dicts has."""
  first = next(iter(items), None)
  if not isinstance(first, dict) or not all(isinstance(x, dict) for x in items):
    return ""
  return f", each a dict such as the first of {len(first)} keys ({_keys(first)})"
