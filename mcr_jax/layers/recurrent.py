"""LSTM and GRU over sequences that have holes, padding, or nothing at all.

A step that is not real keeps the state. The state after the last step is then that of
the last real one, no matter where it stands; in the other direction the state is zero
until the first real step from the end. A sequence without real steps is zero.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax.errors import choose
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.ops import recurrence
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep


class Recurrent(nn.Module):
  """One layer in one direction.

  One bias a sum: an LSTM has 4 H (D + H + 1) parameters and a GRU 3 H (D + H) + 4 H,
  whose candidate has a second sum that the gate multiplies. Gates stand side by side
  in the order of `ops.recurrence`, which is PyTorch's.

  Attributes:
    width: H, of a state.
    cell: `lstm` or `gru`.
    reverse: from the last step to the first.
    orthogonal: whether recurrent weights start as an orthogonal matrix a gate, else
      normal with variance 1 / H.
    unroll: steps that the compiler sees at once; more than one was slower on a CPU.
    dtype: of the products; states are float32 or wider.
  """

  width: int
  cell: str = "lstm"
  reverse: bool = False
  orthogonal: bool = True
  unroll: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T"],
    runs: Integer[Array, "B T"] | None = None,
  ) -> tuple[Float[Array, "B T H"], ...]:
    """The state after every step: (h,) of a GRU, (h, c) of an LSTM.

    Where neighbours in `runs` differ, the state starts from zero again.
    """
    name = choose(self.cell, recurrence.CELLS, "cell")
    cell = recurrence.CELLS[name]
    kernel, recurrent, bias, inside = weights(
      self, name, x.shape[-1], self.width, self.orthogonal
    )
    start = None if runs is None else _starts(runs, self.reverse)
    x, kernel, recurrent, bias, inside = nn.dtypes.promote_dtype(
      keep(x, mask), kernel, recurrent, bias, inside, dtype=self.dtype
    )
    # Steps first before the product, where there is least to move.
    products = jnp.swapaxes(x, 0, 1) @ kernel
    products = products + broadcast_left(bias, products)
    states = recurrence.recur(
      cell, self.reverse, self.unroll, products, recurrent, inside, mask.T, start
    )
    return tuple(jnp.swapaxes(state, 0, 1).astype(x.dtype) for state in states)


class RNN(nn.Module):
  """Layers of `Recurrent`, each over the outputs of the one before.

  Attributes:
    width: of one direction.
    layers: how many.
    bidirectional: whether a layer has two directions, joined on features.
    dropout: between layers.
    cell, orthogonal, unroll, dtype: see `Recurrent`.
  """

  width: int
  cell: str = "lstm"
  layers: int = 1
  bidirectional: bool = False
  dropout: Rate = 0.0
  orthogonal: bool = True
  unroll: int = 1
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T"],
    runs: Integer[Array, "B T"] | None = None,
    *,
    train: bool,
  ) -> tuple[Float[Array, "B T E"], Float[Array, "B E"]]:
    """The outputs of the last layer, and its last output; E is H or 2 H.

    On steps that are not real the outputs are those held there. With `runs`, steps of
    one number that follow one another are a sequence of their own.
    """
    for i in range(self.layers):
      if i:
        x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
      forward = self._direction(i, x, mask, runs, reverse=False)
      outputs, last = [forward], [forward[:, -1]]
      if self.bidirectional:
        backward = self._direction(i, x, mask, runs, reverse=True)
        outputs, last = [forward, backward], [forward[:, -1], backward[:, 0]]
      x = jnp.concatenate(outputs, -1)
    return x, jnp.concatenate(last, -1)

  def _direction(self, layer, x, mask, runs, *, reverse):
    one = Recurrent(
      self.width,
      self.cell,
      reverse,
      self.orthogonal,
      self.unroll,
      self.dtype,
      name=f"{'backward' if reverse else 'forward'}_{layer}",
    )
    return one(x, mask, runs)[0]


def weights(
  module: nn.Module, cell: str, inputs: int, width: int, square: bool = True
) -> tuple[Array, Array, Array, Array | None]:
  """What a module that is a cell has: kernel, recurrent, bias, and that of a candidate.

  The last one is of a GRU, (3 H) and zero for its other gates. `square` says whether
  recurrent weights start orthogonal.
  """
  gates = recurrence.CELLS[cell].gates
  size = gates * width
  lecun = nn.initializers.lecun_normal()
  kernel = module.param("kernel", lecun, (inputs, size))
  draw = orthogonal if square else lecun
  recurrent = module.param("recurrent", by_gate(draw, gates), (width,))
  start = forgets_little if cell == "lstm" else nn.initializers.zeros
  bias = module.param("bias", start, (size,))
  inside = None
  if cell == "gru":
    inside = module.param("candidate_bias", nn.initializers.zeros, (width,))
    inside = jnp.pad(inside, (size - width, 0))
  return kernel, recurrent, bias, inside


def orthogonal(
  key: Array, shape: tuple[int, int], dtype: DTypeLike = jnp.float32
) -> Float[Array, "H H"]:
  """A random orthogonal matrix: the polar factor of a normal one.

  By matrix products alone. The QR factorisation of `nn.initializers.orthogonal` may
  hang on a CPU where several seeds draw at once: with jaxlib 0.10 those of a batch wait
  for threads that wait for them.
  """
  product = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)

  # Of what singular values are at first, in (0, 1], this makes 0.7 to 1.2: small ones
  # grow 3.4 times a step, and the smallest one of n is some n^-1.5.
  def grow(_, x):
    square = product(x, x.T)
    return 3.4445 * x + product(-4.775 * square + 2.0315 * product(square, square), x)

  def polish(_, x):
    return 1.5 * x - 0.5 * product(product(x, x.T), x)

  x = jax.random.normal(key, shape, jnp.float32)
  x = jax.lax.fori_loop(0, 14, grow, x / jnp.linalg.norm(x))
  return jax.lax.fori_loop(0, 7, polish, x).astype(dtype)


def _starts(runs, reverse):
  """(T, B) where a run begins, in the order of the loop."""
  change = runs[:, 1:] != runs[:, :-1]
  sides = ((0, 0), (0, 1)) if reverse else ((0, 0), (1, 0))
  return jnp.pad(change, sides).T


def by_gate(initializer, gates):
  """(H, gates H): a square matrix a gate, side by side."""

  def draw(key, shape, dtype=jnp.float32):
    keys = jax.random.split(key, gates)
    return jnp.concatenate([initializer(k, (*shape, *shape), dtype) for k in keys], -1)

  return draw


def forgets_little(key, shape, dtype=jnp.float32):
  """Zero, and 1 for the forget gate: what is remembered lasts until training says."""
  return jnp.repeat(jnp.asarray([0, 1, 0, 0], dtype), shape[0] // 4)
