"""Utterance-level concatenation: the vectors side by side, then a perceptron.

The early fusion that every paper starts from: y = W2 relu(W1 [x_1; ...] + b1) + b2,
with `depth` hidden layers. It has no paper of its own to depart from.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors


class Model(Fusion):
  """Concatenation of vectors."""

  card = Card("Concatenation", kind="baseline", reads="vectors")

  width: int = field(1024, low=1, doc="Of every hidden layer.")
  depth: int = field(1, low=0, doc="Hidden layers.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    x = jnp.concatenate(list(vectors.values()), -1)
    for i in range(self.depth):
      x = nn.relu(nn.Dense(self.width, dtype=x.dtype, name=f"hidden_{i}")(x))
    return Fused(x)
