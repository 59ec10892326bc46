"""Padding is replaced, never multiplied away: NaN times zero is NaN."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def keep(
  x: Float[Array, "*B T D"], mask: Bool[Array, "*B T"]
) -> Float[Array, "*B T D"]:
  """`x` on real steps, zero elsewhere."""
  return jnp.where(mask[..., None], x, jnp.zeros((), x.dtype))


def masked_softmax(
  logits: Float[Array, "*B K"], mask: Bool[Array, "*#B K"]
) -> Float[Array, "*B K"]:
  """Softmax over the entries that exist, in float32 or wider; empty rows are zero."""
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  logits = jnp.where(mask, logits, -jnp.inf)
  # An empty row has no finite maximum: anchor it at zero.
  peak = jax.lax.stop_gradient(logits.max(-1, keepdims=True))
  weights = jnp.exp(logits - jnp.where(jnp.isfinite(peak), peak, 0.0))
  total = weights.sum(-1, keepdims=True)
  return weights / jnp.where(total == 0.0, 1.0, total)
