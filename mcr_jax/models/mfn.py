"""MFN: one LSTM a modality, and a memory of what their cells say to one another.

A. Zadeh, P. P. Liang, N. Mazumder, S. Poria, E. Cambria and L.-P. Morency, "Memory
fusion network for multi-view sequential learning", AAAI 2018. At step t, with the
memory u zero at first and all cells c joined,

  1. h_m, c_m = LSTM_m(x_m[t], (h_m, c_m))
  2. c* = [c[t-1], c[t]]
  3. a = softmax(MLP_a(c*)), chat = a * c*             delta-memory attention
  4. uhat = tanh(MLP_u(chat))
  5. g1, g2 = s(MLP_g1([chat, u])), s(MLP_g2([chat, u])), u <- g1 * u + g2 * uhat

and the prediction is MLP_out([h[T], u[T]]). An MLP has one hidden ReLU layer and
dropout after it. Only 5 needs one step after another: all else is done for all steps
at once.

The paper leaves open what a step does that a modality lacks: its LSTM holds (so that
c[t-1] = c[t], which is read), and the memory moves where any modality is there.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned
from mcr_jax.layers.recurrent import Recurrent


class MLP(nn.Module):
  """W2 dropout(relu(W1 x + b1)) + b2."""

  hidden: int
  outputs: int
  dropout: Rate
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, x: Float[Array, "*B D"], *, train: bool) -> Float[Array, "*B O"]:
    y = nn.relu(nn.Dense(self.hidden, dtype=self.dtype, name="hidden")(x))
    y = Dropout(self.dropout)(y, train=train)
    return nn.Dense(self.outputs, dtype=self.dtype, name="output")(y)


class Gate(nn.Module):
  """MLP([chat, u]), with the products of chat made before the loop over u.

  Returns what differs from step to step (the products of chat, and what dropout
  multiplies the hidden layer by), and what does not (the weights on u, W2 and b2).
  """

  hidden: int
  memory: int
  dropout: Rate
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self, chat: Float[Array, "B T C"], *, train: bool):
    lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
    width = chat.shape[-1]
    first = self.param("hidden_kernel", lecun, (width + self.memory, self.hidden))
    bias = self.param("hidden_bias", zeros, (self.hidden,))
    second = self.param("output_kernel", lecun, (self.hidden, self.memory))
    offset = self.param("output_bias", zeros, (self.memory,))
    chat, first, bias, second, offset = nn.dtypes.promote_dtype(
      chat, first, bias, second, offset, dtype=self.dtype
    )
    products = chat @ first[:width] + bias[None, None]
    factor = Dropout(self.dropout)(jnp.ones_like(products), train=train)
    return (products, factor), (first[width:], second, offset)


def gate(u, step, weights):
  """The value of a `Gate` at one step."""
  (products, factor), (kernel, second, offset) = step, weights
  hidden = nn.relu(products + u.astype(kernel.dtype) @ kernel) * factor
  return nn.sigmoid((hidden @ second + offset[None]).astype(u.dtype))


class Model(Aligned):
  """MFN on sequences of one grid of steps; states and memory are float32 or wider."""

  card = Card(
    "MFN",
    "Zadeh, Liang, Mazumder, Poria, Cambria, Morency: Memory Fusion Network for "
    "Multi-view Sequential Learning, AAAI 2018",
    optional=ALIGNMENT_LOSSES,
  )

  width: int = field(128, low=1, doc="Of an LSTM.")
  widths: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  memory: int = field(128, low=1, doc="Width of the memory.")
  attention_width: int = field(128, low=1, doc="Of the hidden layer of step 3.")
  proposal_width: int = field(128, low=1, doc="Of the hidden layer of step 4.")
  retain_width: int = field(128, low=1, doc="Of the hidden layer of the gate g1.")
  update_width: int = field(128, low=1, doc="Of the hidden layer of the gate g2.")
  output_width: int = field(128, low=1, doc="Of the hidden layer of the last MLP.")
  attention_dropout: Rate = rate("Behind the hidden layer of step 3.")
  proposal_dropout: Rate = rate("Behind the hidden layer of step 4.")
  retain_dropout: Rate = rate("Behind the hidden layer of the gate g1.")
  update_dropout: Rate = rate("Behind the hidden layer of the gate g2.")
  output_dropout: Rate = rate("Behind the hidden layer of the last MLP.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    dtype = self.precision
    grid = self.on_one_grid(batch, train=train)
    last, cells = [], []
    for m in self.modalities:
      lstm = Recurrent(self.widths.get(m, self.width), dtype=dtype, name=f"lstm_{m}")
      hidden, cell = lstm(grid.x[m], grid.mask[m])
      last.append(hidden[:, -1])
      cells.append(cell)
    cells = jnp.concatenate(cells, -1)
    u, intermediates = self.remember(cells, grid.real, dtype, train)
    joined = jnp.concatenate([*last, u.astype(last[0].dtype)], -1)
    y = nn.relu(nn.Dense(self.output_width, dtype=dtype, name="hidden")(joined))
    y = Dropout(self.output_dropout, name="dropout")(y, train=train)
    y = nn.Dense(math.prod(self.outputs), dtype=dtype, name="output")(y)
    y = y.astype(jnp.promote_types(y.dtype, jnp.float32)).reshape(-1, *self.outputs)
    return Output(y, grid.losses, intermediates=intermediates | grid.intermediates)

  def remember(self, cells, real, dtype, train):
    """Steps 2-5: the last memory, and what is worth drawing of every step."""
    before = jnp.pad(cells, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    both = jnp.concatenate([before, cells], -1)
    mlp = lambda name, hidden, outputs, dropout: MLP(
      hidden, outputs, dropout, dtype, name=name
    )
    attend = mlp(
      "attention", self.attention_width, both.shape[-1], self.attention_dropout
    )
    scores = attend(both, train=train)
    wide = jnp.promote_types(scores.dtype, jnp.float32)
    attention = nn.softmax(scores.astype(wide), -1)
    chat = attention.astype(both.dtype) * both
    propose = mlp("proposal", self.proposal_width, self.memory, self.proposal_dropout)
    proposal = jnp.tanh(propose(chat, train=train).astype(wide))
    gates = [
      Gate(hidden, self.memory, dropout, dtype, name=name)(chat, train=train)
      for name, hidden, dropout in (
        ("retain", self.retain_width, self.retain_dropout),
        ("update", self.update_width, self.update_dropout),
      )
    ]
    u, steps = accumulate(proposal, real, *zip(*gates, strict=True))
    retain, update, memory = steps
    return u, {
      "attention": attention,
      "retain": retain,
      "update": update,
      "memory": memory,
    }


def accumulate(
  proposal: Float[Array, "B T U"], real: Bool[Array, "B T"], steps, weights
) -> tuple[Float[Array, "B U"], tuple[Float[Array, "B T U"], ...]]:
  """Step 5 over time: the last memory; g1, g2 and the memory after every step.

  Args:
    proposal: uhat.
    real: where the memory moves.
    steps, weights: those of g1 and of g2, see `Gate`.
  """

  def step(u, inputs):
    proposal, real, (first, second) = inputs
    g1, g2 = gate(u, first, weights[0]), gate(u, second, weights[1])
    u = jnp.where(real[:, None], g1 * u + g2 * proposal, u)
    return u, (g1, g2, u)

  swap = lambda tree: jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), tree)
  u, steps = jax.lax.scan(
    step, jnp.zeros_like(proposal[:, 0]), swap((proposal, real, steps))
  )
  return u, swap(steps)
