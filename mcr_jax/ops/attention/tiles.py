"""The three passes of attention over tiles of scores that never leave the registers.

A program holds a block of rows (queries, or keys in the last pass) and walks over
columns. Everything is laid out with the steps last, so that a feature of a block is one
run of memory, and scores are sums of d outer products on the ordinary cores: of a
tensor core that multiplies 64 x 16 by 16 x n, heads of 4 features would use a quarter,
in half precision. What the passes add up is always a sum over columns, which stays
inside a thread until its end; keys get a pass of their own rather than the sums across
threads, or the atomic additions in no fixed order, that one pass for all would take.

Scores count powers of two: the exponential of the hardware is that of two.

The floor of a pass on an H100: a multiprocessor takes 16 exponentials a clock and
issues 128 operations of a thread, so that 8 cost as much as an exponential.
With d features a head, a score takes, beside its exponential,

  forward  2 d + 3   score, maximum, distance, sum, value           d = 4: 11
  queries  3 d + 3   score, distance, value, ds, gradient        d = 4: 15
  keys     4 d + 4   the same, and gradients of value and bias      d = 4: 20

and with dropout 10 more in each pass, nine of them on integers, at half the rate.
Forward and backward cannot do without two exponentials a score, worth 16 operations;
this is 49, and 79 with dropout: at best 3.1 times the floor, and 4.9. Memory is not
in sight of being a bound.
"""

import functools
import inspect
import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import lax
from jax.experimental import pallas as pl
from jax.experimental.pallas import mosaic_gpu

from mcr_jax.ops import dropout as counter

# The rows that a warpgroup of 128 threads can share, by the hardware's layout of a
# tile: a thread has every eighth row and a quarter of the columns.
ROWS = 64
# Columns of a tile, by pass. Narrow tiles add up across threads more often; in wide
# ones the backward passes would need more registers than a thread has. Not measured.
COLUMNS = {"forward": 64, "to_queries": 32, "to_keys": 32}


# The axes of the grid.
GRID = ("sample", "head", "block")


