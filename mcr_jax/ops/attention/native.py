"""Attention by kernels that were compiled ahead of time, for CPUs.

A score never leaves the registers and a few kilobytes of cache; the backward pass
computes the weights again, from the largest score and the sum of each row. Keys and
queries that are padding are left out before anything is computed. Dropout asks the same
counter as the other implementations.
"""

import functools

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from mcr_jax import native as library
from mcr_jax.errors import UserError
from mcr_jax.native import calls
from mcr_jax.ops import dropout as counter
from mcr_jax.ops.attention.features import SAVED
from mcr_jax.ops.dropout import Dropout

MOST = 256
"""Features a head; what the kernels hold of more leaves the cache."""


def lacks(query: Array, key: Array, value: Array) -> str:
  """What the kernels do not have for this call; empty where they serve it.

  Raises:
    UserError: they cannot be used here at all.
  """
  platform = jax.default_backend()
  if platform != "cpu":
    raise UserError(
      f"attention implementation 'native' runs on a CPU, and this is a {platform}: use "
      "'auto'."
    )
  library.require()
  dtype, features = (
    jnp.result_type(query, key, value),
    max(key.shape[3], value.shape[3]),
  )
  if dtype == jnp.float64:
    return "float64"
  if not isinstance(query.shape[0], int):
    return "a batch of any size"
  if features > MOST:
    return f"heads of {features} features"
  return ""


def serves(query: Array, key: Array, value: Array) -> bool:
  """Whether the kernels are there and have what this call needs."""
  there = jax.default_backend() == "cpu" and library.status().available
  return there and not lacks(query, key, value)


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None,
  query_mask: Bool[Array, "B Q"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
  dropout: Dropout | None,
) -> Float[Array, "B Q H E"]:
  """Reads the values; what is masked is not looked at."""
  dtype = value.dtype
  query, key, value = (x.astype(jnp.float32) for x in (query, key, value))
  batch = len(query)
  absent = jnp.ones((batch, 1), bool)
  arrays = (
    *(query, key, value),
    absent if query_mask is None else query_mask,
    absent if mask is None else mask,
    jnp.zeros((batch, 1), jnp.float32) if bias is None else bias.astype(jnp.float32),
    *_drop_state(query, key, dropout),
  )
  static = float(scale), dropout is not None, library.require()
  return _attend((static, bias is not None), *arrays).astype(dtype)


def _drop_state(query, key, dropout):
  """States of rows and columns, what their hash must reach, and a factor."""
  batch, queries, heads, _ = query.shape
  if dropout is None:
    none = jnp.zeros((batch, 1), jnp.uint32)
    return none, none, none[:, 0], jnp.ones((batch,), jnp.float32)
  positions = counter.index(queries, dropout.query)
  rows = counter.rows(
    dropout.seed, counter.index(batch), counter.index(heads), positions
  )
  columns = counter.columns(counter.index(key.shape[1], dropout.key))
  return (
    rows,
    jnp.broadcast_to(columns[None], (batch, len(columns))),
    jnp.broadcast_to(counter.limit(dropout.rate), (batch,)),
    jnp.broadcast_to(counter.inverse(dropout.rate), (batch,)),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(static, *arrays):
  return _forward(static, *arrays)[0]


def _forward(static, *arrays):
  read, peak, total = (
    checkpoint_name(x, SAVED) for x in calls.forward(static[0], arrays)
  )
  return read, (arrays, read, peak, total)


def _backward(static, saved, d_read):
  arrays, *read = saved
  *gradients, by_head = calls.backward(static[0], arrays, *read, d_read)
  bias = by_head.sum(-2) if static[1] else jnp.zeros_like(arrays[5])
  return *gradients, None, None, bias, None, None, None, None


_attend.defvjp(_forward, _backward)
