"""Random keys from a hash: a few operations where JAX's take a loop.

A model asks for a key at every parameter that it draws and every place where it drops,
each time folding a path into the one before. With the generator that JAX has by
default each of those is a loop of twenty rounds, and compiling hundreds of loops is a
large part of the time to a first step. Parameters and dropout need numbers without a
pattern, not cryptography: here they come from the hash that dropout itself uses.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl
from jaxtyping import Array, UInt32

from mcr_jax.ops.dropout import finalise

# Odd and without pattern, one a word of the key.
WORDS = (0x9E3779B9, 0x85EBCA77)


def fast_key(key: Array) -> Array:
  """A key of this generator, from a key of any other."""
  data = jax.random.bits(key, (2,), jnp.uint32)
  return jax.random.wrap_key_data(data, impl=_HASHED)


def _seed(seed: Array) -> UInt32[Array, "2"]:
  return _fold_in(jnp.zeros(2, jnp.uint32), jnp.asarray(seed).astype(jnp.uint32))


def _fold_in(key: UInt32[Array, "2"], number: UInt32[Array, ""]) -> UInt32[Array, "2"]:
  return jnp.stack(_mixed(key, number), -1)


def _split(key: UInt32[Array, "2"], shape: tuple[int, ...]) -> UInt32[Array, "... 2"]:
  return jnp.stack(_mixed(key, _count(shape)), -1)


def _bits(key: UInt32[Array, "2"], width: int, shape: tuple[int, ...]) -> Array:
  if width > 32:
    high, low = (_bits(k, 32, shape) for k in _split(key, (2,)))
    return (high.astype(jnp.uint64) << 32) | low
  first, second = _mixed(key, _count(shape))
  # The high bits: `finalise` leaves the low ones as they fall.
  return (finalise(first ^ second) >> (32 - width)).astype(f"uint{width}")


def _mixed(key, numbers) -> tuple[Array, Array]:
  """Two words for each number, every bit of which hangs on both words of the key."""
  word = lambda i: jnp.uint32(WORDS[i])
  first = finalise(key[0] + numbers * word(0) + word(1))
  return first, finalise(finalise(key[1] + first) ^ numbers)


def _count(shape: tuple[int, ...]) -> UInt32[Array, "..."]:
  """1, 2, 3, ... in an array of a shape."""
  return jnp.arange(1, int(np.prod(shape)) + 1, dtype=jnp.uint32).reshape(shape)


_HASHED = define_prng_impl(
  key_shape=(2,),
  seed=_seed,
  split=_split,
  random_bits=_bits,
  fold_in=_fold_in,
  name="mcr_jax_hash",
  tag="hash",
)
