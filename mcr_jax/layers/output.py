"""The last fully connected layers of models."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.layers.dropout import Dropout, Rate


def output_layer(
  x: Float[Array, "*B D"], outputs: tuple[int, ...], dropout: Rate, train: bool
) -> Float[Array, "..."]:
  """(*B, *outputs): dropout, then the caller's layer `output`, in float32 or wider.

  It starts at zero. Thousands of features are read here and some hundred samples
  train it: random weights in directions that no sample has would stay as noise in
  every prediction, while what starts at zero is the smallest solution.
  """
  x = Dropout(dropout, name="dropout")(x, train=train)
  dense = nn.Dense(
    math.prod(outputs),
    dtype=x.dtype,
    kernel_init=nn.initializers.zeros,
    name="output",
  )
  y = dense(x)
  y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
  return y.reshape(*x.shape[:-1], *outputs)


def output_mlp(
  x: Float[Array, "*B D"],
  hidden: int,
  outputs: tuple[int, ...],
  dropout: Rate,
  *,
  dtype: jnp.dtype | None,
  train: bool,
) -> Float[Array, "..."]:
  """(*B, *outputs), in float32 or wider: the caller's layers `hidden` and `output`.

  Between them ReLU and dropout.
  """
  y = nn.relu(nn.Dense(hidden, dtype=dtype, name="hidden")(x))
  y = Dropout(dropout, name="dropout")(y, train=train)
  y = nn.Dense(math.prod(outputs), dtype=dtype, name="output")(y)
  y = y.astype(jnp.promote_types(y.dtype, jnp.float32))
  return y.reshape(*x.shape[:-1], *outputs)
