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

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES
from mcr_jax.layers.memory import DeltaMemory
from mcr_jax.layers.output import output_mlp


class Model(DeltaMemory):
  """MFN on sequences of one grid of steps."""

  card = Card(
    "MFN",
    "Zadeh, Liang, Mazumder, Poria, Cambria, Morency: Memory Fusion Network for "
    "Multi-view Sequential Learning, AAAI 2018",
    optional=ALIGNMENT_LOSSES,
  )

  output_width: int = field(128, low=1, doc="Of the hidden layer of the last MLP.")
  output_dropout: Rate = rate("Behind the hidden layer of the last MLP.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    states = self.encode(grid)
    u, intermediates = self.attend(states, grid.real, train=train)
    joined = jnp.concatenate([states.last, u.astype(states.last.dtype)], -1)
    y = output_mlp(
      joined,
      self.output_width,
      self.outputs,
      self.output_dropout,
      dtype=self.computation,
      train=train,
    )
    return Output(y, grid.losses, intermediates=intermediates | grid.intermediates)
