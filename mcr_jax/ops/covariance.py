"""Covariances of groups of rows, joined with those of other rows, and their volume."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Moments(NamedTuple):
  """Of groups G of rows: how many, their mean and covariance over rows (not n - 1).

  A group without rows is zero.
  """

  count: Float[Array, "*G"]
  mean: Float[Array, "*G E"]
  covariance: Float[Array, "*G E E"]

  @classmethod
  def of(cls, x: Float[Array, "B E"], member: Float[Array, "B *G"]) -> "Moments":
    """Those of the rows with `member` 1 in a group, else 0."""
    groups = tuple(range(1, member.ndim))
    x = jnp.where((member > 0).any(groups)[:, None], x, 0)
    count = member.sum(0)
    some = jnp.maximum(count, 1)
    mean = jnp.einsum("b...,be->...e", member, x) / some[..., None]
    away = x.reshape(len(x), *[1] * count.ndim, -1) - mean[None]
    scatter = jnp.einsum("b...,b...e,b...f->...ef", member, away, away)
    return cls(count, mean, scatter / some[..., None, None])

  def joined(self, other: "Moments") -> "Moments":
    """Of the rows of both together."""
    count = self.count + other.count
    share, rest = (m.count / jnp.maximum(count, 1) for m in (self, other))
    mean = share[..., None] * self.mean + rest[..., None] * other.mean
    apart = self.mean - other.mean
    between = (share * rest)[..., None, None] * _outer(apart)
    within = share[..., None, None] * self.covariance
    within = within + rest[..., None, None] * other.covariance
    return Moments(count, mean, within + between)


def log_determinant(matrix: Float[Array, "*G E E"]) -> Float[Array, "*G"]:
  """Of small positive definite matrices, by elimination; the loop is unrolled."""
  total = 0.0
  for _ in range(matrix.shape[-1]):
    pivot = matrix[..., 0, 0]
    total = total + jnp.log(pivot)
    below = matrix[..., 1:, :1] * matrix[..., :1, 1:]
    matrix = matrix[..., 1:, 1:] - below / pivot[..., None, None]
  return total


def _outer(x):
  return x[..., :, None] * x[..., None, :]
