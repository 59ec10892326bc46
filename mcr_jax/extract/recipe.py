"""What is taken from a clip, and how: kept in the file that it makes, and in its runs.

A recipe holds no path. Weights are named by their digest, so that a recipe that came
with somebody's model leads to no file of this machine.
"""

import dataclasses
import hashlib
import json
from typing import Any

from mcr_jax.errors import UserError
from mcr_jax.field import domain, field

VERSION = 1
MODALITIES = ("text", "audio", "vision")
LATER = ("audio_weights", "asr_weights")  # absent where they are ""


@dataclasses.dataclass(frozen=True)
class Recipe:
  """How features are made.

  Attributes:
    text_weights, audio_weights, vision_weights: digest of the files of the modality's
      model; "" without one.
    asr_weights: digest of what heard the words of clips without transcript; "" where
      all were told.
  """

  text: str = field(
    "minilm",
    choices=("minilm", "bert", "hub", "none"),
    doc="Vectors of words: MiniLM, a BERT in a folder, BERT or RoBERTa by "
    "transformers, or none.",
  )
  audio: str = field(
    "lld",
    choices=("lld", "egemaps", "whisper", "hub", "none"),
    doc="Low-level descriptors (loudness, spectrum, pitch, voicing), eGeMAPS by "
    "openSMILE, whisper's encoder, wav2vec2 or HuBERT by transformers, or none.",
  )
  audio_rate: float = field(20.0, above=0, high=100, doc="Steps a second of audio.")
  vision: str = field(
    "face",
    choices=("face", "mesh", "hub", "none"),
    doc="Named measures of the face, its whole mesh, CLIP by transformers, or none.",
  )
  vision_rate: float = field(10.0, above=0, high=60, doc="Steps a second of vision.")
  align: str = field(
    "none",
    choices=("none", "words"),
    doc="words: audio and vision as their means over every word.",
  )
  max_seconds: float = field(
    600.0, above=0, high=86_400, doc="The longest clip that is read."
  )
  text_weights: str = ""
  vision_weights: str = ""
  audio_weights: str = ""
  asr_weights: str = ""

  def __post_init__(self):
    for f in dataclasses.fields(self):
      domain(f).check(f"recipe.{f.name}", getattr(self, f.name))
    if not self.modalities:
      raise UserError("Text, audio and vision are all none: nothing would be taken.")
    if self.align == "words" and self.text == "none":
      raise UserError("align='words' needs words, and text is none.")

  @property
  def modalities(self) -> tuple[str, ...]:
    """What the recipe makes."""
    return tuple(m for m in MODALITIES if getattr(self, m) != "none")

  def to_json(self) -> str:
    """One line, which `from_json` takes."""
    values = dataclasses.asdict(self)
    # What was made before these were known stays what it is.
    values = {k: v for k, v in values.items() if v or k not in LATER}
    return json.dumps({"version": VERSION} | values)

  @property
  def digest(self) -> str:
    """SHA-256 of the recipe: equal for equal recipes."""
    return hashlib.sha256(self.to_json().encode()).hexdigest()


def from_json(text: str, source: str) -> Recipe:
  """The recipe that `to_json` wrote.

  Args:
    text: JSON.
    source: where it stands, for messages.
  """
  try:
    values = json.loads(text)
  except (ValueError, RecursionError) as error:
    raise UserError(f"{source}: the recipe is no JSON ({error}).") from None
  if not isinstance(values, dict) or "version" not in values:
    raise UserError(
      f"{source} was not made by mcr_jax.extract, so that no clip can be made into "
      f"what it has: its 'extract' is {text[:80]!r}."
    )
  if (version := values.pop("version")) != VERSION:
    raise UserError(f"{source}: a recipe of version {version!r}; known is {VERSION}.")
  known = {f.name: f for f in dataclasses.fields(Recipe)}
  if wrong := sorted(set(values) - set(known) | set(known) - set(values) - {*LATER}):
    raise UserError(f"{source}: a recipe with {', '.join(wrong)} unknown or missing.")
  for name, value in values.items():
    kind = type(known[name].default)
    if type(value) is not kind and (type(value), kind) != (int, float):
      raise UserError(f"{source}: recipe.{name}={value!r} must be {kind.__name__}.")
    try:
      values[name] = kind(value)
    except OverflowError:
      raise UserError(f"{source}: recipe.{name} has too many digits.") from None
  return Recipe(**values)


def difference(one: Recipe, other: Recipe) -> list[str]:
  """`audio_rate: 20.0 -> 10.0` for every field that differs."""
  a, b = dataclasses.asdict(one), dataclasses.asdict(other)
  short = lambda x: x[:12] if isinstance(x, str) else repr(x)
  return [f"{k}: {short(a[k])} -> {short(b[k])}" for k in a if a[k] != b[k]]


def fields() -> list[tuple[str, dataclasses.Field, Any]]:
  """What a user chooses: name, field and domain of each."""
  return [
    (f.name, f, domain(f))
    for f in dataclasses.fields(Recipe)
    if not f.name.endswith("_weights")
  ]
