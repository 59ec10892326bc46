"""Attention of tiny heads as a kernel of our own: scores live in registers only.

The kernels are written in Pallas for its Mosaic GPU backend (Hopper and later), and run
anywhere in its interpreter, which is for tests. The forward pass keeps the logarithm of
every row's sum, the backward pass computes the weights again from it, as in `blocked`;
memory grows with the steps, not with their pairs. Dropout asks the same counter as the
other implementations. See `tiles` for what a pass costs and what bounds it.

It is for one GPU: on a mesh of several, its operands are gathered. Not proved on a GPU
yet: `auto` does not choose it (`bin/gpu_check` measures both).
"""

import functools
import math

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.custom_batching import custom_vmap
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError
from mcr_jax.ops import dropout as counter
from mcr_jax.ops.attention.features import SAVED
from mcr_jax.ops.dropout import Dropout

# Features of queries and of values that fit the registers of a thread.
MAX_FEATURES = 16


def require(capability: str, dtype: jnp.dtype) -> None:
  """Raises a `UserError` where a GPU cannot serve this call."""
  if tuple(map(int, capability.split("."))) < (9, 0):
    reason = f"it needs compute capability 9.0 (Hopper), and this GPU has {capability}"
  elif dtype == jnp.float64:
    reason = "it takes float32 and narrower, and this is float64"
  else:
    return
  raise UserError(f"attention implementation 'pallas': {reason}.")


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
  dropout: Dropout | None,
  *,
  gpu: bool,
) -> Float[Array, "B Q H E"]:
  """Reads the values; what is masked must be zero already.

  `gpu` says for what to compile: a GPU, or the interpreter.
  """
  dtype = value.dtype
  wide = jnp.promote_types(dtype, jnp.float32)
  batch, queries, heads, _ = query.shape
  keys = key.shape[1]
  shift = jnp.zeros((batch, keys), wide) if bias is None else bias.astype(wide)
  shift = shift / math.log(2)
  if mask is not None:
    # Finite, so that a row without keys stays finite: it reads the mean of zeros.
    shift = jnp.where(mask, shift, -1e30)
  query = query.astype(wide) * (scale / math.log(2))
  query, key, value = (
    _whole(x.astype(wide).transpose(0, 2, 3, 1)) for x in (query, key, value)
  )
  drop_state, rescale = None, None
  if dropout is not None:
    drop_state, rescale = _drop_state(batch, queries, heads, keys, dropout, wide)
  read = _attend(
    (queries, keys, gpu), query, key, value, _whole(shift, -1e30), drop_state
  )
  if rescale is not None:
    read = read * rescale
  return read[..., :queries].transpose(0, 3, 1, 2).astype(dtype)


def _whole(x, fill=0):
  """Steps, the last axis, to whole blocks."""
  from mcr_jax.ops.attention import tiles

  return jnp.pad(
    x,
    ((0, 0),) * (x.ndim - 1) + ((0, -x.shape[-1] % tiles.ROWS),),
    constant_values=fill,
  )


def _drop_state(batch, queries, heads, keys, dropout, dtype):
  """States of rows and of columns, and what their hash must reach, by sample."""
  positions = counter.index(queries, dropout.query)
  states = counter.rows(
    dropout.seed, counter.index(batch), counter.index(heads), positions
  )
  columns = counter.columns(counter.index(keys, dropout.key))
  columns = jnp.broadcast_to(columns[None], (batch, keys))
  limit = jnp.broadcast_to(counter.limit(dropout.rate), (batch,))
  rescale = counter.inverse(dropout.rate).astype(dtype)
  return (_whole(states), _whole(columns), limit), rescale


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attend(sizes, *operands):
  return _forward(sizes, *operands)[0]


def _forward(sizes, query, key, value, shift, drop_state):
  shapes = value.shape[:3] + query.shape[3:], query.shape[:2] + query.shape[3:]
  inputs = query, key, value, shift, *(drop_state or ())
  read, lse = _call("forward", sizes, shapes, inputs)
  read, lse = checkpoint_name(read, SAVED), checkpoint_name(lse, SAVED)
  return read, (query, key, value, shift, drop_state, read, lse)


def _backward(sizes, saved, do):
  query, key, value, shift, drop_state, read, lse = saved
  delta = (do * read).sum(2)
  inputs = query, key, value, shift, do, lse, delta, *(drop_state or ())
  [to_query] = _call("to_queries", sizes, [query.shape], inputs)
  shapes = key.shape, value.shape, key.shape[:2] + key.shape[3:]
  to_key, to_value, to_shift = _call("to_keys", sizes, shapes, inputs)
  # The derivative of a power of two.
  to_query, to_key, to_shift = (
    x * math.log(2) for x in (to_query, to_key, to_shift.sum(1))
  )
  return to_query, to_key, to_value, to_shift, None


_attend.defvjp(_forward, _backward)


def _call(name, sizes, shapes, inputs):
  """One pass over all samples and heads; samples of mapped axes are samples."""
  from jax.experimental import pallas as pl
  from jax.experimental.pallas import mosaic_gpu

  from mcr_jax.ops.attention import tiles

  queries, keys, gpu = sizes
  rows, columns = (keys, queries) if name == "to_keys" else (queries, keys)
  tile = tiles.Tile.over(columns, tiles.COLUMNS[name], gpu)
  _, heads, *features = inputs[0].shape[:3] + inputs[2].shape[2:3]
  drop_state = inputs[-1].dtype == jnp.uint32
  kernel = functools.partial(getattr(tiles, name), tile, features, drop_state)
  blocks = -(-rows // tiles.ROWS)

  @custom_vmap
  def run(*inputs):
    batch, dtype = inputs[0].shape[0], inputs[0].dtype
    out = [jax.ShapeDtypeStruct((batch, *shape[1:]), dtype) for shape in shapes]
    grid = batch, heads, blocks
    if not gpu:
      program = pl.pallas_call(kernel, out, grid=grid, interpret=True)
    else:
      program = mosaic_gpu.kernel(
        kernel,
        out_type=out,
        grid=grid,
        grid_names=tiles.GRID,
        compiler_params=mosaic_gpu.CompilerParams(
          approx_math=True, lowering_semantics=mosaic_gpu.LoweringSemantics.Lane
        ),
      )
    return list(program(*inputs))

  @run.def_vmap
  def fold(size, batched, *inputs):
    spread = lambda x, was: x if was else jnp.broadcast_to(x[None], (size, *x.shape))
    inputs = [spread(x, was) for x, was in zip(inputs, batched, strict=True)]
    outputs = run(*(x.reshape(-1, *x.shape[2:]) for x in inputs))
    split = lambda x: x.reshape(size, -1, *x.shape[1:])
    return [split(x) for x in outputs], [True] * len(outputs)

  return run(*inputs)
