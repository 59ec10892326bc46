"""The last layers: a residual block of two, then the output."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.layers.dropout import Dropout, Rate


class Head(nn.Module):
  """`x + W relu(V x)`, then one linear layer to `outputs` values."""

  outputs: int
  dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "B D"], *, train: bool) -> Float[Array, "B O"]:
    dense = lambda size, name: nn.Dense(size, dtype=self.dtype, name=name)
    y = nn.relu(dense(x.shape[-1], "hidden")(x))
    y = Dropout(self.dropout)(y, train=train)
    x = x + dense(x.shape[-1], "residual")(y)
    return dense(self.outputs, "output")(x)
