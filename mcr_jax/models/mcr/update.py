"""SUM, the source update module of MCR (Eq. 12) with its selective memory.

A modality m is source s and target t. With g_s = F(Z_s), F a feed-forward layer with
its skip, and Z_t the target that this layer has reinforced:

  mu = sigmoid(g_s W_s + Z_t W_t + b)                                      Eq. 13
  Z_s' = (1 - mu) tanh(Z_t) + mu g_s                                       Eq. 14

and for every target t with sources s1 and s2:

  phi = sigmoid([Z_s1', Z_s2'] W + b)                                      Eq. 15
  Z_ds' = phi tanh([Z_s1', Z_s2'])                                         Eq. 16

Deviation: the two biases of Eq. 13, which only occur as their sum, are one parameter.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.siblings import filled
from mcr_jax.layers.stream import Masks, concatenate
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep


class Update(nn.Module):
  """The next stream of one source modality, of at most `longest` steps.

  A modality that is no target has nothing to be supervised by: g_s alone.
  """

  settings: Settings
  longest: int

  @nn.compact
  def __call__(
    self,
    source: Float[Array, "B T D"],
    target: Float[Array, "B T D"] | None,
    mask: Bool[Array, "B T"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """Returns `Z_s'` of Z_s and the reinforced Z_t."""
    s, intermediates = self.settings, {}
    z = s.feed_forward()(source, train=train)
    if target is not None and s.source_update == "sum_no_smm":
      z = z + target
    elif target is not None and s.source_update == "sum":
      bias = self.param("bias", nn.initializers.zeros, (self.longest, s.width))
      gate = s.dense("source")(z) + s.dense("target")(target)
      gate = nn.sigmoid(gate + broadcast_left(bias[: z.shape[1]], gate))  # Eq. 13
      z = (1 - gate) * jnp.tanh(target) + gate * z  # Eq. 14
      intermediates["gate"] = keep(gate, mask)
    return keep(z, mask), intermediates


class Join(nn.Module):
  """The joined sources of one target, gated once more."""

  settings: Settings

  @nn.compact
  def __call__(
    self, sources: dict[str, Float[Array, "B _ D"]], masks: Masks, *, train: bool
  ) -> tuple[Float[Array, "B K D"], Intermediates]:
    """Returns `Z_ds'` of the updated sources of a target, in order."""
    del train  # nothing is dropped here
    s, biases = self.settings, []
    for m, z in sources.items():
      # One block a source: shorter input takes the first rows of each, and what is
      # padded beyond has zeros.
      shape = s.spec.lengths[m], s.width
      bias = self.param(f"bias_{m}", nn.initializers.zeros, shape)
      biases.append(filled(bias[: z.shape[1]], z.shape[1:]))
    joined, mask = concatenate(sources), concatenate({m: masks[m] for m in sources})
    gate = s.dense("gate")(joined)
    gate = nn.sigmoid(gate + broadcast_left(jnp.concatenate(biases), gate))  # Eq. 15
    z = gate * jnp.tanh(joined)  # Eq. 16
    return keep(z, mask), {"gate": keep(gate, mask)}
