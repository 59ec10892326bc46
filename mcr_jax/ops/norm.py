"""Layer normalisation in two halves, so that its statistics can be shared."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

EPSILON = 1e-5


def standardize(x: Float[Array, "*B D"]) -> Float[Array, "*B D"]:
  """Zero mean and unit variance over the features, in float32 or wider."""
  if jax.default_backend() == "cpu":
    # Or XLA computes what x is a sum of again in each of the passes over it, and the
    # same for its gradient.
    x = jax.lax.optimization_barrier(x)
  wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
  centred = wide - wide.mean(-1, keepdims=True)
  variance = jnp.square(centred).mean(-1, keepdims=True)
  return (centred * jax.lax.rsqrt(variance + EPSILON)).astype(x.dtype)
