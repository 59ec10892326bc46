"""Decoders: LSTMs that make a sequence and are never told what came before.

Nothing that they give is fed back, so a decoder makes any number of steps at once while
training and afterwards alike. A step that its mask lacks keeps the state.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import choose
from mcr_jax.layers.recurrent import weights
from mcr_jax.ops import recurrence
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep, masked_softmax

SCORES = ("additive", "linear")


class Reader(nn.Module):
  """An LSTM that reads a source by attention at every step, from a state of zero.

  With the source E of S steps and the cell c before a step,

    s_i = w tanh(W_E E_i + W_c c + b),  x = sum_i softmax(s)_i E_i,  h, c = LSTM(x)

  With `score="linear"` s_i = w_E E_i + w_c c: the second term is the same for all i
  and leaves the softmax, so that every step reads the same and w_c learns nothing.

  Attributes:
    width: of the state, of E, and of what scores.
    score: `additive` or `linear`.
    dtype: of the products; states are float32 or wider.
  """

  width: int
  score: str = "additive"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self,
    source: Float[Array, "B S H"],
    source_mask: Bool[Array, "B S"],
    mask: Bool[Array, "B T"],
  ) -> tuple[Float[Array, "B T H"], Float[Array, "B T S"]]:
    """The output and the attention of every step of `mask`.

    A source without steps reads as zero.
    """
    additive = choose(self.score, SCORES, "score") == "additive"
    lecun = nn.initializers.lecun_normal()
    shape = (self.width, self.width if additive else 1)
    scorers = [
      self.param(f"{name}_kernel", lecun, shape) for name in ("source", "cell")
    ]
    if additive:
      scorers.append(self.param("score_bias", nn.initializers.zeros, (self.width,)))
      scorers.append(self.param("score_kernel", lecun, (self.width, 1)))
    kernel, recurrent, bias, _ = weights(self, "lstm", self.width, self.width)
    source, kernel, recurrent, bias, *scorers = nn.dtypes.promote_dtype(
      keep(source, source_mask), kernel, recurrent, bias, *scorers, dtype=self.dtype
    )
    both = jnp.concatenate([kernel, recurrent])
    products = source @ scorers[0]
    if additive:
      products = products + broadcast_left(scorers[2], products)

    def step(state, real):
      h, cell = state
      scores = products + (cell.astype(source.dtype) @ scorers[1])[:, None]
      if additive:
        scores = jnp.tanh(scores) @ scorers[3]
      attention = masked_softmax(scores[..., 0], source_mask)
      read = jnp.einsum("bs,bsh->bh", attention.astype(source.dtype), source)
      joined = jnp.concatenate([read, h.astype(source.dtype)], -1) @ both + bias[None]
      new = recurrence.lstm(state, joined.astype(h.dtype))
      state = tuple(
        jnp.where(real[:, None], a, b) for a, b in zip(new, state, strict=True)
      )
      return state, (state[0], attention)

    wide = jnp.promote_types(source.dtype, jnp.float32)
    start = (jnp.zeros((source.shape[0], self.width), wide),) * 2
    _, steps = jax.lax.scan(step, start, mask.T)
    hidden, attention = (jnp.swapaxes(x, 0, 1) for x in steps)
    return hidden.astype(source.dtype), attention


class Unfolder(nn.Module):
  """An LSTM that unfolds a vector: its input is the vector, then its own last output.

  The vector is as wide as the state, which is zero at first. Behind the first step the
  input is the output, so that one product with the sum of both kernels makes a step.

  Attributes:
    dtype: of the products; states are float32 or wider.
  """

  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B H"], mask: Bool[Array, "B T"]
  ) -> Float[Array, "B T H"]:
    """The output of every step."""
    width = x.shape[-1]
    kernel, recurrent, bias, _ = weights(self, "lstm", width, width)
    x, kernel, recurrent, bias = nn.dtypes.promote_dtype(
      x, kernel, recurrent, bias, dtype=self.dtype
    )
    first = mask & (jnp.cumsum(mask, -1) == 1)
    inputs = jnp.where(first.T[..., None], (x @ kernel)[None], 0)
    inputs = inputs + broadcast_left(bias, inputs)
    (hidden, _) = recurrence.recur(
      recurrence.CELLS["lstm"], False, 1, inputs, kernel + recurrent, None, mask.T
    )
    return jnp.swapaxes(hidden, 0, 1).astype(x.dtype)
