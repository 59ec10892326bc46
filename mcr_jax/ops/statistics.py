"""Losses that are statistics of a batch, over the rows that count.

Each takes arrays (B, D) and which rows count (B,), and is () in float32 or wider. With
fewer than two such rows it is zero. What stands in other rows is not read.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.masking import keep, masked_softmax

EPSILON = 1e-6


def length(x: Float[Array, "*B D"]) -> Float[Array, "*B"]:
  """The Euclidean norm over the last axis, whose gradient is 0 at 0 and not NaN."""
  square = jnp.square(x).sum(-1)
  return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def moment_discrepancy(
  x: Float[Array, "B D"],
  y: Float[Array, "B D"],
  rows: Bool[Array, "B"],
  orders: int = 5,
) -> Float[Array, ""]:
  """CMD of features in an interval of length 1 (Zellinger et al., ICLR 2017).

  |mu_x - mu_y| + sum over k = 2 .. orders of |M_k(x) - M_k(y)|, with the mean mu and
  the central moments M_k of every feature.
  """
  x, y = _wide(x), _wide(y)
  means = _mean(x, rows), _mean(y, rows)
  total = length(means[0] - means[1])[0]
  central = [keep(z - m, rows) for z, m in zip((x, y), means, strict=True)]
  for order in range(2, orders + 1):
    one, other = (_mean(z**order, rows) for z in central)
    total = total + length(one - other)[0]
  return jnp.where(rows.sum() >= 2, total, 0)


def overlap(
  x: Float[Array, "B D"], y: Float[Array, "B E"], rows: Bool[Array, "B"]
) -> Float[Array, ""]:
  """The mean of the squared entries of X^T Y, (D, E); 0 where they are orthogonal.

  X and Y have the mean over the rows taken out, and then rows of length 1, by a length
  that is a constant to the gradient. X^T Y sums over rows: it grows with the batch.
  """

  def centred(z):
    z = keep(_wide(z), rows)  # NaN in other rows has a gradient even if multiplied by 0
    z = keep(z - _mean(z, rows), rows)
    return z / (jax.lax.stop_gradient(length(z)) + EPSILON)[:, None]

  product = centred(x).T @ centred(y)
  return jnp.where(rows.sum() >= 2, jnp.square(product).mean(), 0)


def contrast(
  x: Float[Array, "B D"], y: Float[Array, "B D"], rows: Bool[Array, "B"]
) -> Float[Array, ""]:
  """Noise-contrastive estimation: how well y tells which x it belongs to.

  The mean over i of log sum_j exp(x_i . y_j) - x_i . y_i, of unit vectors; all rows
  that count are negatives, and i itself is one of them.
  """
  x, y = (_unit(keep(_wide(z), rows)) for z in (x, y))
  own = jnp.diagonal(masked_softmax(x @ y.T, rows[None]))
  surprise = -jnp.log(jnp.where(rows, own, 1))
  found = _mean(surprise[:, None], rows)[0, 0]
  return jnp.where(rows.sum() >= 2, found, 0)


def _unit(x):
  norm = length(x)
  return x / jnp.where(norm > 0, norm, 1)[:, None]


def _mean(x, rows):
  """(1, D) over the rows that count."""
  return keep(x, rows).sum(0, keepdims=True) / jnp.maximum(rows.sum(), 1).astype(
    x.dtype
  )


def _wide(x):
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
