"""The arrays of a zip file, as `numpy.savez` writes it, without pickles.

Beyond `numpy.load`: large members that are not compressed are mapped, not read; sizes
are checked before memory is taken; every defect is one error that names the file.
"""

import io
import os
import pathlib
import struct
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Mapping

import numpy as np

from mcr_jax import files
from mcr_jax.data import memory
from mcr_jax.errors import UserError

MAPPED_BYTES = 1 << 20
MAX_EXPANSION = 100
FREE_BYTES = 256 << 20

_LOCAL_HEADER = struct.Struct("<4s22xHH")


def read(
  path: str | os.PathLike,
  *,
  data: bytearray | None = None,
  objects: Callable[[io.BufferedIOBase, int, str], np.ndarray] | None = None,
) -> dict[str, np.ndarray]:
  """All arrays of an .npz file by name; the large ones are read-only memory maps.

  Args:
    path: of the file.
    data: its bytes, where it came inside of another file.
    objects: (file, bytes, name) -> the array of objects there, without running what
      they ask for; None refuses arrays of objects.
  """
  path = pathlib.Path(path)
  try:
    with _opened(path, data) as file:
      _check_magic(path, file.read(8))
    with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as archive:
      members = [x for x in archive.infolist() if x.filename.endswith(".npy")]
      _check_sizes(path, members, path.stat().st_size if data is None else len(data))
      read_one = lambda info: _read_member(path, archive, info, data is None, objects)
      return {x.filename[:-4]: read_one(x) for x in members}
  except FileNotFoundError:
    raise UserError(f"{path}: there is no such file.") from None
  except IsADirectoryError:
    raise UserError(f"{path} is a folder, not a feature file.") from None
  except (zipfile.BadZipFile, zlib.error, EOFError, struct.error) as error:
    raise UserError(
      f"{path} is truncated or damaged ({error}). Copy or write it again."
    ) from None
  # RuntimeError: a member is encrypted, or packed in a way that zipfile does not know.
  except (OSError, RuntimeError) as error:
    raise UserError(f"{path} cannot be read: {error}.") from None


def _opened(path, data):
  return open(path, "rb") if data is None else io.BytesIO(data)


def others(path: str | os.PathLike, data: bytearray | None = None) -> dict[str, int]:
  """What a zip file holds beside arrays: name -> bytes."""
  with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as archive:
    files = (x for x in archive.infolist() if not x.is_dir())
    return {x.filename: x.file_size for x in files if not x.filename.endswith(".npy")}


def is_text(array: np.ndarray) -> bool:
  """Whether the strings of an array, if any, are made of characters that exist."""
  if array.dtype.kind != "U" or not array.dtype.itemsize:
    return True
  codes = np.ascontiguousarray(array).view(f"{array.dtype.byteorder}u4")
  return not codes.size or int(codes.max()) <= sys.maxunicode


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an uncompressed .npz file that is either whole or not there."""
  path = pathlib.Path(path)
  try:
    with (
      files.replacing(path) as draft,
      zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive,
    ):
      for name, array in arrays.items():
        with archive.open(_member(name), "w", force_zip64=True) as file:
          np.lib.format.write_array(file, np.asanyarray(array), allow_pickle=False)
  except OSError as error:
    raise UserError(f"{path} cannot be written: {error.strerror or error}.") from None


def _member(name):
  # The default date is the clock's: equal arrays should make equal files.
  info = zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0))
  info.external_attr = 0o644 << 16
  return info


def _check_magic(path, start):
  if start[:4] in (b"PK\3\4", b"PK\5\6"):
    return
  kind = f"begins with {start!r}" if start else "is empty"
  if start[:6] == b"\x93NUMPY":
    kind = "is a single .npy array"
  elif start[:1] == b"\x80":
    kind = "looks like a pickle"
  elif start == b"\x89HDF\r\n\x1a\n":
    kind = "is an HDF5 file"
  raise UserError(f"{path} is not an .npz file: it {kind}. Write it by numpy.savez.")


def _check_sizes(path, members, size):
  names = [x.filename[:-4] for x in members]
  if twice := sorted({x for x in names if names.count(x) > 1}):
    raise UserError(f"{path} holds more than one array {twice[0]!r}.")
  expanded = sum(x.file_size for x in members)
  if expanded > FREE_BYTES + MAX_EXPANSION * size:
    raise UserError(
      f"{path}: {size:,} bytes would expand to {expanded:,}, more than "
      f"{MAX_EXPANSION} times as much. If it is to be trusted, write it again by "
      "numpy.savez, uncompressed."
    )


def _read_member(path, archive, info, mapped, objects):
  name = info.filename[:-4]
  with archive.open(info) as file:
    shape, fortran, dtype, begin = _read_header(path, name, file, objects)
    if dtype.hasobject:
      return objects(file, info.file_size - begin, f"{path}: {name!r}")
    count = 1
    for side in shape:
      count *= side
    size = count * dtype.itemsize
    if begin + size != info.file_size:
      raise UserError(
        f"{path}: array {name!r} claims shape {shape} of {dtype}, {size:,} bytes; the "
        f"file holds {info.file_size - begin:,}. Write it again."
      )
    if (
      mapped
      and info.compress_type == zipfile.ZIP_STORED
      and not fortran
      and dtype.isnative
      and size >= MAPPED_BYTES
    ):
      return _mapped(path, info, dtype, shape, begin)
    memory.take(size, f"{path}: array {name!r}")
    data = file.read(size)
  array = np.frombuffer(data, dtype, count)
  if not is_text(array):
    raise UserError(f"{path}: {name!r} holds characters that do not exist.")
  array = array.reshape(shape, order="F" if fortran else "C")
  return array.astype(dtype.newbyteorder("="), order="C", copy=not dtype.isnative)


def _read_header(path, name, file, objects):
  formats = np.lib.format
  try:
    version = formats.read_magic(file)
    if version not in ((1, 0), (2, 0)):
      raise ValueError(f"version {version} of the format")
    read_header = {
      (1, 0): formats.read_array_header_1_0,
      (2, 0): formats.read_array_header_2_0,
    }[version]
    shape, fortran, dtype = read_header(file)
  except (ValueError, TypeError, SyntaxError, tokenize.TokenError) as error:
    raise UserError(f"{path}: array {name!r} cannot be read: {error}.") from None
  if dtype.hasobject and (objects is None or dtype.fields):
    raise UserError(
      f"{path}: {name!r} is an object array, whose loading can run code. Save numbers "
      "or strings: np.asarray(x, float), or np.asarray(x, str)."
    )
  if dtype.fields or any(side < 0 for side in shape):
    raise UserError(f"{path}: {name!r} has shape {shape} of {dtype}; save numbers.")
  return shape, fortran, dtype, file.tell()


def _mapped(path, info, dtype, shape, begin):
  with open(path, "rb") as file:
    file.seek(info.header_offset)
    magic, names, extra = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
  start = info.header_offset + _LOCAL_HEADER.size + names + extra + begin
  if magic != b"PK\3\4" or start + info.file_size - begin > path.stat().st_size:
    raise zipfile.BadZipFile("a member lies outside the file")
  return np.memmap(path, dtype, mode="r", offset=start, shape=shape)
