"""What files are by their first bytes, and what makes data of each."""

import re
import struct
from typing import NamedTuple

from mcr_jax.data.readers.common import json_file


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
MEDIA = (
  "Models read features of it: python -m mcr_jax.extract FOLDER makes them of clips"
)
IMAGE = "Models read features of it: write them as .npz or .npy arrays"
TABLE = "Save it as a .csv table with a column 'id'"
ARROW = "With pyarrow installed (pip install pyarrow) it is read here"
ARRAYS = "Features are arrays: write them by numpy.savez"
JOBLIB = (
  'With joblib installed: import joblib, pickle; pickle.dump(joblib.load("FILE"), '
  'open("NEW", "wb"))'
)
AGAIN = "Download or copy it again as binary"
MATLAB = (
  'In Python: import numpy, scipy.io; numpy.savez("NEW.npz", **{k: v for k, v in '
  'scipy.io.loadmat("FILE", squeeze_me=True).items() if k[:2] != "__"})'
)
MATLAB_73 = (
  'In Python: import h5py, numpy; numpy.savez("NEW.npz", **{k: v[()].T.squeeze() for '
  'k, v in h5py.File("FILE").items() if hasattr(v, "shape")})'
)
# Numbers of 8, 4, 4, 2, 2 and 1 bytes, as a matrix or as text.
MATLAB_4 = {10 * size + text for size in range(6) for text in (0, 1)}
TFRECORD = (
  "tf.data.TFRecordDataset and tf.io.parse_example read it; write the arrays by "
  "numpy.savez"
)
SAFETENSORS = (
  'In Python: import numpy, safetensors.numpy; numpy.savez("NEW.npz", '
  '**safetensors.numpy.load_file("FILE"))'
)
R = "In R, write.csv(x, 'new.csv') makes a table of it"
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
  Kind("a Parquet table", ARROW, b"PAR1"),
  Kind("an Arrow or Feather table", ARROW, b"ARROW1"),
  Kind("a Feather table", "Save it as .csv", b"FEA1"),
  Kind("an SQLite database", "Save its table as .csv", b"SQLite format 3\0"),
  Kind(
    "a workbook or document of old Office", TABLE, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
  ),
  Kind("a MATLAB file", MATLAB, b"MATLAB 5.0 MAT-file"),
  Kind("a MATLAB 7.3 file, which is HDF5", MATLAB_73, b"MATLAB 7.3 MAT-file"),
  Kind("an R data file", R, b"RDX"),
  Kind("an R object, as saveRDS writes it", R, b"X\n\0\0\0\2"),
  Kind("an R object, as saveRDS writes it", R, b"X\n\0\0\0\3"),
  Kind("a file of SPSS", TABLE, b"$FL2@(#)"),
  Kind("a file of Stata", TABLE, b"<stata_dta>"),
  Kind("a safetensors file", SAFETENSORS, b'\0\0\0{"', 5),
  Kind("a PDF", "It holds no arrays", b"%PDF-"),
  Kind("a PNG image", IMAGE, b"\x89PNG\r\n\x1a\n"),
  Kind("a JPEG image", IMAGE, b"\xff\xd8\xff"),
  Kind("a GIF image", IMAGE, b"GIF8"),
  Kind("a WAV sound file", MEDIA, b"WAVE", 8),
  Kind("an AVI video", MEDIA, b"AVI ", 8),
  Kind("an MP4, M4A or QuickTime file", MEDIA, b"ftyp", 4),
  Kind("a Matroska or WebM video", MEDIA, b"\x1a\x45\xdf\xa3"),
  Kind("an MPEG video", MEDIA, b"\0\0\1\xba"),
  Kind("a FLAC sound file", MEDIA, b"fLaC"),
  Kind("an Ogg sound file", MEDIA, b"OggS"),
  Kind("an MP3 sound file", MEDIA, b"ID3"),
  *(
    Kind("an MP3 sound file", MEDIA, b"\xff" + x)
    for x in (b"\xfb", b"\xfa", b"\xf3", b"\xf2")
  ),
  *(Kind("an AAC sound file", MEDIA, b"\xff" + x) for x in (b"\xf1", b"\xf9")),
  Kind("a NumPy array that was changed as text", AGAIN, b"\xef\xbf\xbdNUMPY"),
  Kind("an HDF5 file whose ends of lines were changed", AGAIN, b"\x89HDF\n"),
  Kind("an HDF5 file whose ends of lines were changed", AGAIN, b"\x89HDF\r\r\n"),
  Kind("a binary file that was saved as text", AGAIN, b"\xef\xbf\xbd"),
  *(
    Kind("packed by zlib, as joblib.dump does with compress", JOBLIB, b"x" + x)
    for x in (b"\x9c", b"\x01", b"\x5e", b"\xda")
  ),
  Kind("a program", "It holds no data", b"\x7fELF"),
  Kind("a script", "It holds no data; run it yourself if it fetches some", b"#!"),
)
KALDI = re.compile(rb"[^\s\0]{1,200} \0B[FDC]M ")
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
  if KALDI.match(start):
    way = (
      "In Python, kaldiio.load_ark(file) gives its arrays by id: write a dict of them"
    )
    return Kind("an archive of Kaldi", way, b"")
  return _by_header(start) or _page(start) or _json(start)


def _by_header(start) -> Kind | None:
  """Files without a mark, whose first numbers fit together."""
  if len(start) < 20:
    return None
  kind, rows, columns, imaginary, name = struct.unpack("<5i", start[:20])
  named = 1 < name <= 64 and start[19 + name : 20 + name] == b"\0"
  if named and kind in MATLAB_4 and min(rows, columns) > 0 and imaginary in (0, 1):
    return Kind("a MATLAB file of version 4", MATLAB, b"")
  if struct.unpack("<I", start[8:12])[0] == _masked_crc(start[:8]):
    return Kind("a TFRecord file of TensorFlow", TFRECORD, b"")
  return None


def _masked_crc(data: bytes) -> int:
  """CRC-32C as TFRecord stores it: turned, and a constant added."""
  crc = 0xFFFFFFFF
  for byte in data:
    crc ^= byte
    for _ in range(8):
      crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
  crc ^= 0xFFFFFFFF
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


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
  if json_file.is_json(text):
    return Kind("JSON", f"It is no list of samples. {ARRAYS}", b"")
  if re.match(rb"\[\s*'|\{\s*'", text):
    return Kind("the text of a list or dict of Python", ARRAYS, b"")
  if text[:1] == b"<":
    return Kind("XML or another text with tags", "It holds no arrays", b"")
  return None
