"""What comes before the fusion of some models: a small network a modality."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.field import field
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.utterance import Fusion, Present, Vectors
from mcr_jax.ops.fusion import main_and_auxiliaries


class Subnetwork(nn.Module):
  """Dropout, then `layers` ReLU layers of one width."""

  width: int
  layers: int = 3
  dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "*B D"], *, train: bool) -> Float[Array, "*B E"]:
    x = Dropout(self.dropout, name="dropout")(x, train=train)
    for i in range(self.layers):
      x = nn.relu(nn.Dense(self.width, dtype=self.dtype, name=f"layer_{i}")(x))
    return x


class Embedded(Fusion):
  """The base of TFN and LMF, which were published with the same subnetworks.

  As published, an LSTM reads the text, and a linear layer its last state; the means of
  the other modalities go through three ReLU layers each. Deviation from the authors'
  code: no batch norm before those layers, which would let samples of a batch see one
  another.

  The LSTM is `encoder_width` wide, and `encoder_dropout` falls on what the other layers
  read.
  """

  subnetworks: str = field(
    "vector",
    choices=("vector", "published"),
    doc="What comes before the fusion: what the model says, or what was published.",
  )
  main: str = field(
    "", modalities=True, doc="The modality that the LSTM reads; the first if empty."
  )
  main_width: int = field(128, low=1, doc="Of what is made of the LSTM's last state.")
  other_width: int = field(32, low=1, doc="Of the layers of the other modalities.")

  def how(self, modality: str) -> str:
    main, _ = main_and_auxiliaries(self.modalities, self.main)
    published = self.subnetworks == "published" and modality == main
    return "lstm" if published else self.encoder

  def embed(self, vectors: Vectors, present: Present, train: bool) -> Vectors:
    """What the published subnetworks make of the vectors, zero where one misses."""
    main, _ = main_and_auxiliaries(self.modalities, self.main)
    embedded = {}
    for m, x in vectors.items():
      name = f"subnetwork_{m}"
      if m == main:
        x = Dropout(self.encoder_dropout, name=f"dropout_{m}")(x, train=train)
        x = nn.Dense(self.main_width, dtype=x.dtype, name=name)(x)
      else:
        layers = Subnetwork(
          self.other_width, dropout=self.encoder_dropout, dtype=x.dtype, name=name
        )
        x = layers(x, train=train)
      embedded[m] = jnp.where(present[m][:, None], x, 0)
    return embedded
