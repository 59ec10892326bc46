"""PyTorch files of plain tensors: the zip that `torch.save` writes, without PyTorch.

`NAME/data.pkl` is a pickle whose tensors point at members `NAME/data/KEY`. It is read
by the restricted unpickler, which knows a tensor as an array and nothing else of torch:
a model, a parameter or any other object is refused by name.
"""

import math
import pathlib
import zipfile
import zlib

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common import unpickle
from mcr_jax.data.readers.common.pickle_names import KNOWN, Global
from mcr_jax.errors import UserError

PICKLE = "data.pkl"
# `torch.save` does not compress; and tensors may share a storage, though not much.
FREE_BYTES, MAX_EXPANSION = 32 << 20, 8
FREE_PART, COPIES = 64 << 10, 4
# Of bfloat16 NumPy has no type: its bits are the upper half of a float32.
TYPES = {
  "FloatStorage": "f4",
  "DoubleStorage": "f8",
  "HalfStorage": "f2",
  "BFloat16Storage": "u2",
  "LongStorage": "i8",
  "IntStorage": "i4",
  "ShortStorage": "i2",
  "CharStorage": "i1",
  "ByteStorage": "u1",
  "BoolStorage": "?",
}
# What `torch.save` of before version 1.6 begins with, a pickle of this number.
OLD_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")


def is_old(start: bytes) -> bool:
  """Whether a file is of `torch.save` before version 1.6, which wrote no zip."""
  return start[:1] == b"\x80" and OLD_MAGIC in start[:16]


def pickle_member(names: list[str]) -> str | None:
  """The member of a zip that is the pickle of `torch.save`; None of other zips."""
  found = [x for x in names if x.count("/") == 1 and x.endswith("/" + PICKLE)]
  return found[0] if len(found) == 1 else None


def read(path: pathlib.Path, archive: zipfile.ZipFile, size: int) -> object:
  """The content of a PyTorch file, its tensors as arrays.

  Args:
    path: for messages.
    archive: of the file.
    size: of the file in bytes, which bounds what it may expand to.
  """
  member = pickle_member(archive.namelist())
  prefix = member.removesuffix(PICKLE)
  expanded = sum(x.file_size for x in archive.infolist())
  if expanded > FREE_BYTES + MAX_EXPANSION * size:
    raise UserError(f"{path}: refused: it would expand to {expanded:,} bytes.")
  try:
    big = archive.read(f"{prefix}byteorder").strip() == b"big"
  except KeyError:
    big = False
  storages = _Storages(path, archive, prefix, ">" if big else "<")
  types = {("torch", name): Global(f"torch.{name}", None) for name in TYPES}
  names = {
    **KNOWN,
    **types,
    ("torch._utils", "_rebuild_tensor_v2"): Global("torch.tensor", _tensor),
    ("torch._utils", "_rebuild_tensor"): Global("torch.tensor", _tensor),
  }
  memory.take(archive.getinfo(member).file_size, f"{path}: {member}")
  try:
    data = archive.read(member)
    return unpickle.loads(data, str(path), known=names, persistent=storages.of)
  except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
    raise UserError(f"{path} is damaged: {str(error)[:100]}") from None


class _Storages:
  """The members that tensors point at, each read once, as flat arrays."""

  def __init__(self, path, archive, prefix, order):
    self.path, self.archive = path, archive
    self.prefix, self.order, self.found = prefix, order, {}

  def of(self, pid: object) -> "_Storage":
    """The storage of a persistent id ("storage", type, key, device, numbers)."""
    plain = isinstance(pid, tuple) and len(pid) == 5 and pid[0] == "storage"
    kind = pid[1].name.removeprefix("torch.") if plain and _is_type(pid[1]) else None
    if kind is None or not isinstance(pid[2], str) or not isinstance(pid[4], int):
      raise UserError("refused: a persistent id that is no storage of numbers")
    key = pid[2]
    if key not in self.found:
      self.found[key] = kind, self._read(key, kind)
    if self.found[key][0] != kind:
      raise UserError("refused: a storage of two types")
    return self.found[key][1]

  def _read(self, key, kind):
    name = f"{self.prefix}data/{key[:100]}"
    try:
      info = self.archive.getinfo(name)
    except KeyError:
      raise ValueError(f"there is no {name!r}") from None
    memory.take(2 * info.file_size, f"{self.path}: {name}")
    data = self.archive.read(info)
    dtype = np.dtype(TYPES[kind]).newbyteorder(self.order)
    if len(data) % dtype.itemsize:
      raise ValueError(f"{name!r} has {len(data)} bytes of {dtype}")
    array = np.frombuffer(data, dtype).astype(dtype.newbyteorder("="))
    if kind == "BFloat16Storage":
      memory.take(4 * array.size, f"{self.path}: {name}")
      array = (array.astype(np.uint32) << 16).view(np.float32)
    return _Storage(array)


class _Storage:
  """Numbers of a file that tensors are parts of."""

  def __init__(self, array: np.ndarray):
    self.array, self.left = array, FREE_PART + COPIES * array.nbytes

  def spend(self, size: int) -> None:
    """Counts what tensors make of the storage, which several may share."""
    self.left -= size
    if self.left < 0:
      raise UserError(f"refused: tensors that repeat their {self.array.nbytes:,} bytes")


def _is_type(item) -> bool:
  return isinstance(item, Global) and item.name.removeprefix("torch.") in TYPES


def _tensor(storage, offset, shape, strides, *_) -> np.ndarray:
  """The array that a tensor is, which must lie inside of its storage."""
  if not isinstance(storage, _Storage):
    raise UserError("refused: a tensor without a storage")
  whole = lambda x: isinstance(x, int) and 0 <= x < 1 << 48
  sides = isinstance(shape, tuple) and isinstance(strides, tuple)
  if not sides or not all(map(whole, (offset, *shape, *strides))) or len(shape) > 8:
    raise UserError("refused: a tensor of a strange shape")
  array = storage.array
  if len(shape) != len(strides):
    raise UserError("refused: a tensor whose strides are not of its shape")
  count = math.prod(shape)
  last = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
  # A tensor that repeats its numbers would be larger than what holds it.
  if count > array.size or (count and last >= array.size):
    raise UserError(f"refused: a tensor of shape {shape} in {array.size} numbers")
  if not count:
    return np.empty(shape, array.dtype)
  steps = tuple(s * array.itemsize for s in strides)
  storage.spend(count * array.itemsize)
  return np.lib.stride_tricks.as_strided(array[offset:], shape, steps, writeable=False)
