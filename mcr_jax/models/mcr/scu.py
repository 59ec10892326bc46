"""SCU, the self-cross attention reinforcement unit of MCR.

With the joined sources Z_ds of a target t, and F the feed-forward layer with its skip:

  Z_tb = F(gamma_ds Z_ds->t + gamma_t Z_tt)                                Eqs. 6, 11
  Z_ds->t = CA_mul(LN(Z_ds), LN(Z_t))                                      Eq. 7
  Z_tt = SA_mul(LN(Z_t))                                                   Eq. 8
  beta = U' (W f + b), where f are all features of all steps of a branch   Eq. 9
  gamma = softmax(beta_ds, beta_t)                                         Eq. 10

As a function of f, beta is one inner product, <w, f> + c with w = W' U and c = U' b:
`scu_scoring="folded"` learns w and c, `"literal"` the paper's W, U and b.

Deviation: the heads of each attention are joined by an output projection, as usual; the
paper writes none. What a sequence lacks, its branch reads as zeros.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.initializers import lecun_normal, normal, zeros
from jaxtyping import Array, Float

from mcr_jax.contract import Intermediates
from mcr_jax.layers.stream import Stream
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.ops.masking import keep

BRANCHES = ("cross", "self")


class SCU(nn.Module):
  """The target reads itself and the joined sources, and weighs the two.

  `longest` is the length of the target that parameters are made for.
  """

  settings: Settings
  longest: int

  @nn.compact
  def __call__(
    self, target: Stream, joined: Stream, *, train: bool
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """Returns `Z_tb` of Z_t and Z_ds."""
    s = self.settings
    query, memory = target.norm("norm_target"), joined.norm("norm_source")
    cross, cross_maps = s.multi_head("cross")(
      query,
      memory,
      joined.mask,
      train=train,
      query_mask=target.mask,
      memory_positions=joined.positions,
    )  # Eq. 7
    own, own_maps = s.multi_head("self")(
      query, query, target.mask, train=train, query_mask=target.mask
    )  # Eq. 8
    # The bias of the output projection must not stand in for what was never read.
    cross = keep(cross, target.mask & joined.mask.any(-1, keepdims=True))
    own = keep(own, target.mask)
    intermediates = {f"cross_{key}": value for key, value in cross_maps.items()}
    intermediates |= {f"self_{key}": value for key, value in own_maps.items()}

    if s.attention_layer:
      beta = jnp.stack(self._score(cross, own), -1)  # Eq. 9
      beta = beta.astype(jnp.promote_types(beta.dtype, jnp.float32))
      gamma = jax.nn.softmax(beta, -1).astype(cross.dtype)  # Eq. 10
      cross_gamma = intermediates["gamma_cross"] = gamma[:, 0]
      own_gamma = intermediates["gamma_self"] = gamma[:, 1]
      z = cross_gamma[:, None, None] * cross + own_gamma[:, None, None] * own  # Eq. 11
    else:
      z = cross + own
    return keep(s.feed_forward()(z, train=train), target.mask), intermediates  # Eq. 6

  def _score(self, *branches: Float[Array, "B T D"]) -> list[Float[Array, "B"]]:
    literal = self.settings.scu_scoring == "literal"
    return self._literal(branches) if literal else self._folded(branches)

  def _folded(self, branches):
    """<w, f> + c of every branch f."""
    steps, width = branches[0].shape[1:]
    c = self.param("score_bias", zeros, (2,))
    # The scale of W' U for independent W and U of variance 1 / fan-in.
    init, shape = normal((self.longest * width) ** -0.5), (self.longest, width)
    w = [self.param(f"score_{name}", init, shape)[:steps] for name in BRANCHES]
    return [inner(f, w[i]) + c[i] for i, f in enumerate(branches)]

  def _literal(self, branches):
    """U' (W f + b) of every branch f."""
    steps, width = branches[0].shape[1:]
    size = self.longest * width
    u = self.param("U", normal(size**-0.5), (size,))
    beta = []
    for name, f in zip(BRANCHES, branches, strict=True):
      w = self.param(f"W_{name}", lecun_normal(), (size, size))
      b = self.param(f"b_{name}", zeros, (size,))
      # (U' W) first: every row of W at full length, only columns are cut.
      weights = (u @ w)[: steps * width].reshape(steps, width)
      beta.append(inner(f, weights) + u @ b)
    return beta


def inner(f: Float[Array, "B T D"], weights: Float[Array, "T D"]) -> Float[Array, "B"]:
  """<w, f> over thousands of terms, summed in at least float32."""
  wide = jnp.promote_types(f.dtype, jnp.float32)
  return jnp.einsum(
    "btd,td->b", f, weights.astype(f.dtype), preferred_element_type=wide
  )
