"""A loop over time whose steps read all that came before them, such as attention.

A loop that carries its past is differentiated with a copy of the past a step, T^2
states in all, and adds to the gradient of every matrix at every step. Here the past is
kept once, steps are computed again on the way back, and the gradient of a matrix is one
product behind the loop.

Axes: T steps, B samples.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Integer, PyTree

Multiply = Callable[[str, Array], Array]
"""(name of a matrix, (..., H)) to the product (..., G), in float32 or wider."""
Step = Callable[..., tuple[Any, Any]]
"""(state, x, given, t, multiply, history) to (next state, what history gets at t).

Of `history` a step may read the rows before t alone; in the others anything stands.
"""


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def scan(
  step: Step,
  x: PyTree[Float[Array, "T ..."]],
  given: PyTree,
  matrices: dict[str, Float[Array, "_ _"]],
  state: PyTree[Float[Array, "..."]],
  history: PyTree[Float[Array, "T ..."]],
) -> PyTree[Float[Array, "T ..."]]:
  """What T steps leave in the history.

  Args:
    step: of the loop; multiplies by `matrices` through its argument alone, each once.
    x: what is differentiated of the inputs, a row a step.
    given: what is not, a row a step.
    matrices: by name.
    state: before the first step, a constant.
    history: before the first step, a constant, whose values are overwritten.
  """
  return _forward(step, x, given, matrices, state, history)[0]


def _forward(step, x, given, matrices, state, history):
  multiply = lambda name, x: _product(x, matrices[name])

  def one(carry, inputs):
    state, history = carry
    t, x, given = inputs
    after, entry = step(state, x, given, t, multiply, history)
    write = lambda rows, row: jax.lax.dynamic_update_index_in_dim(rows, row, t, 0)
    return (after, jax.tree.map(write, history, entry)), state

  steps = _steps(history)
  (_, history), states = jax.lax.scan(one, (state, history), (steps, x, given))
  return history, (x, given, matrices, states, history)


def _backward(step, saved, cotangents):
  x, given, matrices, states, history = saved
  steps = _steps(history)

  def replay(state, x, extra, history, t, given):
    """A step with something added to its products, and what it multiplied."""
    factors = {}

    def multiply(name, factor):
      assert name not in factors, f"{name} is multiplied twice"
      factors[name] = factor.astype(matrices[name].dtype)
      return _product(factor, matrices[name]) + extra.get(name, 0)

    return step(state, x, given, t, multiply, history), factors

  row = lambda tree: jax.tree.map(lambda a: a[0], tree)
  _, shapes = jax.eval_shape(
    replay, row(states), row(x), {}, history, steps[0], row(given)
  )
  wide = jax.tree.leaves(states)[0].dtype
  extra = {
    name: jnp.zeros((*factor.shape[:-1], matrices[name].shape[-1]), wide)
    for name, factor in shapes.items()
  }

  def one(carry, inputs):
    d_state, d_history = carry
    t, x, given, state = inputs
    run = functools.partial(replay, t=t, given=given)
    _, transpose, factors = jax.vjp(run, state, x, extra, history, has_aux=True)
    d_entry = jax.tree.map(lambda rows: rows[t], d_history)
    d_state, d_x, d_products, d_read = transpose((d_state, d_entry))
    return (d_state, jax.tree.map(jnp.add, d_history, d_read)), (
      d_x,
      d_products,
      factors,
    )

  start = jax.tree.map(lambda a: jnp.zeros(a.shape[1:], a.dtype), states), cotangents
  _, (d_x, d_products, factors) = jax.lax.scan(
    one, start, (steps, x, given, states), reverse=True
  )
  d_matrices = {
    name: jnp.einsum("...h,...g->hg", factors[name], d.astype(factors[name].dtype))
    for name, d in d_products.items()
  }
  return d_x, None, d_matrices, None, None


scan.defvjp(_forward, _backward)


def _product(x, matrix):
  product = x.astype(matrix.dtype) @ matrix
  return product.astype(jnp.promote_types(product.dtype, jnp.float32))


def _steps(history) -> Integer[Array, "T"]:
  return jnp.arange(len(jax.tree.leaves(history)[0]))
