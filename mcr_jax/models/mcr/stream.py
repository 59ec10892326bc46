"""What the units of MCR hand on."""

from typing import NamedTuple

from jaxtyping import Array, Float

from mcr_jax.layers.stream import concatenate
from mcr_jax.models.mcr.settings import Settings


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
