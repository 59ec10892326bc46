"""The parts of a pre-norm transformer."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.ops.attention import attend
from mcr_jax.ops.attention import attention_weights as weights
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.dropout import Positions
from mcr_jax.ops.norm import standardize


class LayerNorm(nn.Module):
  """Layer norm with statistics in float32 or wider.

  `standardized` says that the statistics were taken out already, so that several norms
  of one array share them.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "*B D"], *, standardized: bool = False
  ) -> Float[Array, "*B D"]:
    scale = self.param("scale", nn.initializers.ones, x.shape[-1:])
    bias = self.param("bias", nn.initializers.zeros, x.shape[-1:])
    x = x if standardized else standardize(x)
    return x * broadcast_left(scale, x) + broadcast_left(bias, x)


def split_heads(width: int, heads: int) -> tuple[int, int]:
  """(heads, features a head); an error where they do not divide."""
  if heads < 1 or width % heads:
    raise UserError(
      f"heads={heads} must divide the width of the model, {width}. "
      f"Numbers of heads that do: {[h for h in range(1, width + 1) if width % h == 0]}."
    )
  return heads, width // heads


def flat_init(flat: tuple[int, int]) -> Callable:
  """The initial values of a matrix `flat`, in another shape."""
  init = nn.initializers.lecun_normal()
  return lambda key, shape: init(key, flat).reshape(shape)


class Project(nn.Module):
  """(B, T, D) -> (B, T, H, D / H), without a bias unless asked."""

  heads: int
  width: int
  use_bias: bool = False
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "*B T F"]) -> Float[Array, "*B T H D"]:
    split = split_heads(self.width, self.heads)
    # As one flat matrix: the scale of a head is that of the whole.
    init = flat_init((x.shape[-1], self.width))
    kernel = self.param("kernel", init, (x.shape[-1], *split))
    x, kernel = nn.dtypes.promote_dtype(x, kernel, dtype=self.dtype)
    y = (x @ kernel.reshape(-1, self.width)).reshape(*x.shape[:-1], *split)
    if self.use_bias:
      y = y + broadcast_left(self.param("bias", nn.initializers.zeros, split), y)
    return y


class MultiHeadAttention(nn.Module):
  """Multi-head attention with an output projection.

  No biases on queries, keys and values by default: softmax cannot see one on the
  keys, and Adam would drift it on rounding noise. Steps that are not real are the
  caller's to replace after the output projection; those that `query_mask` names cost
  nothing until then, where the kernels are native.
  """

  heads: int
  use_bias: bool = False
  dropout: Rate = 0.0
  implementation: str = "auto"
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K F"],
    memory_mask: Bool[Array, "B K"],
    *,
    train: bool,
    query_mask: Bool[Array, "B Q"] | None = None,
    positions: Positions | None = None,
    memory_positions: Positions | None = None,
  ) -> tuple[Float[Array, "B Q D"], dict[str, Array]]:
    width = x.shape[-1]
    project = lambda name: Project(
      self.heads, width, self.use_bias, dtype=self.dtype, name=name
    )
    query, key = project("query")(x), project("key")(memory)
    value = project("value")(memory)
    scale = (width // self.heads) ** -0.5
    drop = Dropout(self.dropout, name="dropout").decisions(
      train=train, query=positions, key=memory_positions
    )
    read = attend(
      query,
      key,
      value,
      memory_mask,
      query_mask=query_mask,
      scale=scale,
      dropout=drop,
      implementation=self.implementation,
    )
    merged = Merge(width, dtype=self.dtype, name="out")(read)
    if train:
      return merged, {}
    return merged, {"weights": weights(query, key, memory_mask, scale=scale)}


class Merge(nn.Module):
  """(B, T, H, D / H) -> (B, T, D), the output projection."""

  width: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "*B T H D"]) -> Float[Array, "*B T F"]:
    heads, size = x.shape[-2:]
    init = flat_init((heads * size, self.width))
    kernel = self.param("kernel", init, (heads, size, self.width))
    bias = self.param("bias", nn.initializers.zeros, (self.width,))
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    flat = x.reshape(*x.shape[:-2], heads * size)
    y = flat @ kernel.reshape(-1, self.width)
    return y + broadcast_left(bias, y)


class FeedForward(nn.Module):
  """Position-wise feed-forward layer with skip: x + W relu(V LN(x)).

  Deviation: the norm stands before, not after as in the transformer that MCR cites.
  """

  relu_dropout: Rate = 0.0
  residual_dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "*B D"], *, train: bool, positions: Positions | None = None
  ) -> Float[Array, "*B D"]:
    width = x.shape[-1]
    y = LayerNorm(name="norm")(x)
    y = nn.relu(nn.Dense(4 * width, dtype=self.dtype, name="hidden")(y))
    y = Dropout(self.relu_dropout)(y, train=train, positions=positions)
    y = nn.Dense(width, dtype=self.dtype, name="output")(y)
    return x + Dropout(self.residual_dropout)(y, train=train, positions=positions)


class EncoderLayer(nn.Module):
  """Pre-norm self-attention and feed-forward layer.

  `positions` are the indices that dropout goes by, of steps that are not 0, 1, ...
  """

  heads: int
  attention_dropout: Rate = 0.0
  relu_dropout: Rate = 0.0
  residual_dropout: Rate = 0.0
  implementation: str = "auto"
  dtype: jnp.dtype | None = None
  use_bias: bool = False

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T"],
    *,
    train: bool,
    positions: Positions | None = None,
  ) -> tuple[Float[Array, "B T D"], dict[str, Array]]:
    normed = LayerNorm(name="norm")(x)
    read, intermediates = MultiHeadAttention(
      self.heads,
      self.use_bias,
      dropout=self.attention_dropout,
      implementation=self.implementation,
      dtype=self.dtype,
      name="attention",
    )(
      normed,
      normed,
      mask,
      train=train,
      query_mask=mask,
      positions=positions,
      memory_positions=positions,
    )
    x = x + Dropout(self.residual_dropout)(read, train=train, positions=positions)
    feed = FeedForward(
      self.relu_dropout, self.residual_dropout, dtype=self.dtype, name="feed_forward"
    )
    return feed(x, train=train, positions=positions), intermediates
