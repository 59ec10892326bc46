"""Models of one vector a modality: how it is encoded, then fused, then read by a head.

A paper about fusion is a `Fusion` with a method `fuse`; everything before and after it
is here. A dialogue holds a vector a turn already and its steps are turns, so that
encoders of utterances do not apply to it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Output
from mcr_jax.errors import choose
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import TemporalEmbedding, convolve
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.recurrent import RNN
from mcr_jax.layers.transformer import EncoderLayer, LayerNorm
from mcr_jax.ops import pooling
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep

ENCODERS = ("mean", "first", "lstm", "conv", "transformer")

Vectors = dict[str, Float[Array, "B _"]]
Present = dict[str, Bool[Array, "B"]]


class Encoder(nn.Module):
  """A sequence as one vector, which is zero where there are no real steps.

  Attributes:
    how: `mean` of the real steps, or the `first` step, which is CLS of some language
      models, as wide as they are and without parameters; `lstm`, the last output;
      `conv`, ReLU convolutions along time and the largest value of every feature;
      `transformer`, a convolution, positions and pre-norm layers, and the mean of what
      they give.
    width: of the vector, except those without parameters.
    layers: of the three that have some.
    heads: of every attention.
    kernel: width of the convolutions.
    dropout: between layers and inside those of a transformer.
    dtype: of the computation; that of the parameters where None.
  """

  how: str = "mean"
  width: int = 128
  layers: int = 1
  heads: int = 4
  kernel: int = 3
  dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], *, train: bool
  ) -> tuple[Float[Array, "B D"], Bool[Array, "B"]]:
    """The vector, and whether there was a step to make it of."""
    how = choose(self.how, ENCODERS, "encoder")
    return getattr(self, f"_{how}")(x, mask, train), mask.any(-1)

  def _mean(self, x, mask, train):
    del train
    return pooling.mean(x.astype(self.dtype) if self.dtype else x, mask)

  def _first(self, x, mask, train):
    del train
    return keep(x.astype(self.dtype) if self.dtype else x, mask)[:, 0]

  def _lstm(self, x, mask, train):
    rnn = RNN(
      self.width,
      layers=self.layers,
      dropout=self.dropout,
      dtype=self.dtype,
      name="lstm",
    )
    return rnn(x, mask, train=train)[1]

  def _conv(self, x, mask, train):
    for i in range(self.layers):
      if i:
        x = Dropout(self.dropout, name=f"dropout_{i}")(x, train=train)
      shape = (self.kernel, x.shape[-1], self.width)
      kernel = self.param(f"kernel_{i}", nn.initializers.lecun_normal(), shape)
      bias = self.param(f"bias_{i}", nn.initializers.zeros, shape[-1:])
      x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
      y = convolve(keep(x, mask), kernel)
      x = nn.relu(y + broadcast_left(bias, y))
    return pooling.maximum(x, mask)

  def _transformer(self, x, mask, train):
    x = TemporalEmbedding(
      self.width, self.kernel, dropout=self.dropout, dtype=self.dtype, name="embed"
    )(x, mask, train=train)
    for i in range(self.layers):
      layer = EncoderLayer(
        self.heads, *[self.dropout] * 3, dtype=self.dtype, name=f"layer_{i}"
      )
      x, _ = layer(x, mask, train=train)
    return pooling.mean(LayerNorm(name="norm")(x), mask)


class Fused(NamedTuple):
  """What `Fusion.fuse` makes: features for the head, and all else of an `Output`."""

  features: Float[Array, "B F"]
  losses: Mapping = {}
  auxiliary: Mapping = {}
  intermediates: Mapping = {}


class Fusion(contract.Model, Precision, kw_only=True):
  """The base of models that fuse a vector a modality; they have `fuse` to write."""

  encoder: str = field(
    "mean",
    choices=ENCODERS,
    doc="What makes a sequence a vector, see layers.utterance.",
  )
  encoder_width: int = field(
    128, low=1, doc="Of the vector; a mean or a step is as wide as the features are."
  )
  encoder_layers: int = field(1, low=1, doc="Of an encoder.")
  encoder_dropout: Rate = rate("In an encoder.")
  dropout: Rate = rate("Before the last layer, and inside of what fuses.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    """From a vector a modality, zero where it misses, to features for the head."""
    raise TypeError(f"{type(self).__name__} does not say how it fuses.")

  def how(self, modality: str) -> str:
    """The encoder of a modality."""
    return self.encoder

  def encode(
    self, modality: str, batch: Batch, *, train: bool
  ) -> tuple[Float[Array, "B D"], Bool[Array, "B"]]:
    """The vector of a modality, zero where it misses, and whether it is there."""
    encoder = Encoder(
      self.how(modality),
      self.encoder_width,
      self.encoder_layers,
      dropout=self.encoder_dropout,
      dtype=self.computation,
      name=f"encoder_{modality}",
    )
    return encoder(batch.x[modality], batch.mask[modality], train=train)

  def predict(self, features: Float[Array, "B F"], *, train: bool) -> Array:
    """The predictions, from what `fuse` made."""
    return output_layer(features, self.outputs, self.dropout, train)

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    vectors, present = {}, {}
    for m in self.modalities:
      vectors[m], present[m] = self.encode(m, batch, train=train)
    fused = self.fuse(vectors, present, batch, train=train)
    predictions = self.predict(fused.features, train=train)
    intermediates = {**fused.intermediates, "features": fused.features}
    return Output(predictions, fused.losses, fused.auxiliary, intermediates)
