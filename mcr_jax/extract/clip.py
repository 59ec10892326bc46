"""One clip by one recipe: text, audio and vision with their times."""

import dataclasses
import functools
import os
from pathlib import Path

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.extract import audio, media, timing, transcript, weights
from mcr_jax.extract.recipe import Recipe
from mcr_jax.extract.transcript import Cue

TIMED = {
  "subtitles": "times of words from subtitles",
  "aligned": "words aligned with the sound",
  "spread": "words spread evenly, because the sound does not tell",
  "outside": "words whose subtitles begin after the end of the clip",
}
STALE = 1.0  # seconds after which a frame says nothing of now


@dataclasses.dataclass(frozen=True)
class Features:
  """The steps of one modality.

  Attributes:
    values: (T, D) float32.
    times: (T, 2) seconds.
    mask: (T,) False where there is nothing, such as no face.
    names: of the D features, or ().
    words: (T,) of text, else None.
  """

  values: np.ndarray
  times: np.ndarray
  mask: np.ndarray
  names: tuple[str, ...] = ()
  words: np.ndarray | None = None


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
    text_model: folder of a language model, for the text "bert".
  Raises:
    UserError: a package or weights are not there.
  """

  def __init__(self, recipe: Recipe, text_model: str | os.PathLike = ""):
    media.check_installed()
    own = {"text_weights": "", "vision_weights": ""}
    if recipe.text == "minilm":
      weights.folder("minilm")
      own["text_weights"] = weights.label("minilm")
    if recipe.text == "bert":
      if not text_model:
        raise UserError(
          "Text by a model of one's own needs its folder: --text-model DIR, with "
          "config.json, model.safetensors and tokenizer.json."
        )
      own["text_weights"] = weights.label_of(Path(text_model).expanduser())
    if recipe.vision != "none":
      weights.folder("face")
      own["vision_weights"] = weights.label("face")
    for name, found in own.items():
      wanted = getattr(recipe, name)
      if wanted and wanted != found:
        raise UserError(
          f"The recipe's {name.replace('_', ' ')} have the SHA-256 {wanted[:16]}..., "
          f"those here {found[:16]}...: features would differ."
        )
    self.recipe = dataclasses.replace(recipe, **own)
    self._text_model = text_model

  def __call__(
    self,
    path: str | os.PathLike,
    cues: tuple[Cue, ...] | None = None,
    *,
    start: float = 0.0,
    end: float = 0.0,
  ) -> Clip:
    """The features of a clip.

    Args:
      path: of the clip.
      cues: what is said in it, by the clip's own time; None where nobody says.
      start, end: seconds, of a part of the clip; times are then those of the part.
    """
    recipe = self.recipe
    if recipe.text != "none" and cues is None:
      raise UserError(
        f"{path} has no transcript: give --transcript FILE, a column 'text' or "
        "'subtitles' in the table, or leave words out by --text none."
      )
    part = bool(start or end)
    if part and cues and any(c.timed for c in cues):
      cues = transcript.between(cues, start, end or np.inf)
    heard = _Heard()
    seen = _Seen(self.finder, recipe) if recipe.vision != "none" else None
    notes, info, seconds = [], None, 0.0
    for event in media.read(
      path,
      sound=recipe.audio != "none" or recipe.text != "none",
      rate=recipe.vision_rate if seen else 0.0,
      max_seconds=recipe.max_seconds,
      start=start,
      end=end,
    ):
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
    found, text = {}, ""
    if recipe.text != "none":
      timed = timing.times(cues, samples, seconds)
      notes += [TIMED[x] for x in TIMED if x in timed.how] or ["nothing is said"]
      found["text"] = self._words(timed)
      text = " ".join(timed.words)
    if recipe.audio != "none":
      found["audio"] = self._audio(samples, seconds)
      notes += ["no sound"] * (samples is None)
    if seen:
      found["vision"] = seen.features(seconds)
      notes += ["no picture"] * (not info.picture)
      if info.picture and not found["vision"].mask.any():
        notes.append("no face")
    if recipe.align == "words":
      found |= {
        m: _by_words(x, found["text"].times) for m, x in found.items() if m != "text"
      }
    if not any(x.mask.any() for x in found.values()):
      wanted = ", ".join(recipe.modalities)
      raise UserError(f"{path} has nothing of {wanted}: {'; '.join(notes)}.")
    return Clip(found, tuple(notes), seconds, text)

  @functools.cached_property
  def finder(self):
    """What finds faces."""
    from mcr_jax.extract.face import Finder

    return Finder(weights.folder("face"))

  @functools.cached_property
  def encoder(self):
    """What makes words vectors."""
    from mcr_jax.extract import text

    minilm = self.recipe.text == "minilm"
    return text.load(weights.folder("minilm") if minilm else self._text_model)

  def _words(self, timed: timing.Timed) -> Features:
    words = np.array(timed.words, str)
    values = self.encoder.words(timed.words)
    return Features(values, timed.times, np.ones(len(words), bool), (), words)

  def _audio(self, samples, seconds) -> Features:
    if samples is None:
      return _nothing(audio.NAMES)
    values, times = audio.descriptors(samples, self.recipe.audio_rate, seconds)
    return Features(values, times, np.ones(len(values), bool), audio.NAMES)


class _Heard:
  """Samples at their places, silence between."""

  def __init__(self):
    self._parts, self._end = [], 0

  def take(self, sound: media.Sound) -> None:
    if (gap := sound.place - self._end) > 0:
      self._parts.append(np.zeros(gap, np.float32))
    # What comes twice is heard once.
    fresh = sound.samples[max(0, -gap) :]
    self._parts.append(fresh)
    self._end += max(gap, 0) + len(fresh)

  @property
  def samples(self) -> np.ndarray:
    return np.concatenate([*self._parts, np.zeros(0, np.float32)])


class _Seen:
  """Faces of frames, found a batch at a time, so that no clip is held whole."""

  def __init__(self, finder, recipe: Recipe):
    from mcr_jax.extract import face

    self._finder, self._recipe, self._batch = finder, recipe, face.BATCH
    self._waiting, self._found, self._steps, self._sizes = [], [], [], []

  def take(self, frame: media.Frame) -> None:
    self._steps.append((frame.step, frame.age <= STALE))
    self._sizes.append(frame.pixels.shape[:2])
    self._waiting.append(frame.pixels)
    if len(self._waiting) == self._batch:
      self._look()

  def _look(self) -> None:
    if self._waiting:
      self._found.append(self._finder(self._waiting))
      self._waiting = []

  def features(self, seconds: float) -> Features:
    from mcr_jax.extract import measures
    from mcr_jax.extract.face import Faces

    self._look()
    of_face = self._recipe.vision == "face"
    names = measures.FACE_NAMES if of_face else measures.MESH_NAMES
    if not self._found:
      return _nothing(names)
    faces = Faces(*map(np.concatenate, zip(*self._found, strict=True)))
    fresh = np.array([x for _, x in self._steps])
    faces = faces._replace(present=faces.present & fresh)
    if of_face:
      sizes = np.array(self._sizes, float)
      values = measures.face(faces, sizes, self._recipe.vision_rate)
    else:
      values = measures.mesh(faces)
    times = audio.steps(self._recipe.vision_rate, seconds)
    place = np.array([x for x, _ in self._steps])
    inside = place < len(times)
    whole = np.zeros((len(times), values.shape[1]), np.float32)
    mask = np.zeros(len(times), bool)
    whole[place[inside]] = values[inside]
    mask[place[inside]] = faces.present[inside]
    return Features(whole, times, mask, names)


def _nothing(names) -> Features:
  values = np.zeros((0, len(names)), np.float32)
  return Features(values, np.zeros((0, 2)), np.zeros(0, bool), names)


def _by_words(x: Features, spans: np.ndarray) -> Features:
  """The mean of the steps that each word overlaps; a hole where there is none."""
  values = np.zeros((len(spans), x.values.shape[1]), np.float32)
  mask = np.zeros(len(spans), bool)
  for i, (start, end) in enumerate(spans):
    over = (x.times[:, 0] < max(end, start + 1e-3)) & (x.times[:, 1] > start) & x.mask
    if over.any():
      values[i], mask[i] = x.values[over].mean(0), True
  return dataclasses.replace(x, values=values, times=spans, mask=mask)
