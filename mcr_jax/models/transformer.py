"""Transformer: one transformer an auxiliary modality, read by the main one.

Vaswani et al.: Attention Is All You Need, 2017, as the paper of MIA-Net compares it
(its Table 10). Of the transformer of a pair, the encoder layer reads the auxiliary
modality and the decoder layer lets the main modality read the encoder's result; the
decoders' results are concatenated and mapped back to one width.

Deviations: vectors become sequences by layers/views.py; norms stand before the layers
and at both ends, where the first paper has them after; the decoder has no attention
to itself, so that a transformer of width d has 24 d^2 parameters, which is what
the published counts say (54.61 M with two auxiliaries, 81.12 M with three).
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Card, Intermediates
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.transformer import (
  EncoderLayer,
  FeedForward,
  LayerNorm,
  MultiHeadAttention,
)
from mcr_jax.models import mha


class PairTransformer(nn.Module):
  """An encoder layer on the memory and a decoder layer that reads it."""

  heads: int
  dropout: Rate = 0.0

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"],
    mask: Bool[Array, "B K"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    rate = self.dropout
    memory, _ = EncoderLayer(
      self.heads, rate, rate, rate, dtype=x.dtype, name="encoder"
    )(memory, mask, train=train)
    memory = LayerNorm(name="encoder_norm")(memory)
    read, intermediates = MultiHeadAttention(
      self.heads, dropout=rate, dtype=x.dtype, name="attention"
    )(LayerNorm(name="norm")(x), memory, mask, train=train)
    x = x + jnp.where(mask.any(-1)[:, None, None], read, 0)
    x = FeedForward(rate, rate, dtype=x.dtype, name="feed_forward")(x, train=train)
    return LayerNorm(name="decoder_norm")(x), intermediates


class Model(mha.Model):
  """Transformers on views of vectors."""

  card = Card(
    "Transformer",
    "Vaswani et al.: Attention Is All You Need, 2017, as compared in the paper of "
    "MIA-Net",
    kind="reconstruction",
    reads="vectors",
  )

  def pair(self, name, x, here, memory, present, train):
    transformer = PairTransformer(self.heads, self.dropout, name=f"transformer_{name}")
    return transformer(x, memory, present, train=train)
