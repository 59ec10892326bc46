"""A clip and what is said in it, as the page sends them, to files of our own names.

The body is the length of a head in four bytes, big-endian, the head, and the clip:

  {"name": "a.mp4", "words": "typed" | null, "subtitles": "of a file" | null,
   "suffix": ".srt"}

Nothing parses the clip here, and no name of the browser's becomes one of a file.
"""

import asyncio
import dataclasses
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

from mcr_jax.errors import UserError
from mcr_jax.extract import transcript

LARGEST = 256 << 20  # bytes of a clip
MOST_WORDS = 20_000  # characters
MOST_HEAD = 4 << 20  # bytes
PATIENCE = 15.0  # seconds without a byte
WHOLE = 300.0  # seconds for all of it
NAME = 80  # characters that are shown


class TooLarge(UserError):
  """More bytes than are taken."""


class TooSlow(UserError):
  """A sender who does not send."""


@dataclasses.dataclass(frozen=True)
class Upload:
  """What was sent.

  Attributes:
    name: of the clip, to be shown.
    clip: its file.
    words: the file of what is said; None where nothing was sent.
  """

  name: str
  clip: Path
  words: Path | None


async def take(
  stream: AsyncIterator[bytes], place: Path, stated: int | None = None
) -> Upload:
  """Writes what comes into a folder.

  Args:
    stream: the body.
    place: an empty folder.
    stated: bytes that its sender says it has.

  Raises:
    TooLarge, TooSlow, UserError: it is not taken; what is in the folder is of no use.
  """
  most = LARGEST + MOST_HEAD + 4
  if stated is not None and stated > most:
    raise _too_large(stated)
  found, head, total = bytearray(), None, 0
  clip = place / "clip"
  end = asyncio.get_running_loop().time() + WHOLE
  with open(clip, "xb") as file:
    async for piece in _patiently(stream, end):
      total += len(piece)
      if total > most:
        raise _too_large(total)
      if head is None:
        found += piece
        head, piece = _head(found)
      file.write(piece)
    size = file.tell()
  if head is None:
    raise UserError("The page sent less than it said.")
  if size > LARGEST:
    raise _too_large(size)
  return Upload(shown(head["name"]), clip, _words(head, place))


async def _patiently(stream, end: float) -> AsyncIterator[bytes]:
  loop, pieces = asyncio.get_running_loop(), aiter(stream)
  while True:
    left = min(PATIENCE, end - loop.time())
    try:
      async with asyncio.timeout(max(left, 0)):
        piece = await anext(pieces)
    except StopAsyncIteration:
      return
    except TimeoutError:
      raise TooSlow("The clip does not arrive: the browser has stopped.") from None
    yield piece


def _head(found: bytearray) -> tuple[dict | None, bytes]:
  """The head and what of the clip is behind it, once it is whole."""
  if len(found) < 4:
    return None, b""
  size = int.from_bytes(found[:4], "big")
  if size > MOST_HEAD:
    raise TooLarge(f"What is said has {size:,} bytes; the most is {MOST_HEAD:,}.")
  if len(found) < 4 + size:
    return None, b""
  try:
    head = json.loads(found[4 : 4 + size])
    kinds = {"name": str, "words": str | None, "subtitles": str | None, "suffix": str}
    right = set(head) == set(kinds) and all(
      isinstance(head[k], kinds[k]) for k in kinds
    )
  except (ValueError, TypeError, RecursionError):
    right = False
  if not right:
    raise UserError("The page sent what is no request; load it again.")
  return head, bytes(found[4 + size :])


def _words(head: dict, place: Path) -> Path | None:
  text, suffix = head["words"], ".txt"
  if head["subtitles"] is not None:
    text, suffix = head["subtitles"], head["suffix"].lower()
    if suffix not in transcript.SUFFIXES:
      raise UserError(
        f"A file of what is said is one of {', '.join(transcript.SUFFIXES)}, not "
        f"{shown(suffix)!r}."
      )
  elif text is not None and len(text) > MOST_WORDS:
    raise TooLarge(
      f"What is said has {len(text):,} characters; the most is {MOST_WORDS:,}."
    )
  if text is None:
    return None
  file = place / f"words{suffix}"
  # A lone surrogate is no text; what cannot be read is shown as such.
  file.write_text(text, "utf-8", errors="replace")
  return file


def shown(name: str) -> str:
  """The last part of a path, of letters that print, and not too many."""
  last = re.split(r"[/\\]", name)[-1]
  printed = "".join(
    c for c in last if c.isprintable() and not "\u200b" <= c <= "\u206f"
  )
  printed = printed.strip() or "clip"
  return printed if len(printed) <= NAME else f"{printed[: NAME - 1]}…"


def _too_large(size: int) -> TooLarge:
  return TooLarge(f"The clip has {size:,} bytes; the most is {LARGEST:,}.")
