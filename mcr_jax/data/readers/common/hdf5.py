"""HDF5 of strangers: what is read stays in the file, and is as large as the file says.

HDF5 can point into other files, load code for its filters, and declare terabytes that
were never written. None of that belongs into features.
"""

import contextlib
import math
import os
from collections.abc import Iterator

import h5py
import numpy as np

from mcr_jax.data import memory
from mcr_jax.errors import UserError

FREE_BYTES, MAX_EXPANSION = 64 << 20, 100
# gzip, shuffle, checksum and lzf: all compiled into the library.
FILTERS = (1, 2, 3, 32000)


class Reader:
  """One open file; counts what is read against the size of the file."""

  def __init__(self, file: h5py.File, source: str, size: int):
    self.root, self.source = file, source
    self.size, self.left = size, FREE_BYTES + MAX_EXPANSION * size

  def keys(self, group: h5py.Group) -> list[str]:
    """The names in a group, in the file's order."""
    return [name for name in group if isinstance(name, str)]

  def group(self, parent: h5py.Group, name: str) -> h5py.Group:
    """A group inside another one, which must not be a link to elsewhere."""
    found = self._member(parent, name)
    if not isinstance(found, h5py.Group):
      raise UserError(f"{self.source}: {name[:60]!r} is no group.")
    return found

  def array(self, parent: h5py.Group, name: str) -> np.ndarray:
    """A dataset of numbers or short strings, whole."""
    found = self._member(parent, name)
    if not isinstance(found, h5py.Dataset):
      raise UserError(f"{self.source}: {name[:60]!r} is no array.")
    self._check(found, f"{self.source}: {found.name[-80:]!r}")
    return found[()]

  def tree(self, group: h5py.Group | None = None, depth: int = 4) -> dict[str, object]:
    """All that is in a group: dicts of arrays, texts and attributes.

    Args:
      group: to read; the whole file by default.
      depth: of groups that may be inside of one another.
    """
    group = self.root if group is None else group
    if not depth:
      raise UserError(f"{self.source}: {group.name[-80:]!r} is too deep inside.")
    found: dict[str, object] = {}
    for name in self.keys(group):
      member = self._member(group, name)
      if isinstance(member, h5py.Group):
        found[name] = self.tree(member, depth - 1)
      elif isinstance(member, h5py.Dataset):
        found[name] = self._value(member)
    for name in group.attrs:
      value = group.attrs[name]
      if isinstance(value, str | bytes | np.ndarray | np.generic):
        found.setdefault(name, value)
    return found

  def _value(self, dataset) -> object:
    """An array, or a text or number where it has no dimensions."""
    if h5py.check_string_dtype(dataset.dtype) is None or dataset.dtype.kind == "S":
      self._check(dataset, f"{self.source}: {dataset.name[-80:]!r}")
      value = dataset[()]
      if isinstance(value, np.ndarray) and value.dtype.kind == "S":
        return np.char.decode(value, "utf-8", "replace")
      return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    # Texts of any length: each is a piece of the file, and may be there many times.
    found = []
    for i in range(math.prod(dataset.shape)):
      text = (
        dataset[np.unravel_index(i, dataset.shape)] if dataset.shape else dataset[()]
      )
      text = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
      self.left -= len(text) + 64
      if self.left < 0:
        raise UserError(f"{self.source}: refused: its texts expand too far.")
      found.append(text)
    return found if dataset.shape else found[0]

  def _member(self, parent, name):
    key = name.encode("utf-8", "surrogateescape")
    if key not in parent.id:
      raise UserError(f"{self.source}: {parent.name[-80:]!r} has no {name[:60]!r}.")
    if parent.id.links.get_info(key).type != h5py.h5l.TYPE_HARD:
      raise UserError(
        f"{self.source}: refused: {name[:60]!r} is a link that leaves its place."
      )
    return parent[name]

  def _check(self, dataset, what):
    plist = dataset.id.get_create_plist()
    filters = [plist.get_filter(i)[0] for i in range(plist.get_nfilters())]
    if plist.get_layout() == h5py.h5d.VIRTUAL or plist.get_external_count():
      raise UserError(f"{what}: refused: its data lie in other files.")
    if any(code not in FILTERS for code in filters):
      raise UserError(f"{what}: refused: filter {filters} would need a plug-in.")
    if dataset.dtype.kind not in "biufS" or dataset.shape is None:
      raise UserError(f"{what}: refused: data of type {dataset.dtype}.")
    size = math.prod(dataset.shape) * dataset.dtype.itemsize
    chunk = math.prod(dataset.chunks or (0,)) * dataset.dtype.itemsize
    self.left -= max(size, chunk)
    if self.left < 0:
      raise UserError(
        f"{what}: refused: {self.size:,} bytes would expand to more than "
        f"{MAX_EXPANSION} times as much."
      )
    memory.take(max(size, chunk), what)


def is_sdk(path: str | os.PathLike) -> bool:
  """Whether a file is of the CMU-MultimodalSDK: a group with another one, data."""
  with opened(path) as file:
    groups = [x for x in file.keys(file.root) if x.encode() in file.root.id]
    return any(_has_data(file, name) for name in groups)


def content(path: str | os.PathLike) -> dict[str, object]:
  """All that a file holds, by name."""
  with opened(path) as file:
    return file.tree()


def _has_data(file, name) -> bool:
  try:
    return "data" in file.group(file.root, name)
  except UserError:
    return False


@contextlib.contextmanager
def opened(path: str | os.PathLike) -> Iterator[Reader]:
  """Opens an HDF5 file for bounded reading."""
  try:
    with h5py.File(path, "r") as file:
      yield Reader(file, str(path), os.path.getsize(path))
  # What the library raises depends on the layer that met the damage.
  except (OSError, RuntimeError, KeyError) as error:
    what = " ".join(str(error).split())[:150]
    raise UserError(f"{path} is a damaged HDF5 file: {what}") from None
