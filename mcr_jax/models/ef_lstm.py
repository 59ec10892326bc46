"""EF-LSTM: early fusion, an LSTM over the steps of all modalities side by side.

The recurrent baseline of most papers on aligned sequences, without one of its own. The
last real state goes through a ReLU layer of the same width and a linear one. A step is
real where any modality has it; what a modality lacks is zero.

Deviation from the MMSA collection, whose form this is: no batch norm over the steps,
which would let samples of a batch see one another.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.recurrent import RNN
from mcr_jax.ops.masking import keep


class Model(Aligned):
  """One LSTM over joined steps."""

  card = Card("EF-LSTM", kind="baseline", optional=ALIGNMENT_LOSSES)

  width: int = field(128, low=1, doc="Of the LSTM and of the layer behind it.")
  layers: int = field(1, low=1, doc="Of the LSTM.")
  dropout: Rate = rate("Between layers and behind each.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    joined = [keep(grid.x[m], grid.mask[m]) for m in self.modalities]
    rnn = RNN(
      self.width,
      layers=self.layers,
      dropout=self.dropout,
      dtype=self.computation,
      name="lstm",
    )
    _, last = rnn(jnp.concatenate(joined, -1), grid.real, train=train)
    last = Dropout(self.dropout, name="dropout_last")(last, train=train)
    features = nn.relu(
      nn.Dense(self.width, dtype=self.computation, name="hidden")(last)
    )
    predictions = output_layer(features, self.outputs, self.dropout, train)
    intermediates = {"features": features, **grid.intermediates}
    return Output(predictions, grid.losses, intermediates=intermediates)
