"""One clip by one recipe: text, audio and vision with their times."""

import dataclasses
import functools
import os
from collections.abc import Callable

import numpy as np

from mcr_jax.errors import DamagedCheckpoint, UserError
from mcr_jax.extract import media, timing, transcript
from mcr_jax.extract.features import Features, by_words, nothing
from mcr_jax.extract.gather import Heard, Seen
from mcr_jax.extract.places import REMEDIES, Places, find
from mcr_jax.extract.recipe import Recipe
from mcr_jax.extract.transcript import Cue

TIMED = {
  "subtitles": "times of words from subtitles",
  "aligned": "words aligned with the sound",
  "spread": "words spread evenly, because the sound does not tell",
  "outside": "words whose subtitles begin after the end of the clip",
}
RECOGNISED = "words recognised by whisper"


@dataclasses.dataclass(frozen=True)
class Clip:
  """What a recipe takes from a clip.

  Attributes:
    features: by modality, of all that the recipe makes; without steps where the clip
      has nothing of it.
    notes: what a reader must know, such as a gap or how words were timed.
    seconds: that the clip lasts.
    text: what was said.
  """

  features: dict[str, Features]
  notes: tuple[str, ...]
  seconds: float
  text: str


class Extractor:
  """A recipe with the weights that it needs.

  Args:
    recipe: whose digests of weights may be empty; `recipe` then has them.
    places: folders of models of one's own.
    recognise: whether clips are to be heard of which nothing tells what is said.
  Raises:
    UserError: a package or weights are not there, or not those of the recipe.
    DamagedCheckpoint: weights cannot be read (when a clip first needs them).
  """

  def __init__(
    self, recipe: Recipe, places: Places | None = None, *, recognise: bool = False
  ):
    media.check_installed()
    self._found = find(recipe, places or Places(), recognise=recognise)
    digests = {}
    for name, found in self._found.items():
      wanted = getattr(recipe, f"{name}_weights")
      if wanted and wanted != found.digest:
        raise UserError(
          f"The recipe's {name} weights have the SHA-256 {wanted[:16]}..., those here, "
          f"in {found.folder}, {found.digest[:16]}...: features would differ."
        )
      digests[f"{name}_weights"] = found.digest
    self.recipe = dataclasses.replace(recipe, **digests)

  def __call__(
    self,
    path: str | os.PathLike,
    cues: tuple[Cue, ...] | None = None,
    *,
    start: float = 0.0,
    end: float = 0.0,
    watch: Callable[[media.Event], None] | None = None,
  ) -> Clip:
    """The features of a clip.

    Args:
      path: of the clip.
      cues: what is said in it, by the clip's own time; None where nobody says.
      start, end: seconds, of a part of the clip; times are then those of the part.
      watch: is shown every event while the clip is decoded; what it raises ends that.
    """
    recipe = self.recipe
    if recipe.text != "none" and cues is None and "asr" not in self._found:
      raise UserError(f"{path} has no transcript. {REMEDIES}")
    part = bool(start or end)
    if part and cues and any(c.timed for c in cues):
      cues = transcript.between(cues, start, end or np.inf)
    heard = Heard()
    seen = Seen(self.seer, recipe.vision_rate) if recipe.vision != "none" else None
    notes, info, seconds = [], None, 0.0
    for event in media.read(
      path,
      sound=recipe.audio != "none" or recipe.text != "none",
      rate=recipe.vision_rate if seen else 0.0,
      max_seconds=recipe.max_seconds,
      start=start,
      end=end,
    ):
      if watch:
        watch(event)
      match event:
        case media.Info():
          info = event
        case media.Sound():
          heard.take(event)
        case media.Frame():
          seen.take(event)
        case media.Gap():
          notes.append(event.text)
        case media.End():
          seconds = event.seconds or info.seconds
    samples = heard.samples if info.sound else None
    del heard  # which has them, too
    found, text = {}, ""
    if recipe.text != "none":
      timed, told = self._timed(cues, samples, seconds)
      notes += told
      found["text"] = self._words(timed)
      text = " ".join(timed.words)
    if recipe.audio != "none":
      found["audio"] = self._audio(samples, seconds)
      notes += ["no sound"] * (samples is None)
    if seen:
      found["vision"] = seen.features(seconds)
      notes += ["no picture"] * (not info.picture)
      if info.picture and not found["vision"].mask.any():
        notes.append("no picture of now" if recipe.vision == "hub" else "no face")
    if recipe.align == "words":
      found |= {
        m: by_words(x, found["text"].times) for m, x in found.items() if m != "text"
      }
    if not any(x.mask.any() for x in found.values()):
      wanted = ", ".join(recipe.modalities)
      raise UserError(f"{path} has nothing of {wanted}: {'; '.join(notes)}.")
    return Clip(found, tuple(notes), seconds, text)

  @functools.cached_property
  def seer(self):
    """What makes frames features."""
    folder, kind = self._found["vision"].folder, self.recipe.vision
    if kind == "hub":
      from mcr_jax.extract.learned import Pictures

      return _loaded(Pictures, folder)
    from mcr_jax.extract.measures import FaceSeer

    return _loaded(FaceSeer, folder, kind)

  @functools.cached_property
  def hearer(self):
    """What makes samples features, with `names`."""
    match self.recipe.audio:
      case "egemaps":
        from mcr_jax.extract.egemaps import Descriptors

        return Descriptors()
      case "whisper":
        from mcr_jax.extract.whisper import Encoder

        return _loaded(Encoder, self._found["audio"].folder)
      case "hub":
        from mcr_jax.extract.learned import Sound

        return _loaded(Sound, self._found["audio"].folder)
    from mcr_jax.extract.audio import Descriptors

    return Descriptors()

  @functools.cached_property
  def encoder(self):
    """What makes words vectors."""
    folder = self._found["text"].folder
    if self.recipe.text == "hub":
      from mcr_jax.extract.learned import Words

      return _loaded(Words, folder)
    from mcr_jax.extract import text

    return _loaded(text.load, folder)

  @functools.cached_property
  def recogniser(self):
    """What hears words."""
    from mcr_jax.extract.asr import Recogniser

    return _loaded(Recogniser, self._found["asr"].folder)

  def _timed(self, cues, samples, seconds) -> tuple[timing.Timed, list[str]]:
    """The words with their times, and how both were found."""
    notes, language = [], "en"
    if cues is None:
      cues, language = self.recogniser(samples) if samples is not None else ((), "en")
      notes = [RECOGNISED if language == "en" else f"{RECOGNISED}, in {language!r}"]
    # The aligner knows English.
    timed = timing.times(cues, samples if language == "en" else None, seconds)
    notes += [TIMED[x] for x in TIMED if x in timed.how] or ["nothing is said"]
    return timed, notes

  def _words(self, timed: timing.Timed) -> Features:
    words = np.array(timed.words, str)
    values = self.encoder.words(timed.words)
    return Features(values, timed.times, np.ones(len(words), bool), (), words)

  def _audio(self, samples, seconds) -> Features:
    if samples is None:
      return nothing(self.hearer.names)
    values, times = self.hearer(samples, self.recipe.audio_rate, seconds)
    return Features(values, times, np.ones(len(values), bool), self.hearer.names)


def _loaded(make, *arguments):
  """What a model makes; where it cannot be read, no clip is at fault."""
  try:
    return make(*arguments)
  except UserError as error:
    raise DamagedCheckpoint(str(error)) from None
