"""LMF: tensor fusion by factors, without the tensor.

Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency: Efficient Low-rank Multimodal
Fusion with Modality-Specific Factors, ACL 2018. The weight tensor of TFN is a sum of R
outer products of factors, one a modality, so that its product with the outer product
of the vectors is h = sum_r prod_m ([x_m; 1] w_m^r): linear in the number of modalities.

With `subnetworks="published"` what is fused comes from the paper's subnetworks, an LSTM
over the text and three layers on each other modality (layers/subnetwork.py).

Deviations: h has `width` features and a ReLU, then an output layer, where the paper
reads its predictions from h; with `subnetworks="vector"`, nothing before the fusion. As
in the paper's code, not its text, the rank-one parts are weighted. A missing modality
gives its 1 only.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field
from mcr_jax.layers.subnetwork import Embedded
from mcr_jax.layers.utterance import Fused, Present, Vectors
from mcr_jax.ops import fusion


class Model(Embedded):
  """Low-rank fusion of vectors."""

  card = Card(
    "LMF",
    "Liu, Shen, Lakshminarasimhan, Liang, Zadeh, Morency: Efficient Low-rank "
    "Multimodal Fusion with Modality-Specific Factors, ACL 2018",
    reads="vectors",
  )

  width: int = field(1024, low=1, doc="Features of h.")
  rank: int = field(4, low=1, doc="Outer products in the sum.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    if self.subnetworks == "published":
      vectors = self.embed(vectors, present, train)
    extended, factors = [], []
    for name, vector in vectors.items():
      vector = fusion.with_one(vector)
      shape = (self.rank, vector.shape[-1], self.width)
      factor = self.param(f"factor_{name}", draw, shape, len(self.modalities))
      extended.append(vector)
      factors.append(factor.astype(vector.dtype))
    spread = nn.initializers.normal(self.rank**-0.5)
    weight = self.param("rank_weight", spread, (self.rank,))
    bias = self.param("bias", nn.initializers.zeros, (self.width,))
    parts = fusion.low_rank(extended, factors)
    x = jnp.einsum("r,rbd->bd", weight.astype(parts.dtype), parts)
    return Fused(nn.relu(x + bias.astype(x.dtype)[None]))


def draw(key: Array, shape: tuple[int, int, int], modalities: int) -> Array:
  """Factors (R, D + 1, width) that let every order of products through.

  A product of M factors is a product of all M vectors only, unless the rows of the 1
  weigh something: were they drawn like the D others, one in sqrt(D + 1), nothing that
  a single vector says would reach h. They start at +-sqrt(M / (M + 1)), and the D
  others share a variance of 1 / (M + 1): the product has unit variance, of which one
  vector at a time has more than a third, whatever M is.
  """
  ranks, rows, width = shape
  of_vector, of_one = jax.random.split(key)
  vector = jax.random.normal(of_vector, (ranks, rows - 1, width))
  sign = jax.random.rademacher(of_one, (ranks, 1, width), vector.dtype)
  scale = ((modalities + 1) * max(rows - 1, 1)) ** -0.5
  one = (modalities / (modalities + 1)) ** 0.5
  return jnp.concatenate([scale * vector, one * sign], 1)
