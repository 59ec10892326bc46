"""Utterance-level concatenation: the vectors side by side, then a perceptron.

The early fusion that every paper starts from: y = W2 relu(W1 [x_1; ...] + b1) + b2,
with `depth` hidden layers. It has no paper of its own to depart from.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.output import output_layer
from mcr_jax.ops import fusion


class Model(contract.Model):
  """Concatenation of vectors; sequences are averaged over their real steps first."""

  card = Card("Concatenation", kind="baseline", reads="vectors")

  width: int = 1024
  depth: int = 1
  dropout: Rate = 0.0
  dtype: str = ""

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    vectors = [
      fusion.pooled(batch.x[m], batch.mask[m], self.dtype)[0] for m in self.modalities
    ]
    x = jnp.concatenate(vectors, -1)
    for i in range(self.depth):
      x = nn.relu(nn.Dense(self.width, dtype=x.dtype, name=f"hidden_{i}")(x))
    predictions = output_layer(x, self.outputs, self.dropout, train)
    return Output(predictions, intermediates={"features": x})
