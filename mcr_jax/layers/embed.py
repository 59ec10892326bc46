"""From features to the width of the model: convolution along time, and positions."""

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep


def sinusoids(length: int, width: int) -> np.ndarray:
  """(length, width) sinusoidal positions: sine on even features, cosine on odd."""
  rates = 10000.0 ** (-2 * (np.arange(width) // 2) / width)
  angles = np.arange(length)[:, None] * rates
  return np.where(np.arange(width) % 2 == 0, np.sin(angles), np.cos(angles))


def convolve(
  x: Float[Array, "B T F"], kernel: Float[Array, "W F D"]
) -> Float[Array, "B T D"]:
  """Along time, of the same length, with zeros beyond the ends."""
  size, steps = len(kernel), x.shape[1]
  # As matrix products over shifted views: a tenth of the widths that convolution
  # routines are made for, and a product is fast on every backend.
  before = (size - 1) // 2
  padded = jnp.pad(x, ((0, 0), (before, size - 1 - before), (0, 0)))
  return sum(padded[:, i : i + steps] @ kernel[i] for i in range(size))


class TemporalEmbedding(nn.Module):
  """1-D temporal convolution to `width`, then sinusoidal positions.

  Padded steps are replaced by zeros before the convolution and after the positions.
  """

  width: int
  kernel: int
  use_bias: bool = True
  scale: float = 1.0
  dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], *, train: bool
  ) -> Float[Array, "B T D"]:
    features, steps = x.shape[-1], x.shape[-2]
    kernel = self.param(
      "kernel",
      nn.initializers.lecun_normal(),
      (self.kernel, features, self.width),
    )
    x, kernel = nn.dtypes.promote_dtype(keep(x, mask), kernel, dtype=self.dtype)
    z = convolve(x, kernel)
    if self.use_bias:
      z = z + broadcast_left(
        self.param("bias", nn.initializers.zeros, (self.width,)), z
      )
    z = self.scale * z
    z = z + broadcast_left(jnp.asarray(sinusoids(steps, self.width)), z)
    z = Dropout(self.dropout)(z, train=train)
    return keep(z, mask)
