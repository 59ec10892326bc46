"""One .npy file, whose header is believed only where the file is as long as it says."""

import io
import math
import os
import pathlib
import tokenize

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common import unpickle
from mcr_jax.errors import UserError

MAPPED_BYTES = 1 << 20


def read(path: pathlib.Path) -> np.ndarray:
  """The numbers of a .npy file; large ones are mapped."""
  if not path.is_file():
    raise UserError(f"{path}: there is no such file.")
  with open(path, "rb") as file:
    shape, fortran, dtype = header(file, str(path))
    begin, count = file.tell(), math.prod(shape)
    size = os.fstat(file.fileno()).st_size - begin
    if dtype.kind not in "biuf" or count * dtype.itemsize != size:
      raise UserError(
        f"{path} claims shape {shape} of {dtype}, but holds {size:,} bytes; it must be "
        "one array of numbers."
      )
    order = "F" if fortran else "C"
    if size >= MAPPED_BYTES:
      return np.memmap(path, dtype, mode="r", offset=begin, shape=shape, order=order)
    memory.take(size, str(path))
    return np.frombuffer(file.read(size), dtype, count).reshape(shape, order=order)


def header(
  file: io.BufferedIOBase, source: str
) -> tuple[tuple[int, ...], bool, np.dtype]:
  """Shape, column order and type; the file is then at the data."""
  formats = np.lib.format
  try:
    version = formats.read_magic(file)
    if version not in ((1, 0), (2, 0)):
      raise ValueError(f"version {version} of the format")
    parse = formats.read_array_header_1_0
    parse = parse if version == (1, 0) else formats.read_array_header_2_0
    shape, fortran, dtype = parse(file)
  except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
    reason = str(error).splitlines()[0][:100] if str(error) else "no header"
    raise UserError(f"{source} is no .npy array: {reason}.") from None
  if any(not isinstance(side, int) or side < 0 for side in shape):
    raise UserError(f"{source} claims shape {shape}.")
  return shape, fortran, dtype


def objects(data: bytes, source: str) -> object:
  """The content of an object array, by the restricted unpickler.

  Args:
    data: of the whole .npy member.
    source: for messages.
  """
  file = io.BytesIO(data)
  _, _, dtype = header(file, source)
  if dtype.kind != "O":
    raise UserError(f"{source} is of type {dtype}, not objects.")
  return unpickle.loads(data[file.tell() :], source)


def loaded(file: io.BufferedIOBase, size: int, source: str) -> np.ndarray:
  """The objects of an .npy member whose header was read, as an array.

  Args:
    file: at the data.
    size: of the data in bytes.
    source: for messages.
  """
  memory.take(2 * size, source)
  content = unpickle.loads(file.read(size), source)
  if not isinstance(content, np.ndarray):
    whole = np.empty((), object)
    whole[()] = content
    return whole
  return content
