"""What a file is that no format reads, and what would make data of it."""

import io
import zipfile

import numpy as np

from mcr_jax.data.readers.common import (
  damage,
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
OFFICE = {
  "xl/workbook.xml": "an Excel workbook. Save it as a .csv table with a column 'id'",
  "word/document.xml": "a Word document. It holds no arrays",
  "mimetype": "an OpenDocument or EPUB file. Save a table as .csv",
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
  inner = sum(x.is_dir() for x in source.path.iterdir()) if source.folder else 0
  folders = f" and {inner} folders" * bool(inner)
  more = ", ..." * (len(source.files) > NAMES)
  return f"is {'a folder' if source.folder else 'a list'} with {names}{more}{folders}."


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
    return f"is {kind.what}, not data. {kind.way}."
  if told := damage.of(start):
    return f"begins with {start[:8]!r}. {told}"
  return _text(start) or f"begins with {start[:16]!r}, which is no known kind of file."


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
  files = [x for x in names if not x.endswith("/")]
  shown = ", ".join(repr(x[-60:]) for x in files[:NAMES])
  more = ", ..." * (len(files) > NAMES)
  return (
    f"a zip file with {len(files):,} files: {shown}{more}. Unpack it, and give the "
    "file or folder that was in it."
  )


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
