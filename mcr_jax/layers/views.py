"""A vector as a short sequence, for models that are made for sequences."""

import flax.linen as nn
from jaxtyping import Array, Float

from mcr_jax.ops import fusion


class Views(nn.Module):
  """`positions` steps of `width` features.

  Every position sees the vector under its own learned scale and offset; one matrix
  projects them all.
  """

  positions: int
  width: int

  @nn.compact
  def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B T E"]:
    shape = (self.positions, x.shape[-1])
    # Scales of both signs and sizes, so that positions start out different.
    scale = self.param("scale", nn.initializers.normal(1.0), shape)
    bias = self.param("bias", nn.initializers.normal(0.02), shape)
    views = fusion.views(x, scale.astype(x.dtype), bias.astype(x.dtype))
    return nn.Dense(self.width, dtype=x.dtype, name="project")(views)
