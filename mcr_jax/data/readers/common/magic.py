"""What files are by their first bytes, and what makes data of each."""

import re
from typing import NamedTuple


class Kind(NamedTuple):
  """One kind of files.

  Attributes:
    what: it is, in words.
    way: from it to something that can be read.
    start: how it begins.
    at: the byte at which it does.
  """

  what: str
  way: str
  start: bytes
  at: int = 0


UNPACK = "Unpack it, and give the file or folder that was in it"
MEDIA = "Models read features of it: write them as .npz or .npy arrays"
TABLE = "Save it as a .csv table with a column 'id'"
AGAIN = "Download or copy it again as binary"
MATLAB = (
  "In Python, scipy.io.loadmat(file) gives its arrays; numpy.savez writes them as .npz"
)
KINDS = (
  Kind("a Git LFS pointer", "", b"version https://git-lfs.github.com"),
  Kind("a Git LFS pointer", "", b"version https://hawser.github.com"),
  Kind("packed by bzip2", UNPACK, b"BZh"),
  Kind("packed by xz", UNPACK, b"\xfd7zXZ\0"),
  Kind("packed by zstandard", UNPACK, b"\x28\xb5\x2f\xfd"),
  Kind("packed by LZ4", UNPACK, b"\x04\x22\x4d\x18"),
  Kind("a 7-Zip archive", UNPACK, b"7z\xbc\xaf\x27\x1c"),
  Kind("a RAR archive", UNPACK, b"Rar!\x1a\x07"),
  Kind("a tar archive", UNPACK, b"ustar", 257),
  Kind("an empty zip file", "Download or write it again", b"PK\5\6"),
  Kind("a part of a zip of several files", "Join and unpack all of them", b"PK\7\x08"),
  Kind(
    "a Parquet table",
    "In Python, pandas.read_parquet(file).to_csv(new, index=False) makes a table of it",
    b"PAR1",
  ),
  Kind(
    "an Arrow or Feather table",
    "In Python, pandas.read_feather(file).to_csv(new, index=False) makes a table of it",
    b"ARROW1",
  ),
  Kind("a Feather table", "Save it as .csv", b"FEA1"),
  Kind("an SQLite database", "Save its table as .csv", b"SQLite format 3\0"),
  Kind(
    "a workbook or document of old Office", TABLE, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
  ),
  Kind("a MATLAB file", MATLAB, b"MATLAB 5.0 MAT-file"),
  Kind(
    "a MATLAB 7.3 file, which is HDF5",
    "In Python, h5py.File(file) gives its arrays; numpy.savez writes them as .npz",
    b"MATLAB 7.3 MAT-file",
  ),
  Kind(
    "an R data file",
    "In R, write.csv(x, 'new.csv') makes a table of it",
    b"RDX",
  ),
  Kind("a PDF", "It holds no arrays", b"%PDF-"),
  Kind("a PNG image", MEDIA, b"\x89PNG\r\n\x1a\n"),
  Kind("a JPEG image", MEDIA, b"\xff\xd8\xff"),
  Kind("a GIF image", MEDIA, b"GIF8"),
  Kind("a WAV sound file", MEDIA, b"WAVE", 8),
  Kind("an AVI video", MEDIA, b"AVI ", 8),
  Kind("an MP4 or QuickTime video", MEDIA, b"ftyp", 4),
  Kind("a Matroska or WebM video", MEDIA, b"\x1a\x45\xdf\xa3"),
  Kind("an MPEG video", MEDIA, b"\0\0\1\xba"),
  Kind("a FLAC sound file", MEDIA, b"fLaC"),
  Kind("an Ogg sound file", MEDIA, b"OggS"),
  Kind("an MP3 sound file", MEDIA, b"ID3"),
  Kind("an MP3 sound file", MEDIA, b"\xff\xfb"),
  Kind("a NumPy array that was changed as text", AGAIN, b"\xef\xbf\xbdNUMPY"),
  Kind("an HDF5 file whose ends of lines were changed", AGAIN, b"\x89HDF\n"),
  Kind("an HDF5 file whose ends of lines were changed", AGAIN, b"\x89HDF\r\r\n"),
  Kind("a binary file that was saved as text", AGAIN, b"\xef\xbf\xbd"),
  Kind("packed by zlib, as joblib.dump does with compress", UNPACK, b"x\x9c"),
  Kind("packed by zlib, as joblib.dump does with compress", UNPACK, b"x\x01"),
  Kind("packed by zlib, as joblib.dump does with compress", UNPACK, b"x\xda"),
  Kind("a program", "It holds no data", b"\x7fELF"),
  Kind("a script", "It holds no data; run it yourself if it fetches some", b"#!"),
)
PAGE = re.compile(
  rb"\s*(<!doctype html|<html|<head|<\?xml[^>]*>\s*<!doctype html)", re.I
)
TITLE = re.compile(r"<title[^>]*>([^<]{1,200})", re.I)
LFS_SIZE = re.compile(rb"^size (\d{1,18})\s*$", re.M)


def of(start: bytes) -> Kind | None:
  """The kind of a file that begins so; None of what is none of these."""
  for kind in KINDS:
    if start[kind.at : kind.at + len(kind.start)] == kind.start:
      return _pointer(kind, start) if kind.what == "a Git LFS pointer" else kind
  return _page(start) or _json(start)


def _pointer(kind, start) -> Kind:
  size = LFS_SIZE.search(start)
  bytes_of = f" of {int(size[1]):,} bytes" if size else ""
  way = (
    f"It stands for a file{bytes_of}, which `git lfs pull` in its repository fetches"
  )
  return kind._replace(way=way)


def _page(start) -> Kind | None:
  if not PAGE.match(start.removeprefix(b"\xef\xbb\xbf")):
    return None
  title = TITLE.search(start.decode("utf-8", "replace"))
  titled = f", titled {' '.join(title[1].split())[:60]!r}" if title else ""
  way = (
    "The site answered with a page in place of the file, perhaps a question or a "
    "limit: open the address in a browser and download what it leads to"
  )
  return Kind(f"a web page{titled}", way, b"")


def _json(start) -> Kind | None:
  text = start.lstrip(b"\xef\xbb\xbf \r\n\t")
  if text[:1] == b"{" and text[1:].lstrip()[:1] in (b'"', b"}"):
    return Kind("JSON", "Features are arrays: write them by numpy.savez", b"")
  if re.match(rb"\[\s*[\[{\"'\d-]|\{\s*'", text):
    way = "Features are arrays: write them by numpy.savez"
    return Kind("JSON, or the text of a list or dict of Python", way, b"")
  if text[:1] == b"<":
    return Kind("XML or another text with tags", "It holds no arrays", b"")
  return None
