"""Files that are whole or not there, JSON without NaN, and digests."""

import contextlib
import dataclasses
import hashlib
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
  """A file to write, which takes the place of `path` when all of it is written.

  It stands beside `path`, in a folder that is made; where the block raises, it goes.
  """
  path = Path(path)
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
  try:
    yield draft
    os.replace(draft, path)
  except BaseException:
    with contextlib.suppress(OSError):
      draft.unlink()
    raise


def is_draft(name: str, of: str) -> bool:
  """Whether a killed process may have left a file of this name instead of `of`."""
  return name.startswith(f".{of}.")


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


def digest_of(facts: Mapping[str, Any]) -> str:
  """SHA-256 of plain values, in any order of their names."""
  return digest([json.dumps(facts, sort_keys=True).encode()])
