"""A model file: arrays and JSON in a safetensors file that ends with its own digest.

Any safetensors tool opens it; nothing in it is code, and no name in it is that of a
file. The JSON is the text of the metadata `mcr_jax`. The last array, `~sha256`, is the
last 32 bytes of the file: SHA-256 of all bytes before them, headers included. So that
a byte that flips anywhere, or is missing, is noticed before anything is parsed. It does
not say who wrote the file: whoever changes one can compute the digest again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mcr_jax import files
from mcr_jax.errors import DamagedCheckpoint, UserError

FORMAT = 1
KEY = "mcr_jax"
# Sorts behind all other names; the library orders arrays of a type by name, and types
# of one byte come last.
DIGEST = "~sha256"
DIGEST_BYTES = 32
_SIZE = 8  # bytes of the number, little-endian, that says how long the header is
_START = f'{{"__metadata__":{{"{KEY}":"'.encode()


class Contents(NamedTuple):
  """What a model file holds.

  Attributes:
    facts: plain values.
    arrays: by name.
  """

  facts: dict[str, Any]
  arrays: dict[str, np.ndarray]


def write(
  path: str | os.PathLike,
  facts: Mapping[str, Any],
  arrays: Mapping[str, np.ndarray],
  *,
  overwrite: bool = False,
) -> str:
  """Writes a model file, whole or not at all; returns its SHA-256 in hexadecimal.

  Equal contents make equal bytes.

  Raises:
    UserError: there is a file of this name, and `overwrite` does not allow to replace
      it.
  """
  data = to_bytes(facts, arrays)
  check_free(path, overwrite)
  files.write(path, data)
  return data[-DIGEST_BYTES:].hex()


def check_free(path: str | os.PathLike, overwrite: bool) -> None:
  """Raises UserError where a file stands that must not be replaced."""
  if os.path.lexists(path) and not overwrite:
    raise UserError(f"{path} exists already; --overwrite replaces it.")


def read(path: str | os.PathLike) -> Contents:
  """What `write` wrote.

  Raises:
    UserError: the file is something else, of a later version, or not made by `write`.
    DamagedCheckpoint: a byte of it is not what was written, or it was cut off.
  """
  with open(path, "rb") as file:
    start = file.read(_SIZE + len(_START))
    if start[_SIZE:] != _START:
      raise UserError(f"{path} is not a model file: it begins with {start[:24]!r}.")
    data = start + file.read()
  return from_bytes(data, str(path))


def to_bytes(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
  """The bytes of a model file."""
  from safetensors.numpy import save  # only who hands on a model needs it

  text = files.json_text({"format": FORMAT, **facts})
  # Not ascontiguousarray, which gives numbers an axis.
  flat = {name: np.asarray(x, order="C") for name, x in arrays.items()}
  blank = np.zeros(DIGEST_BYTES, np.uint8)
  data = save(flat | {DIGEST: blank}, metadata={KEY: text})
  body = data[:-DIGEST_BYTES]
  last = _header(data)[DIGEST]["data_offsets"][1]
  assert last == len(data) - _end_of_header(data), "the digest must be the last array"
  return body + hashlib.sha256(body).digest()


def from_bytes(data: bytes, path: str) -> Contents:
  """What the bytes of a model file hold; `path` is its name, for messages."""
  view = memoryview(data)
  if hashlib.sha256(view[:-DIGEST_BYTES]).digest() != view[-DIGEST_BYTES:]:
    raise DamagedCheckpoint(
      f"{path} is not as it was written: {_damage(data)}. Copy it again."
    )
  # From here on it is whole; but whoever made it may have meant harm.
  from safetensors import SafetensorError
  from safetensors.numpy import load

  try:
    header = _header(data)
    facts = _json(header["__metadata__"][KEY])
    number = facts["format"]
    if type(number) is not int or not 1 <= number:
      raise ValueError(f"format {number!r}")
    if number <= FORMAT:
      arrays = load(data)
      del arrays[DIGEST], facts["format"]
      return Contents(facts, arrays)
  except SafetensorError as error:
    raise UserError(f"{path} holds no readable model ({error}).") from None
  except (ValueError, KeyError, TypeError, RecursionError, MemoryError) as error:
    what = f"{type(error).__name__}: {str(error)[:200]}"
    raise UserError(f"{path} holds no readable model ({what}).") from None
  raise UserError(
    f"{path} is of a later mcr_jax (format {number}); this one reads formats up to "
    f"{FORMAT}."
  )


def _end_of_header(data: bytes) -> int:
  return _SIZE + int.from_bytes(data[:_SIZE], "little")


def _header(data: bytes) -> dict[str, Any]:
  end = _end_of_header(data)
  if end > len(data):
    raise ValueError(f"a header of {end - _SIZE:,} bytes in {len(data):,}")
  return _json(data[_SIZE:end].decode())


def _damage(data: bytes) -> str:
  """What is wrong with bytes that do not match their digest, as well as they say."""
  end = _end_of_header(data)
  try:
    if end <= len(data):
      header = _header(data)
      end += max(x["data_offsets"][1] for k, x in header.items() if k[:2] != "__")
  except Exception:  # any byte may be any other: there is no count to compare
    end = len(data)
  if end > len(data):
    return f"it has {len(data):,} of {end:,} bytes"
  if end < len(data):
    return f"{len(data) - end:,} bytes follow its end"
  return "bytes of it have changed"


def _json(text: str) -> dict[str, Any]:
  """A JSON object of plain, printable values.

  Raises:
    ValueError: it is something else, or has a name twice.
  """
  found = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse)
  if not isinstance(found, dict):
    raise ValueError(f"{text[:40]!r} is no object")
  # JSON can write half a character, and a number beyond all numbers.
  json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
  return found


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
  found = {}
  for name, value in pairs:
    if name in found:
      raise ValueError(f"{name[:80]!r} is there twice")
    found[name] = value
  return found


def _refuse(constant: str) -> None:
  raise ValueError(f"{constant} is not JSON")
