"""Attention as it is written: softmax of the scores, then a product with the values.

For counting operations, for drawing, and to compare the others with. JAX derives its
gradient, so it alone can be differentiated forwards (`jax.jvp`).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.dropout import Dropout


def weights(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
) -> Float[Array, "B H Q K"]:
  """Softmax over the keys that exist, in float32 or wider; rows without keys are 0."""
  wide = jnp.promote_types(query.dtype, jnp.float32)
  # Scaling the query touches Q x D numbers, scaling the scores Q x K.
  query = (query.astype(wide) * scale).astype(query.dtype).transpose(0, 2, 1, 3)
  key = key.transpose(0, 2, 1, 3)
  scores = jnp.einsum("bhqd,bhkd->bhqk", query, key, preferred_element_type=wide)
  if bias is not None:
    scores += bias.astype(wide)[:, None, None, :]
  if mask is None:
    return jax.nn.softmax(scores)
  scores = jnp.where(mask[:, None, None, :], scores, -jnp.inf)
  # A row without keys has no finite maximum: anchor it at zero.
  peak = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  grown = jnp.exp(scores - jnp.where(jnp.isfinite(peak), peak, 0.0))
  total = grown.sum(-1, keepdims=True)
  return grown / jnp.where(total == 0.0, 1.0, total)


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
  dropout: Dropout | None,
) -> Float[Array, "B Q H E"]:
  """Reads the values by the weights."""
  shares = weights(query, key, mask, bias, scale)
  if dropout is not None:
    shares = dropout.apply(shares)
  shares = shares.astype(value.dtype)
  read = jnp.einsum(
    "bhqk,bhke->bhqe",
    shares,
    value.transpose(0, 2, 1, 3),
    preferred_element_type=jnp.promote_types(value.dtype, jnp.float32),
  )
  return read.astype(value.dtype).transpose(0, 2, 1, 3)
