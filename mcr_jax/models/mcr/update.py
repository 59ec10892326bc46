"""SUM, the source update module with its selective memory (Eqs. 12-16 of MCR).

Deviation: the two biases of Eq. 13, which only occur as their sum, are one parameter.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.transformer import FeedForward
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep


class Update(nn.Module):
  """The next stream of one source modality (Eqs. 13-14).

  A modality that is no target has nothing to be supervised by: F(Z_s) alone.
  """

  modality: str
  settings: Settings

  @nn.compact
  def __call__(
    self,
    source: Float[Array, "B T D"],
    target: Float[Array, "B T D"] | None,
    mask: Bool[Array, "B T"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    s, out = self.settings, {}
    feed = FeedForward(
      s.relu_dropout, s.residual_dropout, dtype=s.dtype, name="feed_forward"
    )
    updated = feed(source, train=train)
    if target is not None and s.source_update == "sum_no_smm":
      updated = updated + target
    elif target is not None and s.source_update == "sum":
      dense = lambda name: nn.Dense(s.width, use_bias=False, dtype=s.dtype, name=name)
      bias = self.param(
        "bias", nn.initializers.zeros, (s.length(self.modality), s.width)
      )
      gate = dense("source")(updated) + dense("target")(target)
      gate = nn.sigmoid(gate + broadcast_left(bias[: source.shape[1]], gate))
      out = {"gate": keep(gate, mask)}
      updated = (1 - gate) * jnp.tanh(target) + gate * updated
    return keep(updated, mask), out


class Join(nn.Module):
  """The joined source of one target, gated once more (Eqs. 15-16)."""

  settings: Settings

  @nn.compact
  def __call__(
    self, sources: dict[str, Array], masks: dict[str, Array]
  ) -> tuple[Float[Array, "B K D"], Intermediates]:
    s = self.settings
    # One block of bias a source: shorter input takes the first rows of each.
    bias = jnp.concatenate(
      [
        self.param(f"bias_{m}", nn.initializers.zeros, (s.length(m), s.width))[
          : z.shape[1]
        ]
        for m, z in sources.items()
      ]
    )
    joined = jnp.concatenate(list(sources.values()), 1)
    mask = jnp.concatenate([masks[m] for m in sources], 1)
    gate = nn.Dense(s.width, use_bias=False, dtype=s.dtype, name="gate")(joined)
    gate = nn.sigmoid(gate + broadcast_left(bias, gate))
    return keep(gate * jnp.tanh(joined), mask), {"gate": keep(gate, mask)}
