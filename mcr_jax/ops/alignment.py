"""Bringing sequences of different rates to one grid of steps."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax.ops.masking import keep


def uniform(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"], grid: Bool[Array, "B Q"]
) -> tuple[Float[Array, "B Q D"], Bool[Array, "B Q"]]:
  """As if every step of `grid` lasted equally long.

  Real step i of n of the grid reads the mean of the real steps floor(i k / n) to
  floor((i + 1) k / n) - 1 of the k of `x`, and at least the first of these.

  Args:
    x: a sequence.
    mask: its real steps.
    grid: the real steps of the sequence that gives the grid.

  Returns:
    The means, zero where the mask that is returned with them says so: on steps that the
    grid does not have, and on all where `x` has none.
  """
  count, first, end = _shares(mask, grid)
  step = (jnp.cumsum(mask, -1) - 1)[:, None]
  read = (step >= first[..., None]) & (step < end[..., None]) & mask[:, None]
  weights = read / jnp.maximum(read.sum(-1, keepdims=True), 1)
  real = grid & (count > 0)
  mean = jnp.einsum("bqt,btd->bqd", weights.astype(x.dtype), keep(x, mask))
  return keep(mean, real), real


def frames_of(
  mask: Bool[Array, "B T"], grid: Bool[Array, "B Q"], most: int
) -> tuple[Integer[Array, "B Q F"], Bool[Array, "B Q F"]]:
  """Which steps a step of `grid` would read by `uniform`, one by one.

  Of n of them with n > most, the ones numbered floor(j n / most) stay.

  Args:
    mask: the real steps of a sequence.
    grid: the real steps of the sequence that gives the grid.
    most: how many stay.

  Returns:
    Their places in the sequence, and which of these F = min(most, T) there are.
  """
  count, first, end = _shares(mask, grid)
  number = jnp.maximum(end - first, 1)[..., None]
  turn = jnp.arange(min(most, mask.shape[1]))[None, None]
  taken = jnp.minimum(number, turn.shape[-1])
  real = (turn < taken) & (grid & (count > 0))[..., None]
  among_real = jnp.where(real, first[..., None] + turn * number // taken, 0)
  places = jnp.argsort(~mask, axis=-1, stable=True)
  flat = among_real.reshape(mask.shape[0], -1)
  return jnp.take_along_axis(places, flat, 1).reshape(real.shape), real


def _shares(mask, grid):
  """How many real steps there are, and from which to which a step of the grid reads."""
  count = mask.sum(-1, keepdims=True)
  total = jnp.maximum(grid.sum(-1, keepdims=True), 1)
  place = jnp.cumsum(grid, -1) - 1
  first = place * count // total
  end = jnp.maximum((place + 1) * count // total, first + 1)
  return count, first, end
