"""TFN: the outer product of the vectors, each extended by a 1.

Zadeh, Chen, Poria, Cambria, Morency: Tensor Fusion Network for Multimodal Sentiment
Analysis, EMNLP 2017. Its fusion is z = [z_1; 1] x ... x [z_M; 1], which holds every
vector and every product of some of them; a perceptron reads it. Parameters grow as
the product of the widths.

With `subnetworks="published"` it is the paper's network: an LSTM over the text, three
layers on each other modality (layers/subnetwork.py), two hidden layers behind the
product. `dropout` falls on the product alone, and the output is not squashed
to the range of the labels.

Deviations of `subnetworks="vector"`: one hidden layer; the subnetwork of a modality is
one layer to `width` features with ReLU, or nothing (`width=0`). A missing modality
contributes its 1 only.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field
from mcr_jax.layers.dropout import Dropout
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.subnetwork import Embedded
from mcr_jax.layers.utterance import Fused, Present, Vectors
from mcr_jax.ops import fusion


class Model(Embedded):
  """Tensor fusion of vectors."""

  card = Card(
    "TFN",
    "Zadeh, Chen, Poria, Cambria, Morency: Tensor Fusion Network for Multimodal "
    "Sentiment Analysis, EMNLP 2017",
    reads="vectors",
  )

  width: int = field(
    64,
    low=0,
    doc="Of what the one layer of a modality makes of it; 0 is without such a layer. "
    "Of published subnetworks, main_width and other_width count.",
  )
  hidden: int = field(128, low=1, doc="Of the layers behind the product.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    published = self.subnetworks == "published"
    if published:
      vectors = self.embed(vectors, present, train)
    elif self.width:
      vectors = {m: self.project(m, x, present[m]) for m, x in vectors.items()}
    product = fusion.outer([fusion.with_one(x) for x in vectors.values()])
    x = Dropout(self.dropout)(product, train=train)
    for name in ("hidden", "hidden_2") if published else ("hidden",):
      x = nn.relu(nn.Dense(self.hidden, dtype=x.dtype, name=name)(x))
    return Fused(x)

  def predict(self, features: Float[Array, "B F"], *, train: bool) -> Array:
    rate = 0.0 if self.subnetworks == "published" else self.dropout
    return output_layer(features, self.outputs, rate, train)

  def project(self, name, x, present):
    x = nn.relu(nn.Dense(self.width, dtype=x.dtype, name=f"project_{name}")(x))
    return jnp.where(present[:, None], x, 0)
