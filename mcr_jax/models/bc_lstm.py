"""bc-LSTM: what a turn means depends on the turns around it.

S. Poria, E. Cambria, D. Hazarika, N. Majumder, A. Zadeh and L.-P. Morency,
"Context-dependent sentiment analysis in user-generated videos", ACL 2017. A
bidirectional LSTM runs over the turns of a dialogue, z_u = [LSTM(x)_u, LSTM'(x)_u], and
a layer with ReLU and a linear one read the prediction of turn u from z_u. It knows
nothing of speakers.

Here x_u are the vectors of all modalities side by side, the paper's early form of
fusion; in its hierarchical form a network a modality comes first. A modality that a
turn lacks is zero, and a turn that lacks all of them still stands in the dialogue.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.recurrent import RNN
from mcr_jax.ops.masking import keep


class Model(contract.Model, Precision, kw_only=True):
  """A bidirectional LSTM over the turns of a dialogue."""

  card = Card(
    "bc-LSTM",
    "Poria, Cambria, Hazarika, Majumder, Zadeh, Morency: Context-Dependent Sentiment "
    "Analysis in User-Generated Videos, ACL 2017",
    reads="vectors",
    unit="dialogue",
  )

  width: int = field(300, low=1, doc="Of the LSTM, in each direction.")
  layers: int = field(1, low=1, doc="Of the LSTM.")
  hidden: int = field(500, low=1, doc="Of the layer behind it.")
  context_dropout: Rate = rate("Of what the LSTM reads and of what it says.")
  dropout: Rate = rate("Before the last layer.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    dtype = self.computation
    drop = lambda x, name: Dropout(self.context_dropout, name=name)(x, train=train)
    turns = [keep(batch.x[m], batch.mask[m]) for m in self.modalities]
    x = drop(jnp.concatenate(turns, -1), "dropout_turns")
    rnn = RNN(
      self.width,
      layers=self.layers,
      bidirectional=True,
      dropout=self.context_dropout,
      dtype=dtype,
      name="context",
    )
    context, _ = rnn(x, batch.more["turn"], train=train)
    context = drop(context, "dropout_context")
    x = nn.relu(nn.Dense(self.hidden, dtype=dtype, name="hidden")(context))
    predictions = output_layer(x, self.outputs, self.dropout, train)
    return Output(predictions, intermediates={"context": context, "features": x})
