"""Attention from scores that are already there: the literal order of Eqs. 4-5."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.dropout import Dropout
from mcr_jax.ops.masking import masked_softmax


def read_scores(
  scores: Float[Array, "B H Q K"],
  value: Float[Array, "B K H D"],
  mask: Bool[Array, "B K"],
  *,
  dropout: Dropout | None = None,
) -> tuple[Float[Array, "B Q H D"], Float[Array, "B H Q K"]]:
  """The values read with softmax(scores), and those weights before dropout."""
  weights = masked_softmax(scores, mask[:, None, None, :])
  kept = weights if dropout is None else dropout.apply(weights)
  return jnp.einsum("bhqk,bkhd->bqhd", kept.astype(value.dtype), value), weights
