"""Files inside of other files: one packed by gzip, or the only one in a zip."""

import io
import pathlib
import zipfile
import zlib

from mcr_jax.data import ledger, memory
from mcr_jax.data.ledger import Entry
from mcr_jax.errors import UserError

GZIP, ZIP = b"\x1f\x8b", b"PK\3\4"
DEEPEST = 3
FREE_BYTES, MAX_EXPANSION = 64 << 20, 100
STEP = 4 << 20
# What archives hold beside the data, by how their names begin and end.
BESIDE_PREFIXES = ("__MACOSX/", ".")
BESIDE_SUFFIXES = (".txt", ".md", ".rst", ".DS_Store", "LICENSE", "README", "/")


def inner(path: pathlib.Path, left: list[Entry]) -> tuple[bytearray, str] | None:
  """The bytes of the file that another one holds, and how it was packed.

  Args:
    path: of a file.
    left: is told what else there is in it.
  Returns:
    None where the file is not packed, or holds several files of data.
  Raises:
    UserError: it is damaged, or would expand beyond its bound.
  """
  size = path.stat().st_size
  with open(path, "rb") as file:
    data: bytes | bytearray = file.read(4)
  most, how, found = FREE_BYTES + MAX_EXPANSION * size, [], None
  while len(how) < DEEPEST:
    if data[:2] == GZIP:
      found = _gunzipped(found if how else _whole(path, size), most, str(path))
      how.append("gzip")
    elif data[:4] == ZIP:
      opened = _only_member(path, found if how else None, most, left)
      if opened is None:
        break
      found, name = opened
      how.append(f"a zip, as {name[:60]!r}")
    else:
      break
    data = found[:4]
  return (found, " in ".join(reversed(how))) if how else None


def _whole(path, size) -> bytes:
  memory.take(size, str(path))
  return path.read_bytes()


def _gunzipped(data, most, source) -> bytearray:
  result, rest = bytearray(), data
  try:
    while rest[:2] == GZIP:  # a file may be of several parts
      machine = zlib.decompressobj(31)
      result += _step(machine, rest, result, most, source)
      while not machine.eof:
        more = _step(machine, machine.unconsumed_tail, result, most, source)
        if not more:
          raise zlib.error("it is cut")
        result += more
      rest = machine.unused_data
  except zlib.error as error:
    raise UserError(
      f"{source} is packed by gzip and damaged ({error}): download or copy it again."
    ) from None
  return result


def _step(machine, data, result, most, source) -> bytes:
  if len(result) + STEP > most:
    raise UserError(f"{source}: refused: it would expand to more than {most:,} bytes.")
  memory.take(STEP, f"{source}, unpacked,")
  return machine.decompress(data, STEP)


def _only_member(path, data, most, left) -> tuple[bytearray, str] | None:
  """The only file of data in a zip; None where there are several, or arrays."""
  try:
    with zipfile.ZipFile(path if data is None else io.BytesIO(data)) as archive:
      infos = archive.infolist()
      if any(x.filename.endswith((".npy", "/data.pkl")) for x in infos):
        return None
      own = [x for x in infos if not _is_beside(x.filename)]
      if len(own) != 1:
        return None
      for x in infos:
        if x is not own[0] and not x.is_dir():
          left.append(ledger.left(x.filename, x.file_size, "it is no data", "bytes"))
      if own[0].file_size > most:
        raise UserError(
          f"{path}: refused: it would expand to {own[0].file_size:,} bytes."
        )
      memory.take(own[0].file_size, f"{path}, unpacked,")
      return bytearray(archive.read(own[0])), own[0].filename
  except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError):
    return None  # what it is worth is told by whoever reads it as arrays


def _is_beside(name) -> bool:
  last = name.rstrip("/").rpartition("/")[2]
  return (
    name.startswith(BESIDE_PREFIXES)
    or last.startswith(".")
    or name.endswith(BESIDE_SUFFIXES)
  )
