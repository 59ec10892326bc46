"""What a reader is asked about: a file, a folder, or several files."""

import dataclasses
import functools
import pathlib
import re
import string

from mcr_jax.data import ledger
from mcr_jax.data.ledger import Entry
from mcr_jax.data.readers.common import (
  contents,
  json_file,
  magic,
  orders,
  packed,
  rows,
  split_files,
  table,
  unpickle,
)
from mcr_jax.data.readers.common.rows import Rows
from mcr_jax.data.readers.common.values import by_name
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

# Of protocols 0 and 1, which have no mark of their own.
OLD_PICKLE = tuple(b"(c]}lIKMJLGFSUVXT)NP")
ZIP, HDF5 = b"PK\3\4", b"\x89HDF\r\n\x1a\n"
# As protocol 0 begins: an object of a module, or one value.
TEXT_PICKLE = re.compile(
  rb"c[\w.]+\r?\n[\w.]+\r?\n|[ILF][-+.\de]+L?\r?\n|S['\"]|[VP].*\n(p\d|\.)|N\."
)
PRINTED = frozenset(string.printable.encode())
WORDS = 256
START, MOST_INSIDE = 4096, 64


@dataclasses.dataclass(frozen=True)
class Source:
  """The path of a data set, with what several formats ask about it.

  Attributes:
    paths: one file or folder, or several files.
    left: what is in them that no format ever reads, such as bytes behind the end.
    whole: the one of several dumps that counts; None where all do.
    notes: what was taken for granted, a sentence each.
  """

  paths: tuple[pathlib.Path, ...]
  left: list[Entry] = dataclasses.field(default_factory=list)
  whole: object = None
  notes: list[str] = dataclasses.field(default_factory=list)

  def __str__(self) -> str:
    return ", ".join(map(str, self.paths))

  def check(self) -> None:
    """Raises UserError where there is no such file."""
    for path in self.paths:
      if not path.exists():
        raise UserError(f"{path}: there is no such file.")
      if not (path.is_file() or path.is_dir()):
        raise UserError(f"{path} is neither a file nor a folder.")

  @property
  def path(self) -> pathlib.Path | None:
    """The path; None where there are several."""
    return self.paths[0] if len(self.paths) == 1 else None

  @functools.cached_property
  def files(self) -> list[pathlib.Path]:
    """The files that a folder has, or all that were named."""
    if self.path is None or self.path.is_file():
      return list(self.paths)
    return sorted(x for x in self.path.iterdir() if x.is_file())

  @property
  def folder(self) -> bool:
    """Whether it is one folder."""
    return self.path is not None and self.path.is_dir()

  @functools.cached_property
  def packed(self) -> tuple[bytearray, str] | None:
    """The bytes of the file inside of a packed one, and how it was packed."""
    if self.path is None or self.folder:
      return None
    return packed.inner(self.path, self.left)

  @property
  def data(self) -> bytearray | None:
    """The bytes of what a packed file holds; None of any other."""
    return self.packed[0] if self.packed else None

  @functools.cached_property
  def start(self) -> bytes:
    """How a file begins, unpacked; nothing of a folder and of several files."""
    if self.path is None or self.folder:
      return b""
    if self.data is not None:
      return bytes(self.data[:START])
    with open(self.path, "rb") as file:
      return file.read(START)

  @functools.cached_property
  def arrays(self) -> list[str]:
    """The names of the arrays in a zip file; nothing of other files."""
    return contents.names(self.path, self.data) if self.start[:4] == ZIP else []

  @functools.cached_property
  def dumps(self) -> list[object]:
    """What was dumped into a pickle one after another; nothing of other files."""
    if not (self.start[:1] == b"\x80" or _is_old_pickle(self.start)):
      return []
    data = unpickle.mapped(self.path) if self.data is None else self.data
    found, behind = unpickle.dumps(data, str(self))
    if behind:
      why = "they stand behind the end of the pickle, and are none"
      self.left.append(ledger.left("bytes", behind, why, "bytes"))
    return found

  @functools.cached_property
  def content(self) -> object:
    """What a pickle holds, or another file of objects; None of all other files.

    Of several dumps it is the tuple of all; `whole` is then each of them.
    """
    if self.whole is not None:
      return orders.of(self.whole) or self.whole
    if self.folder or self.path is None:
      return self._of_split_files()
    if self.start[:4] == ZIP or self.start.startswith(contents.NPY):
      return self._ordered(contents.of_arrays(self.path, self.data))
    if self.start.startswith(HDF5):
      return self._of_hdf5()
    if json_file.is_json(self.start):
      data = self.path.read_bytes() if self.data is None else self.data
      content = json_file.read(data, str(self))
      return orders.of(content) or (content if isinstance(content, dict) else None)
    found = self.dumps[0] if len(self.dumps) == 1 else tuple(self.dumps) or None
    return self._ordered(contents.readable(found))

  def _ordered(self, content):
    """The samples of a content in an order of its own, or the content by split."""
    return orders.of(content) or self._by_split(content)

  def _of_hdf5(self) -> object:
    """What an HDF5 file holds, but the CMU-MultimodalSDK's, whose reader reads less."""
    # Late: h5py takes longer to load than most files.
    from mcr_jax.data.readers.common import hdf5

    if self.data is not None or hdf5.is_sdk(self.path):
      return None
    return self._ordered(hdf5.content(self.path))

  def _by_split(self, content):
    """A tuple of two or three dicts of features as the dict of splits that it is."""
    several = isinstance(content, tuple | list) and len(content) in (2, len(SPLITS))
    if not several or not all(isinstance(x, dict) and by_name(x) for x in content):
      return content
    names = SPLITS if len(content) == len(SPLITS) else ("train", "test")
    self.notes.append(f"Its parts are {', '.join(names)}, in this order.")
    return dict(zip(names, content, strict=True))

  def _of_split_files(self) -> dict | Rows | None:
    """Split -> content of the file that is named so; None of other files."""
    try:
      files = split_files.of(self.files)
    except UserError as error:
      raise UserError(f"{self}: {error}") from None
    found = {}
    for split, path in files.items():
      one = Source((path,), self.left)
      if not isinstance(one.content, dict | list | tuple | Rows):
        return None
      found[split] = one.content
    if any(isinstance(x, Rows) for x in found.values()):
      whole = all(isinstance(x, Rows) for x in found.values())
      found = rows.joined(found) if whole else None
    for path in self.files if found else ():
      if path not in files.values():
        size, why = path.stat().st_size, "it is no file of a split"
        self.left.append(ledger.left(path.name, size, why, "bytes"))
    return found or None

  @property
  def inside(self) -> dict[str, object]:
    """Several dumps by number, or what the dict of a file has by name."""
    if len(self.dumps) > 1:
      return {f"dump {i}": x for i, x in enumerate(self.dumps, 1)}
    if self.path is None or self.folder or not isinstance(self.content, dict):
      return {}
    return {repr(k)[:60]: x for k, x in list(self.content.items())[:MOST_INSIDE]}


def _is_old_pickle(start: bytes) -> bool:
  """Whether a file may be of protocol 0 or 1; as these begin, so do others."""
  if not start or start[0] not in OLD_PICKLE:
    return False
  if start[:4] == ZIP or magic.of(start) is not None or table.is_manifest(start):
    return False
  # The letters among the instructions begin words as well, such as names of columns.
  return not start[:1].isalpha() or not _is_words(start)


def _is_words(start: bytes) -> bool:
  """Whether bytes are a text that no pickle begins with."""
  text = all(x in PRINTED for x in start[:WORDS])
  return table.head(start) is not None or text and not TEXT_PICKLE.match(start)
