"""What a file is that no format reads, and what would make data of it."""

import io
import os
import zipfile

import numpy as np

from mcr_jax.data.readers.common import (
  damage,
  json_file,
  magic,
  npy,
  packed,
  table,
  torch_file,
)
from mcr_jax.data.readers.common.contents import NPY
from mcr_jax.data.readers.common.source import HDF5, Source
from mcr_jax.data.readers.common.values import describe
from mcr_jax.errors import UserError

NAMES = 8
MOST_FILES = 2000
MEDIA = (".wav", ".mp4", ".mp3", ".avi", ".mkv", ".mov", ".flac", ".webm", ".m4a")
CLIPS = (
  "A model reads features: python -m mcr_jax.extract FOLDER --labels TABLE.csv --out "
  "NEW.npz makes them of clips."
)
MANIFEST = (
  "A table beside them, a .csv with columns id, split, label and audio (or text, "
  "vision) that name the .npy files, makes a data set of it."
)
OFFICE = {
  "xl/workbook.xml": "an Excel workbook. Save it as a .csv table with a column 'id'",
  "word/document.xml": "a Word document. It holds no arrays",
}


def is_known(source: Source) -> bool:
  """Whether a file is of a kind that no list of formats helps with."""
  start = source.start
  single = source.path is not None and not source.folder
  return single and (not start or magic.of(start) is not None or damage.of(start) != "")


def described(source: Source) -> str:
  """What a source is, as the end of a sentence that begins with its name."""
  if source.folder or source.path is None:
    return _several(source)
  start, size = source.start, source.path.stat().st_size
  how = f"was packed by {source.packed[1]}; inside it " if source.packed else ""
  return how + _file(source, start, size)


def _several(source) -> str:
  names = ", ".join(repr(x.name)[:40] for x in source.files[:NAMES]) or "no files"
  more = ", ..." * (len(source.files) > NAMES)
  if not source.folder:
    return f"is a list with {names}{more}."
  folders, suffixes = _inside(source.path)
  inner = ", ".join(repr(x)[:40] for x in folders[:NAMES])
  inner += ", ..." * (len(folders) > NAMES)
  held = f"is a folder with {names}{more}"
  held += f" and {len(folders)} folders: {inner}" * bool(folders) + "."
  if any(suffix in MEDIA for suffix in suffixes):
    return f"{held} {CLIPS}"
  return f"{held} {MANIFEST}" if ".npy" in suffixes else held


def _inside(path) -> tuple[list[str], set[str]]:
  """The folders of a folder, and the suffixes of the files in it and in these."""
  folders, suffixes, seen = [], set(), 0
  for root, inner, files in os.walk(path):
    folders = folders or sorted(inner) if root == str(path) else folders
    suffixes |= {os.path.splitext(x)[1].lower() for x in files[:MOST_FILES]}
    seen += len(files) + len(inner) + 1
    if seen > MOST_FILES:
      break
  return folders, suffixes


def _file(source, start, size) -> str:
  if not start:
    return "is empty, 0 bytes. Download or copy it again."
  if torch_file.is_old(start):
    return (
      "is a PyTorch file of before version 1.6. With torch installed: import torch; "
      'torch.save(torch.load("FILE"), "NEW") writes one of plain tensors that is read '
      "here."
    )
  if start.startswith(NPY):
    return _array(source)
  if json_file.is_json(start) and (kind := magic.of(start)):
    return _kind(source, kind)
  if source.content is not None and start.startswith(HDF5):
    held = describe(source.content)
    return f"is HDF5 with {held}; of the CMU-MultimodalSDK it would have <root>/data."
  if source.content is not None:
    several = len(source.dumps)
    many = f" {several} dumps, which together are" if several > 1 else ""
    return f"is a pickle of{many} {describe(source.content)}."
  if start[:4] == packed.ZIP:
    return f"is {_zip(source)}"
  if kind := magic.of(start):
    return _kind(source, kind)
  if told := damage.of(start):
    return f"begins with {start[:8]!r}. {told}"
  return _text(start) or f"begins with {start[:16]!r}, which is no known kind of file."


def _kind(source, kind) -> str:
  """A kind by its first bytes; of JSON also how it is built."""
  if kind.what == "JSON":
    data = source.path.read_bytes() if source.data is None else source.data
    held = json_file.described(data, str(source))
    return (
      f"is JSON of {held}. {kind.way}." if held else "is damaged JSON. Copy it again."
    )
  return f"is {kind.what}, not data. {kind.way}."


def _array(source) -> str:
  file = open(source.path, "rb") if source.data is None else io.BytesIO(source.data)
  with file:
    try:
      shape, _, dtype = npy.header(file, str(source))
    except UserError:
      return "is one damaged array. Write it again by numpy.save."
  held = f"shape {shape} of {dtype}"
  if source.content is not None:
    found = source.content
    listed = found.tolist() if isinstance(found, np.ndarray) else found
    held = f"objects, {describe(listed)}"
  return (
    f"is one array of {held}. A data set has ids and modalities: "
    "write it by numpy.savez(file, id=..., text=...), or list .npy files in a .csv "
    "manifest."
  )


def _zip(source) -> str:
  try:
    file = source.path if source.data is None else io.BytesIO(source.data)
    with zipfile.ZipFile(file) as archive:
      names = archive.namelist()
  except (OSError, ValueError, RuntimeError, zipfile.BadZipFile):
    return "a zip file that is cut or damaged. Download or copy it again."
  for name, what in OFFICE.items():
    if name in names:
      return f"{what}."
  if "mimetype" in names:
    return f"{_open_document(file)}."
  files = [x for x in names if not x.endswith("/")]
  shown = ", ".join(repr(x[-60:]) for x in files[:NAMES])
  more = ", ..." * (len(files) > NAMES)
  return (
    f"a zip file with {len(files):,} files: {shown}{more}. Unpack it, and give the "
    "file or folder that was in it."
  )


def _open_document(file) -> str:
  """Which of these a zip with a member `mimetype` is."""
  with zipfile.ZipFile(file) as archive, archive.open("mimetype") as member:
    kind = member.read(200).decode("ascii", "replace").strip()
  if kind.endswith(".spreadsheet"):
    return "an OpenDocument spreadsheet. Save it as a .csv table with a column 'id'"
  return f"a document ({kind[:80]}). It holds no arrays"


def _text(start) -> str:
  encoding = table.encoding_of(start)
  text = start.decode(encoding, "ignore")
  printable = sum(x.isprintable() or x.isspace() for x in text)
  if len(text) < 2 or printable < 0.95 * len(text):
    return ""
  wide = f" ({encoding})" if not encoding.startswith("utf-8") else ""
  head = table.head(start)
  if head is None:
    return f"is text{wide} that begins with {text[:40]!r}, and no table of columns."
  names = ", ".join(repr(x)[:40] for x in head.columns[:NAMES])
  separator = table.SEPARATORS.get(head.separator, repr(head.separator))
  if table.is_manifest(start):
    return "is a table of files: unpack it beside them."
  why = "no column 'id'"
  if any(map(_is_number, head.columns)):
    why = "numbers and no names of columns in its first line"
  return (
    f"is a table{wide} whose cells are separated by {separator}, with {why} ({names})."
  )


def _is_number(cell) -> bool:
  try:
    return bool(np.isfinite(float(cell)))
  except ValueError:
    return False
