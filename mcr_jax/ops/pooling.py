"""From a sequence to one vector, over the steps that exist."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def mean(x: Float[Array, "*B T D"], mask: Bool[Array, "*B T"]) -> Float[Array, "*B D"]:
  """The mean of the real steps; zero where there are none."""
  total = jnp.where(mask[..., None], x, 0).sum(-2)
  return total / jnp.maximum(mask.sum(-1, keepdims=True), 1).astype(x.dtype)


def last(x: Float[Array, "*B T D"], mask: Bool[Array, "*B T"]) -> Float[Array, "*B D"]:
  """The last real step; zero where there is none."""
  steps = jax.lax.broadcasted_iota(jnp.int32, mask.shape, mask.ndim - 1)
  place = jnp.where(mask, steps, -1).max(-1, keepdims=True)
  return jnp.where((steps == place)[..., None], x, 0).sum(-2)


def maximum(
  x: Float[Array, "*B T D"], mask: Bool[Array, "*B T"]
) -> Float[Array, "*B D"]:
  """The largest value of every feature; zero where there are no real steps."""
  peak = jnp.where(mask[..., None], x, -jnp.inf).max(-2)
  return jnp.where(mask.any(-1)[..., None], peak, 0)


POOLINGS = {"mean": mean, "last": last, "max": maximum}
