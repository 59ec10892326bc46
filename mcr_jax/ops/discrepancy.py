"""How far a batch of vectors is from draws of a distribution."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.masking import keep


def maximum_mean(
  x: Float[Array, "B D"], y: Float[Array, "B D"], rows: Bool[Array, "B"]
) -> Float[Array, ""]:
  """MMD, the maximum mean discrepancy of rows of x and y, in float32 or wider.

  mean k(x, x') + mean k(y, y') - 2 mean k(x, y), k(a, b) = exp(-|a - b|^2 / D^2), over
  all pairs, those of a row with itself included: the square of a distance. Zero without
  rows.

  Args:
    x, y: as many draws of each.
    rows: which of both count; the others may hold anything.
  """
  wide = jnp.promote_types(jnp.promote_types(x.dtype, y.dtype), jnp.float32)
  x, y = keep(x.astype(wide), rows), keep(y.astype(wide), rows)
  count = jnp.maximum(rows.sum(), 1).astype(wide)
  share = rows.astype(wide) / count

  def mean(a, b):
    product = jnp.matmul(a, b.T, precision=jax.lax.Precision.HIGHEST)
    square = lambda z: jnp.square(z).sum(-1)
    distance = square(a)[:, None] + square(b)[None] - 2 * product
    kernel = jnp.exp(-distance / a.shape[-1] ** 2)
    return (share[:, None] * share[None] * kernel).sum()

  return mean(x, x) + mean(y, y) - 2 * mean(x, y)
