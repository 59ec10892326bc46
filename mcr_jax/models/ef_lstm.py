"""EF-LSTM: early fusion, an LSTM over the steps of all modalities side by side.

The recurrent baseline of most papers on aligned sequences, without one of its own. The
last real state goes through a ReLU layer of the same width and a linear one. A step is
real where any modality has it; what a modality lacks is zero.

Deviation from the MMSA collection, whose form this is: no batch norm over the steps,
which would let samples of a batch see one another.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENTS, on_one_grid
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.recurrent import RNN
from mcr_jax.ops.masking import keep


class Model(contract.Model):
  """One LSTM over joined steps."""

  card = Card("EF-LSTM", kind="baseline")

  width: int = field(128, low=1, doc="Of the LSTM and of the layer behind it.")
  layers: int = field(1, low=1, doc="Of the LSTM.")
  dropout: Rate = rate("Between layers and behind each.")
  align: str = field(
    "none", choices=ALIGNMENTS, doc="What brings sequences to one grid: `layers.grid`."
  )
  dtype: str = field(
    "",
    choices=contract.DTYPES,
    doc="Of the computation, such as bfloat16; that of the parameters where empty.",
  )

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    dtype = jnp.dtype(self.dtype) if self.dtype else None
    x, mask = on_one_grid(
      {m: batch.x[m] for m in self.modalities},
      {m: batch.mask[m] for m in self.modalities},
      self.spec.lengths,
      self.align,
    )
    joined = jnp.concatenate([keep(x[m], mask[m]) for m in self.modalities], -1)
    real = jnp.stack([mask[m] for m in self.modalities]).any(0)
    rnn = RNN(
      self.width, layers=self.layers, dropout=self.dropout, dtype=dtype, name="lstm"
    )
    _, last = rnn(joined, real, train=train)
    last = Dropout(self.dropout, name="dropout_last")(last, train=train)
    features = nn.relu(nn.Dense(self.width, dtype=dtype, name="hidden")(last))
    predictions = output_layer(features, self.outputs, self.dropout, train)
    return Output(predictions, intermediates={"features": features})
