"""What is said in a clip without transcript, recognised by whisper.

The sound is cut where it is quietest, into parts that whisper reads at once, and every
part becomes a cue; where in it each word is said, `timing` finds as for a transcript
that was given. What no voice is in is left out before (Silero's detector, which
faster-whisper has in its wheel). Nothing is drawn: the likeliest word follows.
"""

from pathlib import Path

import numpy as np

from mcr_jax.extract import whisper
from mcr_jax.extract.transcript import Cue

RATE = 16_000
LONGEST, SHORTEST = 28, 18  # seconds of a part, of a clip that is cut
HOP = RATE // 20


class Recogniser:
  """Words by the model of a folder."""

  def __init__(self, folder: Path):
    self._model = whisper.load(folder)

  def __call__(self, samples: np.ndarray) -> tuple[tuple[Cue, ...], str]:
    """The cues of samples (N,) at 16 kHz, and the language they are in, as "en"."""
    cues, language = [], None if self._model.model.is_multilingual else "en"
    for first, last in parts(samples):
      # Faster-whisper hears sound of a tenth of a second and more.
      if last - first < RATE // 10:
        continue
      found, info = self._model.transcribe(
        np.ascontiguousarray(samples[first:last]),
        language=language,
        beam_size=1,
        temperature=0.0,
        condition_on_previous_text=False,
        without_timestamps=True,
        vad_filter=True,
      )
      text = " ".join(piece.text for piece in found)
      if any(map(str.isalnum, text)):  # of a hum, a full stop may be heard
        words = tuple(text.split())
        language = info.language
        cues.append(Cue(words, first / RATE, last / RATE))
    return tuple(cues), language or "en"


def parts(samples: np.ndarray) -> list[tuple[int, int]]:
  """First and last sample of every part: cut in the quietest twentieth of a second."""
  found, first = [], 0
  while len(samples) - first > LONGEST * RATE:
    some = samples[first + SHORTEST * RATE : first + LONGEST * RATE].reshape(-1, HOP)
    quiet = int(np.square(some).mean(1).argmin())
    last = first + SHORTEST * RATE + quiet * HOP + HOP // 2
    found.append((first, last))
    first = last
  return [*found, (first, len(samples))]
