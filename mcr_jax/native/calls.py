"""The kernels as functions of JAX arrays: mapped, divided among devices, compiled.

All leading axes of the operands are samples. Mapping adds one, and a mesh may divide
them and the heads; each device then computes its own share, and nothing is gathered.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap
from jax.experimental.custom_partitioning import (
  BATCHING,
  ArrayMapping,
  SdyShardingRule,
  custom_partitioning,
)
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

# The axes of the arrays after those of samples: queries, keys, heads, features of keys
# and of values. What is absent has one step, whose axis is a capital.
HEADS = "h"
QUERY, KEY, VALUE, READ, ROW = "qhd", "khd", "khe", "qhe", "hq"


def forward(static, arrays):
  """(read, peak, total) of `Forward` in src/kernels.h.

  Args:
    static: (scale, whether weights are dropped, instruction set).
    arrays: query, key, value, query_mask, key_mask, bias, rows, columns, limit,
      rescale; an absent mask or bias is one neutral step.
  """
  axes = _axes(static, arrays)
  return _call("mcr_jax_attention_forward", static, axes, (READ, ROW, ROW))(*arrays)


def backward(static, arrays, read, peak, total, d_read):
  """(d_query, d_key, d_value, d_bias by head) of `Backward` in src/kernels.h."""
  axes = _axes(static, arrays)
  results = QUERY, KEY, VALUE, HEADS + axes[5]
  axes = *axes, READ, ROW, ROW, READ
  call = _call("mcr_jax_attention_backward", static, axes, results)
  return call(*arrays, read, peak, total, d_read)


def _axes(static, arrays):
  """The axes of what both passes read."""
  queries, keys = arrays[0].shape[-3], arrays[1].shape[-3]
  query_mask, key_mask, bias = (x.shape[-1] for x in arrays[3:6])
  return (
    *(QUERY, KEY, VALUE),
    "q" if query_mask == queries else "Q",
    "k" if key_mask == keys else "K",
    "k" if bias == keys else "B",
    *((ROW, "k") if static[1] else ("R", "C")),
    *("", ""),
  )


def _call(target, static, axes, results):
  """The custom call as a function of arrays."""
  scale, drop, instructions = static

  def share(*arrays):
    """What one device computes; by its share of the operands."""
    sizes = {}
    for x, names in zip(arrays, axes, strict=True):
      sizes |= dict(zip(names, x.shape[x.ndim - len(names) :], strict=True))
    samples = arrays[0].shape[:-3]
    shape = lambda names: (*samples, *(sizes[name] for name in names))
    out = [jax.ShapeDtypeStruct(shape(names), jnp.float32) for names in results]
    call = jax.ffi.ffi_call(target, out)
    options = dict(scale=np.float32(scale), drop=drop, instructions=instructions)
    return tuple(call(*arrays, **options))

  return _mapped(_divided(share, axes, results, f"{target} {static}"))


def _mapped(function):
  """`function`, whose operands have one more axis of samples where a caller maps it."""

  @custom_vmap
  def run(*arrays):
    return function(*arrays)

  @run.def_vmap
  def more(size, mapped, *arrays):
    spread = lambda x: jnp.broadcast_to(x[None], (size, *x.shape))
    arrays = [x if was else spread(x) for x, was in zip(arrays, mapped, strict=True)]
    results = run(*arrays)
    return results, (True,) * len(results)

  return run


def _divided(function, axes, results, name):
  """`function` computed by shares of samples and heads on a mesh of devices.

  Its name is an operand that nobody reads: of the function itself a program that is
  not divided yet shows only an address, by which the compilation cache would take one
  for another.
  """
  if jax.device_count() == 1:
    return function
  name = np.frombuffer(name.encode(), np.uint8)
  divided = custom_partitioning(lambda _, *arrays: function(*arrays))
  mapping = lambda names: ArrayMapping(BATCHING, *names)

  def partition(mesh, operands, _):
    query = operands[1]
    sharding = query.sharding
    spec = *sharding.spec, *(None,) * (query.ndim - len(sharding.spec))
    samples, heads = spec[:-3], spec[-2]

    def place(names):
      return NamedSharding(
        sharding.mesh, P(*samples, *(heads if x == HEADS else None for x in names))
      )

    run = lambda _, *arrays: function(*arrays)
    whole = NamedSharding(sharding.mesh, P())
    return mesh, run, tuple(map(place, results)), (whole, *map(place, axes))

  divided.def_partition(
    partition=partition,
    sharding_rule=SdyShardingRule(
      (ArrayMapping("name"), *map(mapping, axes)),
      tuple(map(mapping, results)),
      # In the order of their first use, which Shardy's verifier asks for.
      need_replication_factors=tuple(
        x for x in dict.fromkeys(["name", *"".join(axes)]) if x != HEADS
      ),
    ),
  )
  return lambda *arrays: divided(name, *arrays)
