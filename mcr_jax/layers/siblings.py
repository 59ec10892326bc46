"""Sibling modules as one computation, where what they read has equal shapes.

Modules of one class that stand beside each other, such as a unit for each modality, do
the same to different numbers. Computed over a leading axis of siblings, a program has
one operation where it had as many as there are siblings: it is traced sooner, and a
device that takes microseconds to begin an operation begins fewer.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict
from jaxtyping import Array, PyTree


class Sibling(NamedTuple):
  """One of them.

  Attributes:
    unit: a submodule, which has the parameters and the randomness.
    inputs: what it is called with.
    roles: the name in a family of what has another name in each sibling: keys of its
      inputs, of its results and of its own parameters.
  """

  unit: nn.Module
  inputs: tuple[PyTree, ...]
  roles: Mapping[str, str] = FrozenDict()


def call(
  siblings: Sequence[Sibling],
  family: nn.Module,
  *,
  train: bool,
  together: bool = True,
) -> list[PyTree]:
  """What every sibling returns.

  Args:
    siblings: of one class.
    family: a module without a parent that does what each of them does, by roles; its
      parameters have the shapes of the largest of theirs, and what is beyond the end
      of smaller ones is zero.
    train: handed on.
    together: whether those of equal shapes are one computation.
  """
  if siblings[0].unit.is_initializing():
    return [unit(*inputs, train=train) for unit, inputs, _ in siblings]
  keys = [
    {"dropout": x.unit.make_rng("dropout")} if x.unit.has_rng("dropout") else {}
    for x in siblings
  ]
  params = [x.unit.variables.get("params", {}) for x in siblings]

  def run(module, params, key, inputs):
    return module.apply({"params": params}, *inputs, train=train, rngs=key)

  inputs = [_renamed(x.inputs, x.roles) for x in siblings]
  if not (together and len(siblings) > 1 and alike(inputs)):
    own = [x.unit.clone(parent=None) for x in siblings]
    given = zip(own, params, keys, (x.inputs for x in siblings), strict=True)
    return [run(*each) for each in given]
  params = [_renamed(p, x.roles) for p, x in zip(params, siblings, strict=True)]
  stacked = (jax.tree.map(_stack, *x) for x in (params, keys, inputs))
  results = jax.vmap(functools.partial(run, family))(*stacked)
  back = [{role: name for name, role in x.roles.items()} for x in siblings]
  row = lambda i: jax.tree.map(lambda x: x[i], results)
  return [_renamed(row(i), names) for i, names in enumerate(back)]


def alike(trees: Sequence[PyTree]) -> bool:
  """Whether all have the same structure, shapes and types."""
  described = [jax.tree.map(lambda x: (jnp.shape(x), x.dtype), t) for t in trees]
  return all(one == described[0] for one in described)


def _renamed(tree: Any, roles: Mapping[str, str]) -> Any:
  """`tree` with other keys, in itself and in the items of a tuple."""
  if type(tree) is tuple:
    return tuple(_renamed(x, roles) for x in tree)
  if not isinstance(tree, Mapping):
    return tree
  return {roles.get(name, name): x for name, x in tree.items()}


def _stack(*parts: Array | np.ndarray) -> Array:
  """Along a new first axis, with zeros beyond the ends of smaller arrays."""
  shape = tuple(map(max, *(x.shape for x in parts)))
  return jnp.stack([filled(jnp.asarray(x), shape) for x in parts])


def filled(x: Array, shape: tuple[int, ...]) -> Array:
  """`x` with zeros beyond its ends."""
  if x.shape == shape:
    return x
  return jnp.pad(x, [(0, most - n) for most, n in zip(shape, x.shape, strict=True)])
