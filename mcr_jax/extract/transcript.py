"""What was said: plain text, or subtitles with the times of their cues."""

import dataclasses
import importlib.util
import math
import os
import re
from pathlib import Path

from mcr_jax.errors import UserError

LARGEST = 8 << 20
LONGEST = (
  5_000  # characters of a subtitle: parsers look for ends of tags in all of them
)
SUBTITLES = (".srt", ".vtt", ".ass", ".ssa")
SUFFIXES = (".txt", *SUBTITLES)


@dataclasses.dataclass(frozen=True)
class Cue:
  """Words that are said together.

  Attributes:
    words: as they are written.
    start, end: seconds, NaN where unknown.
  """

  words: tuple[str, ...]
  start: float = math.nan
  end: float = math.nan

  @property
  def timed(self) -> bool:
    """Whether it is known when they are said."""
    return not math.isnan(self.start)


def of_text(text: str) -> tuple[Cue, ...]:
  """Plain text as one cue without times, or none if there is no word."""
  words = tuple(text.split())
  return (Cue(words),) if words else ()


def read(path: str | os.PathLike) -> tuple[Cue, ...]:
  """The cues of a file, in the order of their times.

  Args:
    path: of plain text (.txt), or of subtitles (.srt, .vtt, .ass).
  """
  path = Path(path)
  if path.suffix.lower() not in SUFFIXES:
    raise UserError(f"{path}: a transcript is one of {', '.join(SUFFIXES)}.")
  text = _text(path)
  if path.suffix.lower() == ".txt":
    return of_text(text)
  if importlib.util.find_spec("pysubs2") is None:
    raise UserError(f'Subtitles need pysubs2: pip install "mcr_jax[extract]" ({path}).')
  import pysubs2

  form = "ass" if path.suffix.lower() in (".ass", ".ssa") else path.suffix[1:].lower()
  parts = text.splitlines() if form == "ass" else text.split("-->")
  if (longest := max(map(len, parts), default=0)) > LONGEST:
    raise UserError(
      f"{path} has a subtitle of {longest:,} characters; the most is {LONGEST:,}."
    )
  try:
    subtitles = pysubs2.SSAFile.from_string(text, format_=form)
  except Exception as error:  # its parsers raise whatever a line makes them raise
    raise UserError(f"{path} cannot be read as subtitles: {error}.") from None
  cues = []
  for event in subtitles:
    words = tuple(re.sub(r"<[^<>]*>", " ", event.plaintext).split())
    if event.is_comment or not words:
      continue
    if not 0 <= event.start <= event.end:
      at = f"{event.start / 1000:g} to {event.end / 1000:g} s"
      raise UserError(f"{path}: {' '.join(words)[:60]!r} is said from {at}.")
    cues.append(Cue(words, event.start / 1000, event.end / 1000))
  if not cues and text.strip() not in ("", "WEBVTT"):
    raise UserError(f"{path} holds no subtitle, though it is not empty.")
  return tuple(sorted(cues, key=lambda cue: cue.start))


def beside(clip: Path) -> tuple[Cue, ...] | None:
  """The transcript that lies beside a clip under its name."""
  for suffix in reversed(SUFFIXES):
    if (file := clip.with_suffix(suffix)).is_file():
      return read(file)
  return None


def between(cues: tuple[Cue, ...], start: float, end: float) -> tuple[Cue, ...]:
  """The cues whose middle lies in a part of a clip, by the part's own time."""
  found = []
  for cue in cues:
    if not cue.timed:
      raise UserError(
        "A part of a clip has a start and an end; the words said in it are known by "
        "subtitles with times, or by a text of its own."
      )
    if start <= (cue.start + cue.end) / 2 < end:
      a, b = max(cue.start, start) - start, min(cue.end, end) - start
      found.append(Cue(cue.words, a, b))
  return tuple(found)


def _text(path: Path) -> str:
  try:
    with open(path, "rb") as file:
      data = file.read(LARGEST + 1)
  except FileNotFoundError:
    raise UserError(f"{path}: there is no such file.") from None
  if len(data) > LARGEST:
    raise UserError(f"{path}: a transcript of more than {LARGEST:,} bytes.")
  if data.startswith((b"\xff\xfe", b"\xfe\xff")):
    code, name = "utf-16", "UTF-16"
  else:
    code, name = "utf-8-sig", "UTF-8"
  try:
    return data.decode(code)
  except UnicodeDecodeError as error:
    raise UserError(
      f"{path} is not {name}: byte {data[error.start]:#04x} at {error.start}. Save it "
      "as UTF-8."
    ) from None
