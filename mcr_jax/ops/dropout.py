"""Dropout by counter: whether an element is kept depends on its indices alone.

Whether element (i, j, ...) is kept is an integer hash of (seed, i, j, ...), so cutting
padding off an array leaves every other decision as it was, a block of an array that is
never stored can be decided by itself, and nothing has to be kept for the backward pass.
Where padding is cut inside an axis, because sequences were joined along it, `positions`
say what the indices would be without the cut.

All axes but the last are mixed into one state a row, on small arrays. On the full array
that leaves one addition and one finaliser, several times cheaper on a CPU than the
counter-based generators of `jax.random`. This is no cryptography: the tests ask for
what dropout needs (right rate, no correlation along or between axes or seeds).
"""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer, UInt32

from mcr_jax.errors import UserError

# Odd 32-bit constants with about as many ones as zeros. ROW and COLUMN keep a row's
# index from meaning the same as a column's; MULTIPLIERS are those of the finaliser.
ROW = 0x9E6C63D1
COLUMN = 0xB5297A4D
MULTIPLIERS = 0x7A3D98E5, 0xC4D6A3B7
RESOLUTION = 24


Positions = Integer[Array | np.ndarray, "_"]


class Dropout(NamedTuple):
  """What an op needs to drop elements that are never stored.

  `query` and `key` are the positions of the queries and keys, where not 0, 1, ...
  """

  rate: float | Array
  seed: Array
  query: Positions | None = None
  key: Positions | None = None

  def apply(self, weights: Float[Array, "*B Q K"]) -> Float[Array, "*B Q K"]:
    """Drops weights that are stored."""
    return dropout(weights, self.rate, self.seed, {-2: self.query, -1: self.key})

  def keep_mask(self, shape: tuple[int, ...]) -> Bool[Array, "*B Q K"]:
    """Which weights of such an array are kept."""
    return keep_mask(self.seed, shape, self.rate, {-2: self.query, -1: self.key})


def seed_from_key(key: Array) -> UInt32[Array, ""]:
  """One seed from a key of `jax.random`."""
  return jax.random.bits(key, (), jnp.uint32)


def dropout(
  x: Float[Array, "..."],
  rate: float | Array,
  seed: UInt32[Array, ""],
  positions: Mapping[int, Positions | None] | None = None,
) -> Float[Array, "..."]:
  """Zeroes elements with probability `rate` and scales the others up to compensate.

  Args:
    x: of any shape.
    rate: may be traced; one that is statically zero returns `x` itself.
    seed: see `seed_from_key`.
    positions: axis -> its indices, where not 0, 1, ...
  """
  if isinstance(rate, int | float) and rate == 0:
    return x
  kept = keep_mask(seed, x.shape, rate, positions)
  return jnp.where(kept, x * inverse(rate).astype(x.dtype), jnp.zeros((), x.dtype))


def keep_mask(
  seed: UInt32[Array, ""],
  shape: tuple[int, ...],
  rate: float | Array,
  positions: Mapping[int, Positions | None] | None = None,
) -> Bool[Array, "..."]:
  """Which elements of an array of this shape are kept."""
  if not shape:
    return is_kept(finalise(seed), limit(rate))
  indices = [index(size) for size in shape]
  for axis, given in (positions or {}).items():
    indices[axis] = index(shape[axis], given)
  row = rows(seed, *indices[:-1])
  column = columns(indices[-1]).reshape((1,) * row.ndim + (-1,))
  return is_kept(finalise(row[..., None] + column), limit(rate))


def index(size: int, positions: Positions | None = None) -> UInt32[Array, "_"]:
  """The indices along an axis: 0, 1, ... or the positions that are given."""
  if positions is None:
    return jnp.arange(size, dtype=jnp.uint32)
  assert len(positions) == size, (len(positions), size)
  return jnp.asarray(positions).astype(jnp.uint32)


def rows(
  seed: UInt32[Array, ""], *indices: Integer[Array, "_"]
) -> UInt32[Array, "..."]:
  """The state of every combination of indices along all axes but the last."""
  state = finalise(seed + jnp.uint32(ROW))
  for index in indices:
    index = columns(index).reshape((1,) * state.ndim + (-1,))
    state = finalise((state[..., None] + index) ^ jnp.uint32(ROW))
  return state


def columns(index: Integer[Array, "_"]) -> UInt32[Array, "_"]:
  """The hash of an index along one axis; `finalise(row + column)` are random bits."""
  return finalise(index.astype(jnp.uint32) * jnp.uint32(COLUMN) + jnp.uint32(COLUMN))


def finalise(x: UInt32[Array, "..."]) -> UInt32[Array, "..."]:
  """Lets every bit of the input reach every high bit of the output."""
  # One round less shows between four elements at the corners of a rectangle; a last
  # shift would only improve low bits, which nobody reads.
  x = (x ^ (x >> 16)) * jnp.uint32(MULTIPLIERS[0])
  return (x ^ (x >> 15)) * jnp.uint32(MULTIPLIERS[1])


def limit(rate: float | Array) -> UInt32[Array, ""]:
  """What the random bits of an element must reach to survive, in steps of 2^-24."""
  if isinstance(rate, int | float) and not 0 <= rate <= 1:
    raise UserError(f"dropout rate is {rate}; it must lie between 0 and 1.")
  # The steps that float32 can count, so that a traced rate decides as a static one.
  steps = jnp.asarray(rate, jnp.float32) * 2**RESOLUTION
  return jnp.clip(steps, 0, 2**RESOLUTION).astype(jnp.uint32)


def is_kept(bits: UInt32[Array, "..."], limit: UInt32[Array, ""]) -> Bool[Array, "..."]:
  """Turns random bits into decisions."""
  return (bits >> (32 - RESOLUTION)) >= limit


def inverse(rate: float | Array) -> Float[Array, ""]:
  """The factor for what is kept: 1 / (1 - rate), and 0 where nothing is."""
  share = 1.0 - jnp.asarray(rate, jnp.float32)
  return jnp.where(share > 0, 1.0 / jnp.where(share > 0, share, 1.0), 0.0)