class Tile(NamedTuple):
  """The shape of a tile, and whether a GPU computes it or the interpreter."""

  rows: int
  columns: int
  steps: int
  gpu: bool

  @classmethod
  def over(cls, columns: int, most: int, gpu: bool) -> "Tile":
    """Tiles of `most` columns or fewer that cover `columns`, with little to spare."""
    steps = -(-columns // most)
    # The hardware's layout has columns by eight.
    return cls(ROWS, 8 * -(-columns // (8 * steps)), steps, gpu)

  @property
  def place(self):
    """Sample and head of this program."""
    return self._index(0), self._index(1)

  def row(self, ref, *index):
    """A number for each row of the block that this program holds."""
    return self._load(ref.at[(*index, self._block())], 1)

  def column(self, ref, step, *index):
    """A number for each column of a step."""
    block = pl.ds(step * self.columns, self.columns)
    return self._load(ref.at[(*index, block)], 0)

  def fill(self, value, dtype):
    """The same number for each row."""
    return self._place(jnp.full((self.rows,), value, dtype), 1)

  def down(self, row):
    """A number a row, on all columns."""
    return self._spread(row, 0)

  def across(self, column):
    """A number a column, on all rows."""
    return self._spread(column, 1)

  def store(self, ref, value, *index):
    """Writes a number for each row."""
    ref[(*index, self._block())] = value

  def walk(self, body, start):
    """`body(step, sums)` over the columns."""
    return lax.fori_loop(0, self.steps, body, start)

  def _index(self, axis):
    return lax.axis_index(GRID[axis]) if self.gpu else pl.program_id(axis)

  def _block(self):
    return pl.ds(self._index(2) * self.rows, self.rows)

  def _spread(self, vector, axis):
    return self._place(
      lax.broadcast_in_dim(vector, (self.rows, self.columns), (axis,)), None
    )

  def _load(self, ref, reduced):
    if not self.gpu:
      return ref[...]
    # Until JAX 0.11 an index came second.
    old = "idx" in inspect.signature(mosaic_gpu.load).parameters
    load = mosaic_gpu.load(ref, *([()] if old else []), optimized=False)
    return self._place(load, reduced)

  def _place(self, value, reduced):
    if not self.gpu:
      return value
    layout = mosaic_gpu.Layout.WGMMA
    layout = layout if reduced is None else layout.reduce(reduced)
    return mosaic_gpu.layout_cast(value, layout)


def forward(tile, features, drop_state, query, key, value, shift, *refs):
  """What is read, and the logarithm of every row's sum."""
  *keep_states, read, lse = refs
  at = tile.place
  queries = [tile.row(query, *at, d) for d in range(features[0])]
  keep_scale = _keep_scale(tile, drop_state, keep_states, at, by_row=True)
  dtype = query.dtype

  def body(step, carry):
    peak, total, sums = carry
    scores = tile.across(tile.column(shift, step, at[0]))
    for d, x in enumerate(queries):
      scores += tile.down(x) * tile.across(tile.column(key, step, *at, d))
    higher = lax.max(peak, scores.max(1))
    weights = jnp.exp2(scores - tile.down(higher))
    fade = jnp.exp2(peak - higher)
    total = total * fade + weights.sum(1)
    kept = keep_scale(step)(weights)
    columns = (tile.column(value, step, *at, e) for e in range(features[1]))
    sums = [
      old * fade + (kept * tile.across(column)).sum(1)
      for old, column in zip(sums, columns, strict=True)
    ]
    return higher, total, sums

  zero = tile.fill(0.0, dtype)
  lowest = tile.fill(float(jnp.finfo(jnp.float32).min), dtype)
  peak, total, sums = tile.walk(body, (lowest, zero, [zero] * features[1]))
  for e, x in enumerate(sums):
    tile.store(read, x / total, *at, e)
  tile.store(lse, peak + jnp.log(total) * (1 / math.log(2)), *at)


def to_queries(
  tile, features, drop_state, query, key, value, shift, do, lse, delta, *refs
):
  """The gradient of the queries."""
  *keep_states, gradient = refs
  at = tile.place
  queries = [tile.row(query, *at, d) for d in range(features[0])]
  dos = [tile.row(do, *at, e) for e in range(features[1])]
  sums_of_rows, deltas = tile.row(lse, *at), tile.row(delta, *at)
  keep_scale = _keep_scale(tile, drop_state, keep_states, at, by_row=True)

  def body(step, sums):
    keys = [tile.across(tile.column(key, step, *at, d)) for d in range(features[0])]
    scores = tile.across(tile.column(shift, step, at[0]))
    for x, y in zip(queries, keys, strict=True):
      scores += tile.down(x) * y
    weights = jnp.exp2(scores - tile.down(sums_of_rows))
    ds = _outer(
      (tile.down(x), tile.across(tile.column(value, step, *at, e)))
      for e, x in enumerate(dos)
    )
    ds = weights * (keep_scale(step)(ds) - tile.down(deltas))
    return [old + (ds * y).sum(1) for old, y in zip(sums, keys, strict=True)]

  zero = tile.fill(0.0, query.dtype)
  for d, x in enumerate(tile.walk(body, [zero] * features[0])):
    tile.store(gradient, x, *at, d)


def to_keys(
  tile, features, drop_state, query, key, value, shift, do, lse, delta, *refs
):
  """The gradients of keys, values and what shifts the scores; rows are keys here."""
  *keep_states, to_key, to_value, to_shift = refs
  at = tile.place
  keys = [tile.row(key, *at, d) for d in range(features[0])]
  values = [tile.row(value, *at, e) for e in range(features[1])]
  shifts = tile.row(shift, at[0])
  keep_scale = _keep_scale(tile, drop_state, keep_states, at, by_row=False)

  def body(step, carry):
    by_key, by_value, by_shift = carry
    queries = [
      tile.across(tile.column(query, step, *at, d)) for d in range(features[0])
    ]
    dos = [tile.across(tile.column(do, step, *at, e)) for e in range(features[1])]
    scores = tile.down(shifts)
    for x, y in zip(keys, queries, strict=True):
      scores += tile.down(x) * y
    weights = jnp.exp2(scores - tile.across(tile.column(lse, step, *at)))
    ds = _outer((tile.down(x), y) for x, y in zip(values, dos, strict=True))
    deltas = tile.across(tile.column(delta, step, *at))
    drop = keep_scale(step)
    ds, kept = weights * (drop(ds) - deltas), drop(weights)
    return (
      [old + (ds * y).sum(1) for old, y in zip(by_key, queries, strict=True)],
      [old + (kept * y).sum(1) for old, y in zip(by_value, dos, strict=True)],
      by_shift + ds.sum(1),
    )

  zero = tile.fill(0.0, query.dtype)
  start = [zero] * features[0], [zero] * features[1], zero
  by_key, by_value, by_shift = tile.walk(body, start)
  for d, x in enumerate(by_key):
    tile.store(to_key, x, *at, d)
  for e, x in enumerate(by_value):
    tile.store(to_value, x, *at, e)
  tile.store(to_shift, by_shift, *at)


def _outer(pairs):
  """The sum of products, started without a zero."""
  return functools.reduce(jnp.add, (x * y for x, y in pairs))


def _keep_scale(tile, drop_state, refs, at, by_row):
  """step -> what drops entries of the tile; where `by_row`, rows are queries."""
  if not drop_state:
    return lambda step: lambda x: x
  states, positions, limit = refs
  least = limit[at[0]]
  rows = tile.row(states, *at) if by_row else tile.row(positions, at[0])

  def keep_scale(step):
    if by_row:
      columns = tile.column(positions, step, at[0])
    else:
      columns = tile.column(states, step, *at)
    bits = counter.finalise(tile.down(rows) + tile.across(columns))
    kept = counter.is_kept(bits, least)
    return lambda x: jnp.where(kept, x, jnp.zeros_like(x))

  return keep_scale
