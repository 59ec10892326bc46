"""How far a sequence that was made is from the one that it should be."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.masking import keep


def mean_square(
  found: Float[Array, "B T D"], target: Float[Array, "B T D"], mask: Bool[Array, "B T"]
) -> Float[Array, "B"]:
  """The mean square of a sample's real steps and features, in float32 or wider.

  Zero where there are none.
  """
  wide = jnp.promote_types(jnp.promote_types(found.dtype, target.dtype), jnp.float32)
  # Both, not their difference: the gradient of NaN is NaN.
  error = keep(found.astype(wide), mask) - keep(target.astype(wide), mask)
  count = jnp.maximum(mask.sum(-1), 1) * found.shape[-1]
  return jnp.square(error).sum((-2, -1)) / count.astype(wide)
