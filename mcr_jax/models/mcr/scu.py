"""SCU, the self-cross attention reinforcement unit (Eqs. 6-11 of MCR).

The attention layer scores each branch by `U' (W f + b)` with a square W over all
features of all steps. As a function of f that is one inner product, `<w, f> + c` with
w = W' U and c = U' b: `scu_scoring="folded"` learns w and c, `"literal"` the paper's
W, U and b.

Deviation: the heads of each attention are joined by an output projection, as usual; the
paper writes none. What a sequence lacks, its branch reads as zeros.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.transformer import FeedForward, LayerNorm, MultiHeadAttention
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.dropout import Positions
from mcr_jax.ops.masking import keep

BRANCHES = ("cross", "self")


class SCU(nn.Module):
  """The target reads itself and the joined sources, and weighs the two."""

  target: str
  settings: Settings

  @nn.compact
  def __call__(
    self,
    standardized_target: Float[Array, "B T D"],
    standardized_joined: Float[Array, "B K D"],
    mask: Bool[Array, "B T"],
    joined_mask: Bool[Array, "B K"],
    joined_positions: Positions,
    *,
    train: bool,
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """Returns `Z_tb` of Eq. 6; both inputs come without mean and variance."""
    s = self.settings
    normed = LayerNorm(name="norm_target")(standardized_target, standardized=True)
    joined = LayerNorm(name="norm_source")(standardized_joined, standardized=True)
    attention = lambda name: MultiHeadAttention(
      s.heads,
      dropout=s.attention_dropout,
      implementation=s.attention,
      dtype=s.dtype,
      name=name,
    )
    cross, cross_out = attention("cross")(
      normed, joined, joined_mask, train=train, memory_positions=joined_positions
    )
    itself, self_out = attention("self")(normed, normed, mask, train=train)
    # The bias of the output projection must not stand in for what was never read.
    cross = keep(cross, mask & joined_mask.any(-1, keepdims=True))
    itself = keep(itself, mask)
    out = {f"cross_{k}": v for k, v in cross_out.items()}
    out |= {f"self_{k}": v for k, v in self_out.items()}

    if s.attention_layer == "off":
      merged = cross + itself
    else:
      score = self._literal if s.scu_scoring == "literal" else self._folded
      beta = jnp.stack(score(cross, itself), -1)
      beta = beta.astype(jnp.promote_types(beta.dtype, jnp.float32))
      gamma = jax.nn.softmax(beta, -1).astype(cross.dtype)
      out |= {"gamma_cross": gamma[:, 0], "gamma_self": gamma[:, 1]}
      merged = gamma[:, 0, None, None] * cross + gamma[:, 1, None, None] * itself
    feed = FeedForward(
      s.relu_dropout, s.residual_dropout, dtype=s.dtype, name="feed_forward"
    )
    return keep(feed(merged, train=train), mask), out

  def _folded(self, cross, itself):
    steps, width = cross.shape[1:]
    longest = self.settings.length(self.target)
    # The scale of W' U for independent W and U of variance 1 / fan-in.
    draw = nn.initializers.normal((longest * width) ** -0.5)
    bias = self.param("score_bias", nn.initializers.zeros, (2,))
    weights = [self.param(f"score_{b}", draw, (longest, width)) for b in BRANCHES]
    return [
      _inner(f, w[:steps]) + c
      for f, w, c in zip((cross, itself), weights, bias, strict=True)
    ]

  def _literal(self, cross, itself):
    steps, width = cross.shape[1:]
    size = self.settings.length(self.target) * width
    lecun = nn.initializers.lecun_normal()
    u = self.param("U", nn.initializers.normal(size**-0.5), (size,))
    scores = []
    for name, f in zip(BRANCHES, (cross, itself), strict=True):
      matrix = self.param(f"W_{name}", lecun, (size, size))
      bias = self.param(f"b_{name}", nn.initializers.zeros, (size,))
      # (U' W) first: every row of W at full length, only columns are cut.
      weights = (u @ matrix)[: steps * width].reshape(steps, width)
      scores.append(_inner(f, weights) + u @ bias)
    return scores


def _inner(f: Float[Array, "B T D"], weights: Float[Array, "T D"]) -> Float[Array, "B"]:
  """<w, f> over thousands of terms, summed in at least float32."""
  wide = jnp.promote_types(f.dtype, jnp.float32)
  return jnp.einsum(
    "btd,td->b", f, weights.astype(f.dtype), preferred_element_type=wide
  )
