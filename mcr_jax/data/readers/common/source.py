"""What a reader is asked about: a file, a folder, or several files."""

import dataclasses
import functools
import pathlib

from mcr_jax.data.ledger import Entry
from mcr_jax.data.readers.common import table, unpickle
from mcr_jax.errors import UserError

# Of protocols 0 and 1, which have no mark of their own.
OLD_PICKLE = tuple(b"(c]}lIKMJLGFSUVXT)NP")
ZIP = b"PK\3\4"
START = 4096


@dataclasses.dataclass(frozen=True)
class Source:
  """The path of a data set, with what several formats ask about it.

  Attributes:
    paths: one file or folder, or several files.
    left: what is in them that no format ever reads, such as bytes behind the end.
  """

  paths: tuple[pathlib.Path, ...]
  left: list[Entry] = dataclasses.field(default_factory=list)

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
  def start(self) -> bytes:
    """How a file begins; nothing of a folder and of several files."""
    if self.path is None or self.folder:
      return b""
    with open(self.path, "rb") as file:
      return file.read(START)

  @functools.cached_property
  def content(self) -> object:
    """What a pickle holds, by the restricted unpickler; None of all other files."""
    start = self.start
    # As a pickle of protocol 0 begins, so may a table, and so does a zip file.
    other = start[:4] == ZIP or table.is_manifest(start)
    old = start and start[0] in OLD_PICKLE and not other
    return unpickle.load(self.path) if start[:1] == b"\x80" or old else None
