"""Files that are whole or not there, JSON without NaN, and digests."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

try:
  import fcntl
except ImportError:  # not a POSIX system
  fcntl = None

# Of the name of a draft, and bytes that file systems allow any name.
_DIGITS, _LONGEST = 8, 255
_PROBE = 1 << 16  # bytes, beyond what a disk that is full finds room for
SEAL = "sha256"  # in a sealed file: of all else that it says


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
  """A file to write, which takes the place of `path` when all of it is written.

  It stands beside `path`, in a folder that is made; where the block raises, it goes.
  What a killed process left in the same place goes, too.
  """
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    stack.enter_context(_named(path))
    draft = _draft(path, stack)
    try:
      _forget_drafts(path)
      yield draft
      os.replace(draft, path)
    except BaseException:
      with contextlib.suppress(OSError):
        draft.unlink()
      raise


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
  """A block in which errors of drafts of `path` name it: nobody knows the drafts."""
  try:
    yield
  except OSError as error:
    name = os.path.basename(os.fsdecode(error.filename or ""))
    if is_draft(name, path.name):
      error.filename, error.filename2 = str(path), None
    raise


def _draft(path: Path, stack: contextlib.ExitStack) -> Path:
  """A new file beside `path`, locked until the stack ends, or this process."""
  while True:
    draft = path.with_name(f"{_prefix(path.name)}{secrets.token_hex(_DIGITS // 2)}")
    held = _held(draft, stack, os.O_CREAT | os.O_EXCL)
    # Before it was locked, another process may have taken it for left behind.
    if not held or draft.exists():
      return draft


def _forget_drafts(path: Path) -> None:
  """Deletes drafts of `path` that no process holds."""
  with contextlib.suppress(OSError):
    for name in os.listdir(path.parent):
      if is_draft(name, path.name):
        with contextlib.ExitStack() as stack:
          if _held(path.with_name(name), stack):
            path.with_name(name).unlink()


def _held(draft: Path, stack: contextlib.ExitStack, flags: int = 0) -> bool:
  """Whether a file is locked now, which not every file system can."""
  file = os.open(draft, os.O_RDWR | flags, 0o666)
  if fcntl is None:
    os.close(file)  # it could not be replaced
    return False
  stack.callback(os.close, file)
  try:
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
  except OSError:
    return False
  return True


def is_draft(name: str, of: str) -> bool:
  """Whether a killed process may have left a file of this name instead of `of`."""
  digits = name.removeprefix(_prefix(of))
  return digits != name and bool(re.fullmatch(rf"[0-9a-f]{{{_DIGITS}}}", digits))


def _prefix(of: str) -> str:
  """How the names of the drafts of a file begin."""
  if len(os.fsencode(of)) + _DIGITS + 2 > _LONGEST:
    of = digest([os.fsencode(of)])
  return f".{of}."


def refused(folder: Path) -> OSError | None:
  """What the system has against a file of 64 KiB in a folder; it is tried."""
  path = folder / f".{secrets.token_hex(4)}.probe"
  try:
    try:
      path.write_bytes(bytes(_PROBE))
    finally:
      path.unlink(missing_ok=True)
  except OSError as error:
    return error
  return None


def write(path: str | os.PathLike, data: bytes | str) -> None:
  """Writes a file, text as UTF-8, whole or not at all."""
  with replacing(path) as draft:
    draft.write_bytes(data.encode() if isinstance(data, str) else data)


def plain(value: Any) -> Any:
  """As JSON has it: dataclasses as dicts, arrays and tuples as lists, names as text."""
  if isinstance(value, Mapping):
    return {str(key): plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return [plain(item) for item in value]
  if dataclasses.is_dataclass(value):
    return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
  if hasattr(value, "__array__"):
    # bfloat16 has no Python number of its own; tolist gives it one.
    return np.asarray(value).tolist()
  return value


def finite(value: Any) -> Any:
  """Plain values with None for NaN and infinities, which JSON does not have."""
  if isinstance(value, dict):
    return {key: finite(item) for key, item in value.items()}
  if isinstance(value, list):
    return [finite(item) for item in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


def json_text(value: Any, indent: int | None = None) -> str:
  """Strict JSON of what `plain` understands; what is not finite becomes null."""
  return json.dumps(finite(plain(value)), indent=indent, allow_nan=False)


def write_json(path: str | os.PathLike, value: Any, indent: int | None = 2) -> None:
  """Writes a JSON file, whole or not at all."""
  write(path, json_text(value, indent) + "\n")


def digest(parts: Iterable[bytes | memoryview]) -> str:
  """SHA-256 of bytes that follow one another, as 64 hexadecimal digits."""
  sha = hashlib.sha256()
  for part in parts:
    sha.update(part)
  return sha.hexdigest()


def sealed(facts: Mapping[str, Any]) -> dict[str, Any]:
  """Plain values with a digest of what they say, in place of an older one."""
  facts = finite(plain({name: x for name, x in facts.items() if name != SEAL}))
  return facts | {SEAL: digest_of(facts)}


def digest_of(facts: Mapping[str, Any]) -> str:
  """SHA-256 of plain values, in any order of their names."""
  return digest([json.dumps(facts, sort_keys=True).encode()])
