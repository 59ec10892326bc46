"""Attention in blocks that fit a cache: memory linear in the keys, no stored weights.

The scores of (samples x heads x queries) x keys are walked in blocks. The forward pass
keeps the logarithm of every row's sum of exponentials, and the backward pass computes
the weights of a block again from it: on a CPU the exponential of a number that is in
the cache costs less than reading back one that is not. With

  p = exp(s - lse),  o = p v,  dp = do v^T,  ds = p (dp - do . o)

no row needs a second look at its other keys, and dropout (which scales p in o and in
dp alike) leaves do . o the right correction.
"""

import functools
from math import gcd
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Bool, Float

from mcr_jax.ops import dropout as counter
from mcr_jax.ops.attention.features import SAVED, extend
from mcr_jax.ops.dropout import Dropout


class Plan(NamedTuple):
  """How much of each axis a block takes; all keys are always in it."""

  samples: int
  heads: int
  queries: int


def plan(batch: int, queries: int, keys: int, heads: int, size: int) -> Plan:
  """Blocks of `size` scores or fewer, except that one head may have three times that.

  Cutting the queries of a head costs sums of the gradients of its keys, so that starts
  late. A block takes eight samples or more where the batch allows, and they lie in it
  as the batch lies on the devices: every device of a mesh has work in every block.
  """
  samples = gcd(batch, 8)
  head = samples * queries * keys
  if head > size:
    return Plan(samples, 1, -(-queries // -(-head // (3 * size))))
  together = _divisor(heads, size // head)
  if together == heads:
    samples *= _divisor(batch // samples, size // (head * heads))
  return Plan(samples, together, queries)


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
  dropout: Dropout | None,
  blocks: Plan,
) -> Float[Array, "B Q H E"]:
  """Reads the values, block by block."""
  dtype = value.dtype
  wide = jnp.promote_types(dtype, jnp.float32)
  query, key, value = (x.astype(wide) for x in (query, key, value))
  query, key = extend(query, key, mask, bias, scale)
  drop_state = None if dropout is None else _drop_state(query, key, dropout)
  return _attend(blocks, query, key, value, drop_state).astype(dtype)


def _divisor(number, most):
  """The largest divisor of `number` that is no more than `most`."""
  return max(d for d in range(1, number + 1) if number % d == 0 and d <= max(1, most))


def _drop_state(query, key, dropout):
  """What a block needs to decide who is dropped: states of rows and columns, odds."""
  batch, queries, heads, _ = query.shape
  positions = counter.index(queries, dropout.query)
  rows = counter.rows(
    dropout.seed, counter.index(batch), counter.index(heads), positions
  )
  columns = counter.columns(counter.index(key.shape[1], dropout.key))
  rescale = counter.inverse(dropout.rate).astype(query.dtype)
  return (
    rows.transpose(0, 2, 1)[..., None],
    columns,
    counter.limit(dropout.rate),
    rescale,
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(blocks, query, key, value, drop_state):
  return _forward(blocks, query, key, value, drop_state)[0]


def _forward(blocks, query, key, value, drop_state):
  def group(query, rows, key, value):
    key = key.swapaxes(-1, -2)
    # A column of ones adds the weights up in the product that reads the values.
    wider = jnp.concatenate([value, jnp.ones_like(value[..., :1])], -1)

    def block(query, rows):
      scores = jnp.einsum("nhqd,nhdk->nhqk", query, key)
      peak = scores.max(-1, keepdims=True)
      weights = jnp.exp(scores - peak)
      if drop_state is None:
        read = jnp.einsum("nhqk,nhke->nhqe", weights, wider)
        read, total = read[..., :-1], read[..., -1:]
      else:
        total = weights.sum(-1, keepdims=True)
        kept = weights * _keep_scale(rows, drop_state)
        read = jnp.einsum("nhqk,nhke->nhqe", kept, value)
      return read / total, peak + jnp.log(total)

    return _map(block, query, rows)

  rows = None if drop_state is None else drop_state[0]
  read, lse = _map(group, *_pieces(blocks, (query, rows), (key, value)))
  read = checkpoint_name(_join(read, *query.shape[:2]), SAVED)
  lse = checkpoint_name(lse, SAVED)
  return read, (query, key, value, drop_state, read, lse)


def _backward(blocks, saved, do):
  query, key, value, drop_state, read, lse = saved

  def group(lse, query, do, delta, rows, key, value):
    turned, upright = key.swapaxes(-1, -2), value.swapaxes(-1, -2)

    def block(sums, inputs):
      lse, query, do, delta, rows = inputs
      weights = jnp.exp(jnp.einsum("nhqd,nhdk->nhqk", query, turned) - lse)
      ds, kept = jnp.einsum("nhqe,nhek->nhqk", do, upright), weights
      if drop_state is not None:
        keep_scale = _keep_scale(rows, drop_state)
        ds, kept = ds * keep_scale, weights * keep_scale
      ds = weights * (ds - delta)
      to_key = jnp.einsum("nhqd,nhqk->nhdk", query, ds)
      to_value = jnp.einsum("nhqe,nhqk->nhek", do, kept)
      to_query = jnp.einsum("nhqk,nhkd->nhqd", ds, key)
      return (sums[0] + to_key, sums[1] + to_value), to_query

    start = jnp.zeros_like(turned), jnp.zeros_like(upright)
    sums, to_query = _scan(block, start, lse, query, do, delta, rows)
    return to_query, *(x.swapaxes(-1, -2) for x in sums)

  delta = (do * read).sum(-1, keepdims=True)
  rows = None if drop_state is None else drop_state[0]
  pieces = _pieces(blocks, (query, do, delta, rows), (key, value))
  to_query, to_key, to_value = _map(group, lse, *pieces)
  to_query = _join(to_query, *query.shape[:2])
  to_key, to_value = (_join(x[:, None], *key.shape[:2]) for x in (to_key, to_value))
  return to_query, to_key, to_value, None


_attend.defvjp(_forward, _backward)


def _keep_scale(rows, drop_state):
  """The factor of every weight: 0 where dropped, else what makes up for the dropped."""
  _, columns, limit, rescale = drop_state
  kept = counter.is_kept(counter.finalise(rows + columns[None, None, None]), limit)
  return jnp.where(kept, rescale, jnp.zeros((), rescale.dtype))


def _pieces(blocks, by_query, by_key):
  """Everything with a leading axis of groups; what has queries, then one of blocks."""
  samples, heads, queries = blocks
  keys = by_key[0].shape[1]
  split = lambda x, steps: None if x is None else _split(x, samples, heads, steps)
  return (
    *(split(x, queries) for x in by_query),
    *(split(x, keys)[:, 0] for x in by_key),
  )


def _split(x, samples, heads, steps):
  """(B, T, H, D) to (groups, blocks, samples, heads, steps, D)."""
  batch, length, all_heads, features = x.shape
  count = -(-length // steps)
  x = jnp.pad(x, ((0, 0), (0, count * steps - length), (0, 0), (0, 0)))
  # The devices of a mesh hold whole runs of samples: the first half of this axis.
  x = x.reshape(
    samples, batch // samples, count, steps, all_heads // heads, heads, features
  )
  x = x.transpose(4, 1, 2, 0, 5, 3, 6)
  return x.reshape(-1, count, samples, heads, steps, features)


def _join(x, batch, length):
  """What `_split` has taken apart."""
  _, count, samples, heads, steps, features = x.shape
  x = x.reshape(-1, batch // samples, count, samples, heads, steps, features)
  x = x.transpose(3, 1, 2, 5, 0, 4, 6)
  return x.reshape(batch, count * steps, -1, features)[:, :length]


def _map(function, *xs):
  """`function` along the leading axis, without a loop where that is 1."""
  return _scan(lambda _, x: (None, function(*x)), None, *xs)[1]


def _scan(function, carry, *xs):
  if jax.tree.leaves(xs)[0].shape[0] > 1:
    return jax.lax.scan(function, carry, xs)
  carry, y = function(carry, jax.tree.map(lambda x: x[0], xs))
  return carry, jax.tree.map(lambda x: x[None], y)
