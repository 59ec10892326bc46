"""LF-DNN: late fusion, a perceptron a modality and one over what they say.

A baseline of many papers, without one of its own: three ReLU layers read the vector of
each modality, and two more with a linear one read their results side by side. A
modality that is missing says zero.

Deviations from the MMSA collection, whose form this is otherwise: no batch norm of the
vectors, which would let samples of a batch see one another; text is read as the others
are, where an LSTM and a linear layer read it there.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.subnetwork import Subnetwork
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors


class Model(Fusion):
  """Perceptrons on vectors."""

  card = Card("LF-DNN", kind="baseline", reads="vectors")

  width: int = field(
    128, low=1, doc="Of the layers of a modality, behind `encoder_dropout`."
  )
  hidden: int = field(128, low=1, doc="Of the layers behind the fusion.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    says = []
    for m, x in vectors.items():
      network = Subnetwork(
        self.width, dropout=self.encoder_dropout, dtype=x.dtype, name=f"subnetwork_{m}"
      )
      says.append(jnp.where(present[m][:, None], network(x, train=train), 0))
    joined = jnp.concatenate(says, -1)
    over = Subnetwork(self.hidden, 2, self.dropout, joined.dtype, name="joint")
    return Fused(over(joined, train=train))

  def predict(self, features: Float[Array, "B F"], *, train: bool) -> Array:
    # `dropout` fell where the modalities were joined.
    return output_layer(features, self.outputs, 0.0, train)
