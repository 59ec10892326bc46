"""Layers of one kind on top of each other, with one tree of stacked parameters."""

import operator
from collections.abc import Callable, Mapping

import flax.linen as nn
import jax
from jaxtyping import Array, Bool, PyTree

# Steps in a batch, over all modalities. What MCR or MulT keeps of so many is half a GB.
SMALL_BATCH = 2**13


def recomputes(asked: bool, masks: Mapping[str, Bool[Array, "B _"]]) -> bool:
  """Whether layers are computed again in the backward pass.

  `asked`, except of a batch so small that its layers may as well be kept. A run in
  length buckets has both: programs that need it and programs that would only be slowed
  down.
  """
  return asked and sum(mask.size for mask in masks.values()) > SMALL_BATCH


def stack(layer: Callable, depth: int, *, rolled: bool) -> Callable:
  """A module class of `depth` layers, whose parameters have a leading axis of layers.

  Args:
    layer: a module class, (carry, *inputs) -> (carry, result); all layers are given the
      same inputs, and their results are stacked.
    depth: how many layers.
    rolled: whether the program has one loop in place of all layers: compiled sooner,
      slower by what stacking costs. Where layers are recomputed it must be one:
      unrolled, XLA may recompute all of them before it needs the first.
  """
  return nn.scan(
    layer,
    variable_axes={"params": 0},
    split_rngs={"params": True, "dropout": True},
    in_axes=nn.broadcast,
    length=depth,
    unroll=1 if rolled else depth,
    # Nothing is broadcast back, and looking for it would trace a layer twice.
    check_constancy_invariants=False,
  )


def unstack(results: PyTree, depth: int) -> dict[str, PyTree]:
  """The stacked results by layer, `layer_0` and so on."""
  row = lambda i: jax.tree.map(operator.itemgetter(i), results)
  return {f"layer_{i}": row(i) for i in range(depth)}
