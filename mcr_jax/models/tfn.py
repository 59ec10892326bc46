"""TFN: the outer product of the vectors, each extended by a 1.

Zadeh, Chen, Poria, Cambria, Morency: Tensor Fusion Network for Multimodal Sentiment
Analysis, EMNLP 2017. Its fusion is z = [z_1; 1] x ... x [z_M; 1], which holds every
vector and every product of some of them; a perceptron reads it. Parameters grow as
the product of the widths.

Deviations: one hidden layer, where the paper has two; the subnetwork of a modality is
one layer to `width` features with ReLU, or nothing (`width=0`), where the paper has an
LSTM or three layers. A missing modality contributes its 1 only.
"""

import flax.linen as nn
import jax.numpy as jnp

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.output import output_layer
from mcr_jax.ops import fusion


class Model(contract.Model):
  """Tensor fusion of vectors; sequences are averaged over their real steps first."""

  card = Card(
    "TFN",
    "Zadeh, Chen, Poria, Cambria, Morency: Tensor Fusion Network for Multimodal "
    "Sentiment Analysis, EMNLP 2017",
    reads="vectors",
  )

  width: int = 64
  hidden: int = 128
  dropout: Rate = 0.0
  dtype: str = ""

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    if self.width < 0:
      raise UserError(f"width={self.width}; give the features a modality, 0 for all.")
    vectors = []
    for name in self.modalities:
      x, present = fusion.pooled(batch.x[name], batch.mask[name], self.dtype)
      if self.width:
        x = nn.relu(nn.Dense(self.width, dtype=x.dtype, name=f"project_{name}")(x))
      vectors.append(fusion.with_one(jnp.where(present[:, None], x, 0)))
    product = Dropout(self.dropout)(fusion.outer(vectors), train=train)
    x = nn.relu(nn.Dense(self.hidden, dtype=product.dtype, name="hidden")(product))
    predictions = output_layer(x, self.outputs, self.dropout, train)
    return Output(predictions, intermediates={"features": x})
