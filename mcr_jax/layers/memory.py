"""The memory of the memory fusion networks: MFN and what is built on it.

LSTMs, one a modality, run beside one another, and at every step something is made of
what they hold, chat, which moves a memory u, zero at first:

  4. uhat = tanh(MLP_u(chat))
  5. g1, g2 = s(MLP_g1([chat, u])), s(MLP_g2([chat, u])), u <- g1 * u + g2 * uhat

numbered as in `models.mfn`. An MLP has one hidden ReLU layer and dropout after it. Only
5 needs one step after another: all else is done for all steps at once.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import Aligned, Grid
from mcr_jax.layers.recurrent import Recurrent


class States(NamedTuple):
  """What the LSTMs hold after every step, by modality.

  A modality keeps its state on steps that it lacks, and zero where it misses.
  """

  hidden: dict[str, Float[Array, "B T _"]]
  cell: dict[str, Float[Array, "B T _"]]

  @property
  def last(self) -> Float[Array, "B H"]:
    """The last hidden states, joined."""
    return jnp.concatenate([h[:, -1] for h in self.hidden.values()], -1)


class MemoryFusion(Aligned):
  """The base of models with LSTMs and a memory; both are float32 or wider."""

  width: int = field(128, low=1, doc="Of an LSTM.")
  widths: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  memory: int = field(128, low=1, doc="Width of the memory.")
  proposal_width: int = field(128, low=1, doc="Of the hidden layer of step 4.")
  retain_width: int = field(128, low=1, doc="Of the hidden layer of the gate g1.")
  update_width: int = field(128, low=1, doc="Of the hidden layer of the gate g2.")
  proposal_dropout: Rate = rate("Behind the hidden layer of step 4.")
  retain_dropout: Rate = rate("Behind the hidden layer of the gate g1.")
  update_dropout: Rate = rate("Behind the hidden layer of the gate g2.")

  def encode(self, grid: Grid) -> States:
    """Step 1, by submodules `lstm_<m>`."""
    hidden, cell = {}, {}
    for m in self.modalities:
      width = self.widths.get(m, self.width)
      lstm = Recurrent(width, dtype=self.computation, name=f"lstm_{m}")
      hidden[m], cell[m] = lstm(grid.x[m], grid.mask[m])
    return States(hidden, cell)

  def remember(
    self, chat: Float[Array, "B T C"], real: Bool[Array, "B T"], *, train: bool
  ) -> tuple[Float[Array, "B U"], dict[str, Float[Array, "B T U"]]]:
    """Steps 4 and 5, by submodules `proposal`, `retain` and `update`.

    Args:
      chat: what is made of the states of a step.
      real: where the memory moves.
      train: whether dropout falls.

    Returns:
      the last memory, and g1, g2 and the memory of every step by name.
    """
    propose = MLP(
      self.proposal_width,
      self.memory,
      self.proposal_dropout,
      self.computation,
      name="proposal",
    )
    proposal = propose(chat, train=train)
    proposal = jnp.tanh(proposal.astype(jnp.promote_types(proposal.dtype, jnp.float32)))
    gates = [
      Gate(hidden, self.memory, dropout, self.computation, name=name)(chat, train=train)
      for name, hidden, dropout in (
        ("retain", self.retain_width, self.retain_dropout),
        ("update", self.update_width, self.update_dropout),
      )
    ]
    u, steps = accumulate(proposal, real, *zip(*gates, strict=True))
    return u, dict(zip(("retain", "update", "memory"), steps, strict=True))


class DeltaMemory(MemoryFusion):
  """The base of models whose memory reads by attention what cells change: MFN's."""

  attention_width: int = field(128, low=1, doc="Of the hidden layer of step 3.")
  attention_dropout: Rate = rate("Behind the hidden layer of step 3.")

  def attend(
    self, states: States, real: Bool[Array, "B T"], *, train: bool
  ) -> tuple[Float[Array, "B U"], dict[str, Float[Array, "B T _"]]]:
    """Steps 2 to 5: what `remember` returns, and the attention (B, T, 2 H)."""
    cells = jnp.concatenate([*states.cell.values()], -1)
    both = jnp.concatenate([before(cells), cells], -1)
    mlp = MLP(
      self.attention_width,
      both.shape[-1],
      self.attention_dropout,
      self.computation,
      name="attention",
    )
    scores = mlp(both, train=train)
    attention = nn.softmax(
      scores.astype(jnp.promote_types(scores.dtype, jnp.float32)), -1
    )
    chat = attention.astype(both.dtype) * both
    u, steps = self.remember(chat, real, train=train)
    return u, {"attention": attention, **steps}


def before(states: Float[Array, "B T H"]) -> Float[Array, "B T H"]:
  """The state that every step begins with."""
  return jnp.pad(states, ((0, 0), (1, 0), (0, 0)))[:, :-1]


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
