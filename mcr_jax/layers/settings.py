"""What layers of a model share, and what is around them, as fields of that model."""

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
from flax.core import FrozenDict
from jaxtyping import Integer

from mcr_jax.contract import Spec
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.stream import Masks, joined_positions
from mcr_jax.layers.transformer import EncoderLayer, FeedForward, MultiHeadAttention
from mcr_jax.ops.attention import IMPLEMENTATIONS
from mcr_jax.ops.pooling import POOLINGS

S = TypeVar("S", bound="TransformerSettings")


@dataclasses.dataclass(kw_only=True)
class TransformerSettings(Precision):
  """Fields that a model extends, and hands to its layers as one value.

  class Model(contract.Model, TransformerSettings):
    def __call__(self, batch, *, train=False):
      settings = TransformerSettings.of(self)
  """

  width: int = field(40, low=1, doc="Features of a step.")
  heads: int = field(10, low=1, doc="Of every multi-head attention; divides the width.")
  attention_dropout: Rate = rate("Of attention weights.")
  relu_dropout: Rate = rate("Of the hidden features of feed-forward layers.")
  residual_dropout: Rate = rate("Of what a layer adds to its input.")
  attention: str = field(
    "auto", choices=IMPLEMENTATIONS, doc="Implementation; the results are the same."
  )

  @classmethod
  def of(cls: type[S], model: Any) -> S:
    """The values of these fields in a model that extends them."""
    return cls(**{f.name: getattr(model, f.name) for f in dataclasses.fields(cls)})

  def feed_forward(self) -> FeedForward:
    """The submodule `feed_forward` of the module that calls this."""
    rates = self.relu_dropout, self.residual_dropout
    return FeedForward(*rates, dtype=self.computation, name="feed_forward")

  def multi_head(self, name: str, *, use_bias: bool = False) -> MultiHeadAttention:
    """A multi-head attention, submodule of the module that calls this."""
    return MultiHeadAttention(
      self.heads,
      use_bias,
      self.attention_dropout,
      self.attention,
      self.computation,
      name=name,
    )

  def encoder_layer(self, name: str, *, use_bias: bool = False) -> EncoderLayer:
    """A self-attention layer, submodule of the module that calls this."""
    return EncoderLayer(
      self.heads,
      self.attention_dropout,
      self.relu_dropout,
      self.residual_dropout,
      self.attention,
      self.computation,
      use_bias,
      name=name,
    )


@dataclasses.dataclass(kw_only=True)
class JoinedSettings(TransformerSettings):
  """Those of layers that join sequences along time."""

  spec: Spec

  def positions(self, masks: Masks) -> Integer[np.ndarray, "_"]:
    """Where the steps of joined sequences stood if none were cut below its longest."""
    longest = [self.spec.lengths[m] for m in masks]
    return joined_positions(longest, [mask.shape[1] for mask in masks.values()])


@dataclasses.dataclass(kw_only=True)
class EmbeddedSettings:
  """Fields of models that embed sequences and pool what layers made of them."""

  kernel: int = field(3, low=1, doc="Steps that the temporal convolution sees.")
  kernels: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  pooling: str = field("mean", choices=tuple(POOLINGS), doc="Of the steps of a part.")
  embed_dropout: Rate = rate("Of what is embedded.")
  output_dropout: Rate = rate("Of the hidden features of the last layers.")
  remat: bool = field(
    False,
    doc="Recompute layers in the backward pass, of batches where that saves much.",
  )
