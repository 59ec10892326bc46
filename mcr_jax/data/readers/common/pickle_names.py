"""The names that a pickle may mention, and what each of them makes.

None of them is the function of that name: each builds an array or a container out of
checked parts, so that no file can reach code that was not written for strangers.
"""

import math
import re
from collections.abc import Callable

import numpy as np

from mcr_jax.data import archive
from mcr_jax.errors import UserError

DTYPES = re.compile(r"[?bhilqBHILQefd]|b1|[iu][1248]|f(2|4|8|16)|[SU]\d{1,7}|O[48]?")


class Global:
  """A name that a file may mention; inert, and known only to `REDUCE`."""

  def __init__(self, name: str, call: Callable | None = None):
    self.name, self.call = name, call


class Array:
  """An array announced but not yet filled, and where the memo holds it."""

  def __init__(self):
    self.slots = []


class Dtype:
  """A data type by its code, until `BUILD` says its byte order."""

  def __init__(self, code: str):
    if not isinstance(code, str) or not DTYPES.fullmatch(code):
      raise UserError(f"refused: arrays of dtype {str(code)[:40]!r}")
    self.dtype = np.dtype(code)

  def build(self, state: tuple) -> None:
    order, parts = state[1], state[2:5]
    if any(part is not None for part in parts) or order not in ("<", ">", "|", "="):
      raise UserError("refused: arrays of records")
    self.dtype = self.dtype.newbyteorder(order)


def _octets(data) -> bytes | memoryview:
  """Raw data, which Python 2 and protocols 0 to 2 write as text."""
  return data.encode("latin1") if isinstance(data, str) else data


def filled(shape, dtype, order, data) -> np.ndarray:
  """The array of a file, which must hold as many bytes as its shape says."""
  if not isinstance(dtype, Dtype):
    raise UserError("refused: an array without a known dtype")
  dtype = dtype.dtype
  shape = (shape,) if isinstance(shape, int) else tuple(shape)
  if len(shape) > 8 or not all(isinstance(n, int) and n >= 0 for n in shape):
    raise UserError(f"refused: an array of shape {str(shape)[:60]}")
  count = math.prod(shape)
  if dtype.hasobject:
    if not isinstance(data, list) or len(data) != count:
      raise UserError(f"refused: {str(shape)[:60]} objects without their list")
    array = np.empty(count, object)
    for index, item in enumerate(data):
      array[index] = item
  else:
    data = _octets(data)
    if len(data) != count * dtype.itemsize or (count and not dtype.itemsize):
      raise UserError(
        f"refused: an array of shape {str(shape)[:60]}, dtype {dtype} in {len(data)} "
        "bytes"
      )
    array = np.frombuffer(data, dtype) if count else np.empty(0, dtype)
    if not archive.is_text(array):
      raise UserError("refused: characters that do not exist")
  return array.reshape(shape, order="F" if order in ("F", True, 1) else "C")


def _reconstruct(kind, *_):
  if kind is not NDARRAY:
    raise UserError("refused: an array of another class than numpy.ndarray")
  return Array()


def _scalar(dtype, data=b""):
  return filled((1,), dtype, "C", data)[0] if not _empty(dtype) else ""


def _empty(dtype) -> bool:
  return isinstance(dtype, Dtype) and not dtype.dtype.itemsize


def _from_buffer(data, dtype, shape, order="C"):
  return filled(shape, dtype, order, data)


def _encode(text, encoding="latin1"):
  if encoding not in ("latin1", "latin-1"):
    raise UserError(f"refused: _codecs.encode with {str(encoding)[:40]!r}")
  return text.encode("latin1")


def checked_key(key):
  """A key or set item that hashes in constant time, as itself."""
  if isinstance(key, np.generic):
    key = key.item()
  for part in key if type(key) is tuple and len(key) <= 8 else (key,):
    plain = part is None or isinstance(part, (str, bytes, float, bool))
    # Integers beyond the hash's modulus can be made to collide at will.
    if not plain and not (isinstance(part, int) and abs(part) < 1 << 60):
      raise UserError(f"refused: a {type(part).__name__} as a key")
  return key


def _set(items=()):
  if not isinstance(items, (list, tuple)):
    raise UserError("refused: a set of something that is no list")
  return {checked_key(item) for item in items}


def _mapping(pairs=()):
  if not isinstance(pairs, (list, tuple)):
    raise UserError("refused: a mapping from something that is no list")
  return {checked_key(key): value for key, value in pairs}


def _bytes(data=b"", encoding="latin1"):
  if isinstance(data, str):
    return _encode(data, encoding)
  if not isinstance(data, (bytes, memoryview)):
    raise UserError(f"refused: bytes of a {type(data).__name__}")
  return data


def _known() -> dict[tuple[str, str], Global]:
  """Every name that a file may mention."""
  table = {
    ("numpy", "ndarray"): None,
    ("numpy", "dtype"): lambda code, *_: Dtype(code),
    ("collections", "OrderedDict"): _mapping,
    # The factory is dropped: the reader never looks up what is not there.
    ("collections", "defaultdict"): lambda *_: {},
    ("_codecs", "encode"): _encode,
  }
  for core in ("numpy.core", "numpy._core"):
    table[f"{core}.multiarray", "_reconstruct"] = _reconstruct
    table[f"{core}.multiarray", "scalar"] = _scalar
    table[f"{core}.numeric", "_frombuffer"] = _from_buffer
  for module in ("builtins", "__builtin__"):
    table[module, "set"] = table[module, "frozenset"] = _set
    table[module, "bytes"] = table[module, "bytearray"] = _bytes
    # As factories of a defaultdict only.
    for name in ("list", "dict", "int", "float", "str", "tuple"):
      table[module, name] = None
  return {key: Global(".".join(key), call) for key, call in table.items()}


KNOWN = _known()
NDARRAY = KNOWN["numpy", "ndarray"]
