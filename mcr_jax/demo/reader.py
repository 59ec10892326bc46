"""A run with what makes clips into its features."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError
from mcr_jax.extract import collect, media, transcript, whisper
from mcr_jax.extract import recipe as recipes
from mcr_jax.extract.clip import Extractor
from mcr_jax.extract.places import Places
from mcr_jax.runs.run import load_run

Tell = Callable[[str, float | None], None]


class Reader:
  """A run with what makes clips into its features.

  Args:
    workdir: of the run, or its file.
    checkpoint: `best` or `last`.
    own: fields of `Places`: folders of models of one's own, and what hears words.
    seconds: the longest clip.

  Raises:
    UserError: there is no run, or it was not trained on features of clips.
  """

  def __init__(
    self, workdir: str, checkpoint: str, own: dict[str, str], seconds: float
  ):
    self.run = load_run(workdir, checkpoint=checkpoint)
    if self.run.extract is None:
      widths = ", ".join(f"{m} of {x}" for m, x in self.run.spec.widths.items())
      raise UserError(
        f"{workdir} was trained on features ({widths}) of an unknown making, which no "
        "clip can be made into. Train on a file of mcr_jax.extract."
      )
    self._recipe = recipes.from_json(json.dumps(self.run.extract), str(workdir))
    self._places = Places(**own)
    self._seconds = min(seconds, self._recipe.max_seconds)
    self._made: dict[bool, Extractor] = {}
    # What is missing for most clips is told before there is one.
    self._extractor(recognise=False)

  @property
  def _recognises(self) -> bool:
    return self._places.asr != "off" and whisper.installed()

  def _extractor(self, *, recognise: bool) -> Extractor:
    """It is made once: to read and check the weights takes longer than a clip."""
    if recognise not in self._made:
      made = Extractor(self._recipe, self._places, recognise=recognise)
      self._made[recognise] = made
    return self._made[recognise]

  @property
  def facts(self) -> dict[str, Any]:
    """What the empty page says of the run."""
    run = self.run
    return {
      "label": str(run.workdir),
      "model": str(run.config.model.name),
      "modalities": list(run.spec.modalities),
      "words": "text" in self._recipe.modalities,
      "recognised": self._recognises,
      "seeds": len(run.seeds),
      "seconds": self._seconds,
    }

  def read(self, clip: Path, words: Path | None, name: str, tell: Tell) -> Dataset:
    """The features of a clip.

    Args:
      clip: its file.
      words: the file of what is said, or None.
      name: of the clip, for people.
      tell: is told how far it is.
    """
    cues = transcript.read(words) if words else None
    seconds = 0.0

    def watch(event: media.Event) -> None:
      nonlocal seconds
      match event:
        case media.Info():
          seconds = event.seconds
          now = event.seconds
        case media.Sound(place, samples):
          now = (place + len(samples)) / media.SAMPLE_RATE
        case media.Frame(step):
          now = step / self._recipe.vision_rate
        case media.End():
          now = event.seconds
          tell("Timing the words, measuring sound and face", None)
        case _:
          return
      if now > self._seconds + 1:
        raise UserError(
          f"{clip} lasts {max(now, seconds):.0f} s; here the most is "
          f"{self._seconds:g} s (--seconds)."
        )
      if isinstance(event, media.Frame | media.Sound):
        tell("Decoding", min(1.0, now / seconds) if seconds else None)

    spoken = "text" in self._recipe.modalities
    if cues is None and spoken and not self._recognises:
      raise UserError(
        "This run reads what is said: type it, choose a file of subtitles, or tick "
        f"that nothing is said. To have it recognised: {whisper.INSTALL}."
      )
    tell("Decoding", 0.0)
    extractor = self._extractor(recognise=cues is None and spoken)
    made = collect.of_one(clip, cues, self._recipe, extractor, watch)
    return dataclasses.replace(
      made,
      source=name,
      ids=np.array([name]),
      notes=tuple(note.removeprefix(f"{clip.name}: ") for note in made.notes),
    )
