"""A clip as samples and frames, decoded by a process that can do nothing else.

`decoder` is that process; here is the side that starts it and believes it nothing.
"""

import dataclasses
import importlib.util
import json
import math
import os
import signal
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcr_jax.errors import UserError

SAMPLE_RATE = 16_000
MEMORY = 2 << 30
LONGEST_MESSAGE = 64 << 20
SIDE = 480  # pixels of a frame, at most
# A second of 4K takes about one.
CPU_SECONDS, CPU_A_SECOND = 60, 4
INSTALL = 'pip install "mcr_jax[extract]"'

# How containers begin: offset and bytes.
MARKS = (
  (4, b"ftyp"),
  (0, b"\x1aE\xdf\xa3"),
  (8, b"WAVE"),
  (8, b"AVI "),
  (0, b"ID3"),
  (0, b"fLaC"),
  (0, b"OggS"),
  (0, b"FLV\x01"),
  (0, b"#!AMR"),
  (0, b"\x00\x00\x01\xba"),
  *((0, bytes((0xFF, second))) for second in (0xFB, 0xF3, 0xF2, 0xFA, 0xF1, 0xF9)),
)


# What an old QuickTime film may begin with, behind its size.
ATOMS = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")


def is_clip(path: str | os.PathLike) -> bool:
  """Whether a file begins as a container of sound or pictures does."""
  if not os.path.isfile(path):  # a pipe's bytes are for who reads it
    return False
  try:
    with open(path, "rb") as file:
      head = file.read(512)
  except OSError:
    return False
  stream = len(head) > 376 and head[0] == head[188] == head[376] == 0x47  # MPEG-TS
  # No text has a zero in it; a file of its size has one in the first byte.
  film = head[4:8] in ATOMS and 0 in head[:4]
  return stream or film or any(head[at:].startswith(mark) for at, mark in MARKS)


@dataclasses.dataclass(frozen=True)
class Info:
  """What a clip says of itself.

  Attributes:
    format: FFmpeg's name of the container.
    seconds: what it says that it lasts, 0 if nothing.
    sound, picture: whether it has these.
  """

  format: str
  seconds: float
  sound: bool
  picture: bool


@dataclasses.dataclass(frozen=True)
class Sound:
  """Samples (N,) float32 at `SAMPLE_RATE`, from the `place`-th of the clip."""

  place: int
  samples: np.ndarray


@dataclasses.dataclass(frozen=True)
class Frame:
  """What is shown in the middle of the `step`-th step.

  Attributes:
    step: from 0, of the rate that was asked for.
    age: seconds since it is shown.
    pixels: (height, width, 3) uint8, red, green and blue.
  """

  step: int
  age: float
  pixels: np.ndarray


@dataclasses.dataclass(frozen=True)
class Gap:
  """Where nothing was decoded, in words."""

  text: str


@dataclasses.dataclass(frozen=True)
class End:
  """Seconds of what was decoded, of sound and picture the longer."""

  seconds: float


Event = Info | Sound | Frame | Gap | End


def check_installed() -> None:
  """Raises UserError where clips cannot be read for want of a package."""
  if importlib.util.find_spec("av") is None:
    raise UserError(f"Reading clips needs av: {INSTALL}.")


def read(
  path: str | os.PathLike,
  *,
  sound: bool = True,
  rate: float = 0.0,
  max_seconds: float = 600.0,
  start: float = 0.0,
  end: float = 0.0,
) -> Iterator[Event]:
  """What is in a clip, from its `Info` to its `End`.

  Args:
    path: of a regular file.
    sound: whether its sound is wanted.
    rate: of the frames that are wanted, a second; 0 is none.
    max_seconds: the longest clip that is read.
    start, end: seconds, of a part of it; an `end` of 0 is that of the clip.
  Raises:
    UserError: it is no clip, is damaged, or is too long or large.
  """
  check_installed()
  settings = {
    "sound": sound,
    "rate": rate,
    "max_seconds": max_seconds,
    "start": start,
    "end": end,
    "bytes": MEMORY,
    "cpu_seconds": int(CPU_SECONDS + CPU_A_SECOND * max_seconds),
  }
  with _open(path) as clip:
    process = subprocess.Popen(
      [sys.executable, "-P", _decoder(), json.dumps(settings)],
      stdin=clip,
      stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL,
      env=_environment(),
    )
  try:
    yield from _events(Path(path), process.stdout, rate, max_seconds)
  except EOFError:
    raise UserError(f"{path}: {_death(process.wait())}") from None
  finally:
    process.kill()
    process.stdout.close()
    process.wait()


