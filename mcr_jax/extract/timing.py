"""When every word is said: as subtitles say, else by alignment, else spread evenly.

A known text is aligned with the sound by pocketsphinx, whose wheel has an English model
and dictionary. Cues with times are aligned one by one, so that an error stays in its
cue. A word that the dictionary lacks is spelled by its letters. Where no path is found,
the words of a cue share its time by their letters.
"""

import dataclasses
import functools
import importlib.util
import re

import numpy as np

from mcr_jax.extract.transcript import Cue

RATE = 16_000
FRAMES = 100  # a second
MARGIN = 0.15  # seconds of sound that a cue may be off
DITHER = 3e-4  # digital silence breaks the aligner
QUIET = 0.05  # of the loudest 10 ms of a word: below, nothing is said
PAUSE = 25  # frames of quiet that are no part of a word
PHONES = {
  **dict(a="AE", b="B", c="K", d="D", e="EH", f="F", g="G", h="HH", i="IH", j="JH"),
  **dict(k="K", l="L", m="M", n="N", o="AA", p="P", q="K", r="R", s="S", t="T"),
  **dict(u="AH", v="V", w="W", x="K S", y="IY", z="Z"),
}
DIGITS = (
  "zero",
  "one",
  "two",
  "three",
  "four",
  "five",
  "six",
  "seven",
  "eight",
  "nine",
)


@dataclasses.dataclass(frozen=True)
class Timed:
  """Words with their times.

  Attributes:
    words: of all cues.
    times: (words, 2) seconds.
    how: of every word, "subtitles", "aligned", "spread" or "outside".
  """

  words: tuple[str, ...]
  times: np.ndarray
  how: tuple[str, ...]


def times(cues: tuple[Cue, ...], samples: np.ndarray | None, seconds: float) -> Timed:
  """When the words of cues are said.

  Args:
    cues: in order.
    samples: (N,) at 16 kHz, or None where the clip has no sound.
    seconds: that the clip lasts.
  """
  words, found, how = [], [], []
  one_word = len(cues) > 1 and all(len(c.words) == 1 and c.timed for c in cues)
  heard = samples is not None and len(samples) and not one_word
  heard = heard and importlib.util.find_spec("pocketsphinx") is not None
  for cue in cues:
    if one_word:
      part, name = np.array([[cue.start, cue.end]]), "subtitles"
    else:
      span = (cue.start, min(cue.end, seconds)) if cue.timed else (0.0, seconds)
      part = _aligned(cue, samples, *span) if heard else None
      name = "spread" if part is None else "aligned"
      part = spread(cue.words, *span) if part is None else part
    if cue.timed and cue.start >= seconds:
      name = "outside"
    words += cue.words
    found.append(np.clip(part, 0, seconds))
    how += [name] * len(cue.words)
  together = np.concatenate(found) if found else np.zeros((0, 2))
  return Timed(tuple(words), together, tuple(how))


def spread(words: tuple[str, ...], start: float, end: float) -> np.ndarray:
  """(words, 2) seconds: a span shared by the letters of each word."""
  sizes = np.array([max(1, len(word)) for word in words], float)
  edges = start + (end - start) * np.concatenate([[0], np.cumsum(sizes)]) / sizes.sum()
  return np.stack([edges[:-1], edges[1:]], 1)


@functools.cache
def _decoder(beam: float):
  """A decoder, whose beams are those of pocketsphinx where `beam` is 0."""
  from pocketsphinx import Decoder

  beams = dict(beam=beam, wbeam=beam, pbeam=beam) if beam else {}
  return Decoder(lm=None, samprate=RATE, loglevel="FATAL", **beams)


def _aligned(cue: Cue, samples, start: float, end: float):
  """(words, 2) seconds, or None where no path through the sound was found."""
  spoken = [i for i, word in enumerate(cue.words) if _letters(word)]
  begin = max(0.0, start - MARGIN)
  part = samples[int(begin * RATE) : int((end + MARGIN) * RATE)]
  if not spoken or len(part) < RATE // 10:
    return None
  noise = np.random.default_rng(0).standard_normal(len(part)) * DITHER
  sound = np.clip((part + noise) * 32767, -32768, 32767).astype("<i2").tobytes()
  for beam in (0.0, 1e-150):
    found = _path(_decoder(beam), [cue.words[i] for i in spoken], sound)
    if found is not None:
      break
  else:
    return None
  found = _without_pauses(found, part) + begin
  # What nobody says, such as a dash, has no time of its own.
  whole = np.repeat(found[:1, :1], 2, 1).repeat(len(cue.words), 0)
  whole[spoken] = found
  for i in sorted(set(range(len(cue.words))) - set(spoken)):
    whole[i] = whole[i - 1, 1] if i else found[0, 0]
  return whole


def _path(decoder, words, sound):
  """(words, 2) seconds from the beginning of the sound, or None."""
  names = [_known(decoder, word) for word in words]
  decoder.set_align_text(" ".join(names))
  decoder.start_utt()
  decoder.process_raw(sound, full_utt=True)
  decoder.end_utt()
  segments = decoder.seg()
  if segments is None:
    return None
  spans = [
    (s.start_frame / FRAMES, (s.end_frame + 1) / FRAMES)
    for s in segments
    if not s.word.startswith(("<", "[", "("))
  ]
  return np.array(spans) if len(spans) == len(names) else None


def _known(decoder, word: str) -> str:
  """The word as the dictionary has it, which learns it where it must."""
  plain = _letters(word)
  if plain.isalpha() or "'" in plain:
    if decoder.lookup_word(plain) is not None:
      return plain
  name = f"{plain.replace(chr(39), '')}_spelled"
  if decoder.lookup_word(name) is None:
    phones = [
      decoder.lookup_word(DIGITS[int(c)]) if c.isdigit() else PHONES.get(c, "")
      for c in plain
    ]
    decoder.add_word(name, " ".join(filter(None, phones)), True)
  return name


def _letters(word: str) -> str:
  """What of a word is spoken: letters, digits, and apostrophes between them."""
  return re.sub(r"[^a-z0-9']", "", word.lower()).strip("'")


def _without_pauses(found: np.ndarray, part: np.ndarray) -> np.ndarray:
  """Words that begin where their sound does: an aligner gives them the pause before."""
  hop = RATE // FRAMES
  count = len(part) // hop
  loud = np.abs(part[: count * hop]).reshape(count, hop).max(1)
  found = found.copy()
  for row in found:
    first, last = int(row[0] * FRAMES), int(row[1] * FRAMES)
    inside = loud[first:last]
    if not inside.size or not inside.max() > 0:
      continue
    said = np.flatnonzero(inside > QUIET * inside.max())
    # What lies before a pause is the end of the word before.
    pauses = np.flatnonzero(np.diff(said, prepend=-1) > PAUSE)
    row[0] = (first + said[pauses[-1] if len(pauses) else 0]) / FRAMES
  return found
