"""The choices of a reinforcement layer, checked once."""

import dataclasses
import difflib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Integer

from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Rate

CHOICES = {
  "source_update": ("sum", "sum_no_smm", "ffl", "low_level"),
  "cmu": ("on", "off"),
  "scu": ("on", "off"),
  "mutual_attention": ("on", "off"),
  "attention_layer": ("on", "off"),
  "structure": ("parallel", "serial"),
  "scu_scoring": ("folded", "literal"),
  "cmu_exchange": ("auto", "mixed", "literal"),
  "pooling": ("mean", "last", "max"),
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """What the units of a layer need to know; the fields are those of `Model`.

  `lengths` are the longest sequences, to which parameters are tied by position.
  """

  modalities: tuple[str, ...]
  lengths: tuple[tuple[str, int], ...]
  targets: tuple[str, ...]
  width: int
  heads: int
  cmu_heads: int
  source_update: str
  cmu: str
  scu: str
  mutual_attention: str
  attention_layer: str
  structure: str
  scu_scoring: str
  cmu_exchange: str
  attention_dropout: Rate
  relu_dropout: Rate
  residual_dropout: Rate
  attention: str
  dtype: jnp.dtype | None

  def sources(self, target: str) -> tuple[str, ...]:
    """The modalities that reinforce a target, in order; its own where it is alone."""
    return tuple(m for m in self.modalities if m != target) or (target,)

  def read(self) -> tuple[str, ...]:
    """The modalities whose source stream some target reads."""
    return tuple(
      m for m in self.modalities if any(m in self.sources(t) for t in self.targets)
    )

  def positions(self, masks: Mapping[str, Array]) -> Integer[np.ndarray, "_"]:
    """Where the steps of joined streams stood if none were cut below its longest."""
    starts = np.cumsum([0, *(self.length(m) for m in masks)])
    steps = [mask.shape[1] for mask in masks.values()]
    parts = zip(starts[:-1], steps, strict=True)
    return np.concatenate([start + np.arange(count) for start, count in parts])

  def length(self, modality: str) -> int:
    """The longest sequence of a modality."""
    return dict(self.lengths)[modality]


def check(model) -> None:
  """Raises UserError for a field of `Model` that no variant has."""
  for field, known in CHOICES.items():
    value = getattr(model, field)
    if value not in known:
      near = difflib.get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
      raise UserError(
        f"model.{field}={value!r} is no variant; the nearest is {near!r}. "
        f"Known: {', '.join(known)}."
      )
  if unknown := [t for t in model.targets if t not in model.modalities]:
    raise UserError(
      f"model.targets names {unknown[0]!r}, which is not among the modalities "
      f"{', '.join(model.modalities)}."
    )
  if len(set(model.targets)) < len(model.targets):
    raise UserError(f"model.targets={model.targets!r} names a modality twice.")
  if model.cmu == model.scu == "off":
    raise UserError(
      "model.cmu and model.scu are both 'off': nothing would reinforce a target."
    )
  if model.num_layers < 1 or model.encoder_layers < 1:
    raise UserError(
      f"model.num_layers={model.num_layers} and model.encoder_layers="
      f"{model.encoder_layers} must be at least 1."
    )