def _open(path):
  try:
    # A pipe into which nobody writes is not waited for.
    clip = open(path, "rb", opener=lambda x, how: os.open(x, how | os.O_NONBLOCK))
  except FileNotFoundError:
    raise UserError(f"{path}: there is no such file.") from None
  except IsADirectoryError:
    raise UserError(f"{path} is a folder, not a clip.") from None
  status = os.fstat(clip.fileno())
  if not stat.S_ISREG(status.st_mode):
    clip.close()
    raise UserError(f"{path} is a device or a pipe; a clip is a file.")
  if status.st_size == 0:
    clip.close()
    raise UserError(f"{path} is empty; it is no clip.")
  return clip


def _decoder() -> str:
  return str(Path(__file__).with_name("decoder.py"))


def _environment() -> dict[str, str]:
  """Of the child: what Python needs to find its libraries."""
  needed = ("PATH", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")
  threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"), "1")
  return {k: os.environ[k] for k in needed if k in os.environ} | threads


def _events(path: Path, pipe, rate: float, most: float) -> Iterator[Event]:
  last = -1
  while True:
    kind, size = struct.unpack("<cI", _exactly(pipe, 5))
    if size > LONGEST_MESSAGE:
      raise UserError(f"{path}: the decoder answers with {size:,} bytes at once.")
    data = _exactly(pipe, size)
    if kind == b"X":
      text = "".join(filter(str.isprintable, data.decode("utf-8", "replace")))
      raise UserError(f"{path} is no clip that can be read: {text}.")
    try:
      event = _event(kind, data)
      _check(event, rate, most + 2)
      if isinstance(event, Frame):
        if event.step <= last:
          raise ValueError("a step that was before")
        last = event.step
    except (ValueError, KeyError, TypeError, struct.error) as error:
      raise UserError(
        f"{path}: the decoder answers with what is no answer ({error}); the clip is "
        "damaged, or hostile."
      ) from None
    yield event
    if isinstance(event, End):
      return


def _event(kind: bytes, data: bytes) -> Event:
  if kind == b"A":
    samples = np.frombuffer(data, "<f4", offset=8)
    return Sound(struct.unpack_from("<q", data)[0], samples)
  if kind == b"V":
    step, age, height, width = struct.unpack_from("<qdHH", data)
    pixels = np.frombuffer(data, np.uint8, offset=20).reshape(height, width, 3)
    return Frame(step, age, pixels)
  values = json.loads(data)
  if kind == b"I":
    sound, picture = bool(values["sound"]), values["picture"] is not None
    return Info(str(values["format"]), float(values["seconds"]), sound, picture)
  if kind == b"G":
    what = values["kind"]
    if "packets" in values:
      return Gap(f"{values['packets']} damaged packets of the {what} were left out")
    a, b = float(values["start"]), float(values["end"])
    return Gap(f"no {what} between {a:.2f} and {b:.2f} s")
  return End(float(values["seconds"]))


def _check(event: Event, rate: float, most: float) -> None:
  """Raises ValueError where an answer cannot be of a clip of `most` seconds."""
  match event:
    case Sound(place, samples):
      right = 0 <= place and place + len(samples) <= most * SAMPLE_RATE
      right = right and bool(np.isfinite(samples).all())
    case Frame(step, age, pixels):
      right = 0 <= step <= most * rate and 0 <= age < math.inf
      right = right and 0 < min(pixels.shape) and max(pixels.shape) <= SIDE
    case Info():
      right = 0 <= event.seconds < math.inf
    case End(seconds):
      right = 0 <= seconds <= most
    case _:
      right = True
  if not right:
    raise ValueError(f"{type(event).__name__} of no such clip")


def _exactly(pipe, size: int) -> bytes:
  data = pipe.read(size)
  if len(data) < size:
    raise EOFError
  return data


def _death(code: int) -> str:
  """Why a decoder ended before it was done."""
  if code == -signal.SIGXCPU:
    return "decoding it takes more time than a clip may."
  if code < 0:
    name = signal.Signals(-code).name
    return f"the decoder was ended by {name}; the clip is damaged, or hostile."
  return f"the decoder ended with status {code}; it needs more than a clip may."
