"""What implementations share: a bias and a mask on the keys as one more feature."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

SAVED = "attention"
"""The name under which a rematerialisation policy may keep what is read."""


def extend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
) -> tuple[Float[Array, "B Q H _"], Float[Array, "B K H _"]]:
  """Query and key whose plain products are the scores: scaled, biased and masked.

  What shifts the scores of a key becomes a feature that every query reads as 1. A
  product with one feature more costs less than another pass over the scores, an
  attention that knows neither masks nor biases will do, and the gradient of the bias
  comes with that of the key.

  What is masked must be zero already: a row without keys then reads the mean of zeros,
  and passes no gradient on.
  """
  query = query * jnp.asarray(scale, query.dtype)
  if mask is None and bias is None:
    return query, key
  shift = jnp.zeros(key.shape[:2], key.dtype) if bias is None else bias
  shift = shift.astype(key.dtype)
  if mask is not None:
    # Finite, so that a row without keys stays finite; it absorbs what is added to it.
    nowhere = -3e4 if key.dtype == jnp.float16 else -1e30
    shift = jnp.where(mask, shift, jnp.asarray(nowhere, key.dtype))
  shift = jnp.broadcast_to(shift[:, :, None, None], (*key.shape[:3], 1))
  query = jnp.concatenate([query, jnp.ones_like(query[..., :1])], -1)
  return query, jnp.concatenate([key, shift], -1)
