"""Recurrent cells, and their loop over time: what is sequential, and no more.

The products of a cell with its inputs are one matrix product before the loop, and so is
the gradient of its recurrent weights after it: a loop that is differentiated as it
stands adds (H, G) numbers to that gradient at every step.

Axes: T steps, B samples, H the width of a state, G = H times the gates of the cell.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

State = tuple[Float[Array, "*B H"], ...]
"""What a cell carries from step to step; its output comes first."""


class Cell(NamedTuple):
  """One step of a recurrent network.

  Attributes:
    join: (products with the input (..., G), with the last output (..., G)) -> (..., J),
      what `step` needs of both. Linear.
    step: (state, joined) -> next state, elementwise.
    gates: blocks of width H in G, in the order of `join`.
    states: arrays in a state.
  """

  join: Callable[[Array, Array], Array]
  step: Callable[[State, Array], State]
  gates: int
  states: int


def lstm(state: State, joined: Float[Array, "*B J"]) -> State:
  """c' = s(f) c + s(i) tanh(g), h' = s(o) tanh(c'); gates i, f, g, o."""
  i, f, g, o = jnp.split(joined, 4, -1)
  cell = jax.nn.sigmoid(f) * state[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
  return jax.nn.sigmoid(o) * jnp.tanh(cell), cell


def gru(state: State, joined: Float[Array, "*B J"]) -> State:
  """n = tanh(x_n + s(r) u_n), h' = (1 - s(z)) n + s(z) h; gates r, z, n.

  As in cuDNN and PyTorch, r gates the product u_n and not the output before it.
  """
  r, z, x_n, u_n = jnp.split(joined, 4, -1)
  keep = jax.nn.sigmoid(z)
  return ((1 - keep) * jnp.tanh(x_n + jax.nn.sigmoid(r) * u_n) + keep * state[0],)


def join_gru(
  x: Float[Array, "*B G"], recurrent: Float[Array, "*B G"]
) -> Float[Array, "*B J"]:
  """The sums of r and z, and both terms of n."""
  split = 2 * (x.shape[-1] // 3)
  both = x[..., :split] + recurrent[..., :split]
  return jnp.concatenate([both, x[..., split:], recurrent[..., split:]], -1)


CELLS = {"lstm": Cell(jnp.add, lstm, 4, 2), "gru": Cell(join_gru, gru, 3, 1)}


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def recur(
  cell: Cell,
  reverse: bool,
  unroll: int,
  x: Float[Array, "T B G"],
  kernel: Float[Array, "H G"],
  bias: Float[Array, "G"] | None,
  mask: Bool[Array, "T B"],
  start: Bool[Array, "T B"] | None = None,
) -> tuple[Float[Array, "T B H"], ...]:
  """The state after every step, from zero; a step that is not real keeps the last one.

  Args:
    cell: of `CELLS`.
    reverse: from the last step to the first.
    unroll: steps that the compiler sees at once.
    x: products of the inputs; must be finite on padding, too.
    kernel: what multiplies the last output.
    bias: added to that product.
    mask: True on real steps.
    start: True on steps before which the state is set to zero; none by default.
  """
  return _forward(cell, reverse, unroll, x, kernel, bias, mask, start)[0]


def _forward(cell, reverse, unroll, x, kernel, bias, mask, start=None):
  def step(state, inputs):
    state = _restarted(state, inputs[2])
    product = state[0].astype(kernel.dtype) @ kernel
    if bias is not None:
      product = product + bias[None]
    joined = cell.join(inputs[0], product)
    new = _held(cell, state, joined, inputs[1])
    return new, (new, state, joined)

  state = _zeros(cell, x, kernel)
  _, (states, before, joined) = jax.lax.scan(
    step, state, (x, mask, start), reverse=reverse, unroll=unroll
  )
  return states, (x, kernel, bias, mask, start, before, joined)


def _backward(cell, reverse, unroll, saved, cotangents):
  x, kernel, bias, mask, start, before, joined = saved
  # Linear, so that any array of the right shape stands for what was joined.
  part = lambda like, d: jax.vjp(cell.join, like, like)[1](d)

  def step(d_state, inputs):
    like, before, joined, mask, start, cotangent = inputs
    d_state = tuple(map(jnp.add, d_state, cotangent))
    _, transpose = jax.vjp(lambda *at: _held(cell, *at, mask), before, joined)
    (d_output, *d_rest), d_joined = transpose(d_state)
    d_output = d_output + (part(like, d_joined)[1] @ kernel.T).astype(d_output.dtype)
    return _restarted((d_output, *d_rest), start), d_joined

  _, d_joined = jax.lax.scan(
    step,
    _zeros(cell, x, kernel),
    (x, before, joined, mask, start, cotangents),
    reverse=not reverse,
    unroll=unroll,
  )
  d_x, d_products = part(x, d_joined)
  outputs = before[0].astype(kernel.dtype)
  d_kernel = jnp.einsum("tbh,tbg->hg", outputs, d_products)
  return d_x, d_kernel, None if bias is None else d_products.sum((0, 1)), None, None


recur.defvjp(_forward, _backward)


def _held(cell, state, joined, mask):
  """The next state, in float32 or wider, where `mask`; elsewhere the old one."""
  new = cell.step(state, joined.astype(state[0].dtype))
  return tuple(jnp.where(mask[:, None], a, b) for a, b in zip(new, state, strict=True))


def _restarted(state, start):
  """A state, or its cotangent, that is zero where a sequence starts."""
  if start is None:
    return state
  return tuple(jnp.where(start[:, None], 0, x) for x in state)


def _zeros(cell, x, kernel):
  wide = jnp.promote_types(x.dtype, jnp.float32)
  return (jnp.zeros((x.shape[1], kernel.shape[0]), wide),) * cell.states
