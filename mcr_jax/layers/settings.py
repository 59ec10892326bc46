"""What all transformer layers of a model share, as fields of that model."""

import dataclasses
from typing import Any, TypeVar

from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.transformer import EncoderLayer, FeedForward, MultiHeadAttention
from mcr_jax.ops.attention import IMPLEMENTATIONS

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
