"""What the units of MCR hand on."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.layers.stream import Masks, concatenate
from mcr_jax.models.mcr.settings import Settings

# Scores that a layer may have more of, so that units are computed together: to read and
# write them takes as long as to begin the operations that it saves, some 300 a layer at
# 2 to 3 us, by the bandwidth of an H100 with five seeds. Not measured.
SCORES_FOR_LAUNCHES = 2**23


class Carry(NamedTuple):
  """What a layer refreshes, each (B, T, D) by modality.

  Attributes:
    targets: Z_t of every target.
    sources: Z_s of every modality that some target reads.
    joined: Z_ds of every target, its sources one after the other along time.
  """

  targets: dict[str, Float[Array, "B _ D"]]
  sources: dict[str, Float[Array, "B _ D"]]
  joined: dict[str, Float[Array, "B _ D"]]


def plain_join(sources: dict[str, Array], settings: Settings) -> dict[str, Array]:
  """`Z_ds = [Z_s1, Z_s2]` of every target."""
  own = lambda t: {s: sources[s] for s in settings.sources(t)}
  return {t: concatenate(own(t)) for t in settings.reinforced}


def common_steps(masks: Masks, settings: Settings) -> int | None:
  """The steps to pad all sequences to, so that units are computed together; or None."""
  steps = [mask.shape[1] for mask in masks.values()]
  longest, size = max(steps), next(iter(masks.values())).shape[0]
  # What is no target has an update of its own, which no other is like.
  alone = set(settings.reinforced) != set(masks)
  if settings.units == "apart" or alone or min(steps) == longest:
    return None
  if settings.units == "together":
    return longest
  more = (len(steps) * longest) ** 2 - sum(steps) ** 2
  cheap = size * settings.heads * more <= SCORES_FOR_LAUNCHES
  return longest if cheap and jax.default_backend() != "cpu" else None


def to_steps(x: dict[str, Array], steps: int) -> dict[str, Array]:
  """Sequences or masks by modality, padded to so many steps."""
  fill = lambda z: [(0, 0), (0, steps - z.shape[1]), *[(0, 0)] * (z.ndim - 2)]
  return {m: jnp.pad(z, fill(z)) for m, z in x.items()}
