"""Files that were damaged, and contents that nobody would write."""

import gzip
import io
import pickle
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np


def damaged(source: Random, seeds: list[Path], path: Path) -> Path:
  """A copy of a file or folder, with one of its files changed, beside `path`."""
  seed = source.choice(seeds)
  path = path.with_name(path.name + seed.suffix)
  if seed.is_dir():
    shutil.copytree(seed, path)
    file = source.choice(sorted(x for x in path.rglob("*") if x.is_file()))
  else:
    shutil.copy(seed, path)
    file = path
  data = bytearray(file.read_bytes())
  if data[:2] == b"PK" and source.random() < 0.8:
    data = inside_archive(source, data)
  elif data[:2] == b"\x1f\x8b" and source.random() < 0.8:
    content = bytearray(gzip.decompress(data))
    data = gzip.compress(mutate(source, content, bytes(content)))
  else:
    other = source.choice([x for x in seeds if x.is_file()]).read_bytes()
    data = mutate(source, data, other)
  file.write_bytes(data)
  return path


def inside_archive(source: Random, data: bytes) -> bytes:
  """Damages a member and packs it again, so that checksums do not give it away."""
  result = io.BytesIO()
  with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(result, "w") as new:
    names = old.namelist()
    chosen = source.choice(names)
    for name in names:
      content = old.read(name)
      if name == chosen:
        content = mutate(source, bytearray(content), old.read(source.choice(names)))
      new.writestr(name, bytes(content))
  return result.getvalue()


def mutate(source: Random, data: bytearray, other: bytes) -> bytearray:
  """One to eight changes of any kind."""
  extremes = [0, 1, 0x7F, 0x80, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1]
  for _ in range(source.choice((1, 1, 1, 2, 4, 8))):
    # Headers and the first instructions are where the structure is.
    reach = min(len(data), source.choice((64, 512, 1 << 30)))
    at = source.randrange(reach + 1)
    span = source.choice((1, 2, 4, 8, 16, 200))
    kind = source.randrange(9)
    if kind == 0 and at < len(data):
      data[at] ^= 1 << source.randrange(8)
    elif kind == 1 and at < len(data):
      data[at] = source.randrange(256)
    elif kind == 2:
      data[at : at + span] = b""
    elif kind == 3:
      data[at:at] = source.randbytes(span)
    elif kind == 4:
      data[at:at] = data[at : at + span] * source.choice((1, 2, 50))
    elif kind == 5:
      width = source.choice((1, 2, 4, 8))
      number = source.choice(extremes) & ((1 << 8 * width) - 1)
      data[at : at + width] = number.to_bytes(width, "little")
    elif kind == 6 and other:
      start = source.randrange(len(other))
      data[at:at] = other[start : start + span]
    elif kind == 7:
      data[at : at + 1] = source.choice(b"(.012FGIJKLMNRSTUVX]abcdeghijlopqrstu)}"
                                        b"\x80\x81\x85\x86\x87\x88\x8c\x8e\x90\x91\x93"
                                        b"\x94\x96").to_bytes(1, "little")  # fmt: skip
    elif kind == 8 and source.random() < 0.3:
      del data[at:]
  return data


def invented(source: Random, contents: list[Callable[[], Any]]) -> bytes:
  """A pickle of a known layout, with entries of any type and shape, or without."""
  content = source.choice(contents)()
  for _ in range(source.randint(1, 3)):
    table, key = source.choice(list(_places(content)))
    if isinstance(table, dict) and source.random() < 0.5:
      del table[key]
    else:
      table[key] = _anything(source)
  content = tuple(content) if isinstance(content, list) else content
  return pickle.dumps(content, source.randrange(6))


def _places(content: Any, depth: int = 0) -> Iterator[tuple[Any, Any]]:
  """Every place in a content that can be replaced."""
  if isinstance(content, dict | list) and depth < 3:
    for key in content if isinstance(content, dict) else range(len(content)):
      yield content, key
      yield from _places(content[key], depth + 1)


def _anything(source: Random, depth: int = 0) -> Any:
  kind = source.randrange(9 if depth < 2 else 7)
  if kind < 2:
    return _array(source)
  if kind == 7:
    return [_anything(source, depth + 1) for _ in range(source.randrange(4))]
  if kind == 8:
    keys = ("", "text", "id", 0, 1.5, None, "vision")
    return {x: _anything(source, depth + 1) for x in source.sample(keys, 3)}
  numbers = (0, -1, 1, 2, 3, 1 << 31, 1 << 70, -0.0, 1.5, 1e300, float("nan"))
  words = ("", "N/A", "train", "x" * 300, "\ud800", "\x00", "1,5", "50%", "ä")
  plain = (None, True, False, b"", b"\xff\x00", *numbers, *words)
  return source.choice(plain)


def _array(source: Random) -> np.ndarray:
  shape = [source.randrange(4) for _ in range(source.randrange(5))]
  kind = source.choice(
    ["f4", "f8", "i8", "u1", "?", "S3", "U3", "O", "f2", "c8", "M8[s]"]
  )
  if kind == "O":
    array = np.empty(shape, object)
    for place in np.ndindex(*shape):
      array[place] = source.choice((None, "a", 1, [1.0], np.ones(2)))
    return array
  raw = np.frombuffer(source.randbytes(int(np.prod(shape)) * 16), "u1")
  size = int(np.prod(shape)) * np.dtype(kind).itemsize
  if kind in ("?", "U3"):
    raw = raw & 1
  return raw[:size].copy().view(kind).reshape(shape)
