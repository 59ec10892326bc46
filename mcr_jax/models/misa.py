"""MISA: what modalities share, and what each has for itself.

Hazarika, Zimmermann, Poria: MISA, Modality-Invariant and -Specific Representations for
Multimodal Sentiment Analysis, ACM MM 2020. With a vector x_m of every modality m, s the
sigmoid, and a shared map W^c,

  u_m = LN(relu(W_m x_m + b_m))
  p_m = s(W^p_m u_m),   c_m = s(W^c u_m),   r_m = W^r_m (p_m + c_m)

the rows [p_1, ..., p_M, c_1, ..., c_M] go through a post-norm transformer layer, and
what it makes of them, side by side, through a ReLU layer to the output. The losses are

  similarity      the mean over pairs of CMD(c_i, c_j), ops/statistics.py
  difference      the sum of overlaps of (p_m, c_m) for every m, and of all (p_i, p_j)
  reconstruction  the mean over m of the mean squared error of r_m against u_m

With `encoder="lstm"` the modalities beside the main one have the encoder of the paper:
two bidirectional LSTMs, a layer norm between them, the last states of both joined.

Deviations:
- The overlap is the mean over its entries, as in the authors' code, whose weights are
  published; the paper has the squared Frobenius norm, width^2 times as much.
- A missing modality: its rows are no keys and zero behind the layer, and its terms
  leave the losses. The mean and the sum run over the pairs with two rows that have
  both modalities.
- The adversarial form of the similarity is left out, and so is a classifier of shared
  and private codes that the authors' code builds and never trains.
- The output layer starts at zero (layers/output.py).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.main_encoder import MainEncoder
from mcr_jax.layers.recurrent import RNN
from mcr_jax.layers.transformer import LayerNorm, MultiHeadAttention
from mcr_jax.layers.utterance import Fused, Present, Vectors
from mcr_jax.ops.masking import keep
from mcr_jax.ops.statistics import moment_discrepancy, overlap


class StackedLSTM(nn.Module):
  """The last states of two bidirectional LSTMs, with a layer norm between them."""

  width: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], *, train: bool
  ) -> Float[Array, "B D"]:
    """(B, 4 width)."""
    lstm = lambda i: RNN(
      self.width, bidirectional=True, dtype=self.dtype, name=f"lstm_{i}"
    )
    states, first = lstm(0)(x, mask, train=train)
    _, second = lstm(1)(LayerNorm(name="norm")(states), mask, train=train)
    return jnp.concatenate([first, second], -1)


class FusionLayer(nn.Module):
  """A post-norm transformer layer over rows without an order."""

  heads: int
  hidden: int
  dropout: Rate = 0.0

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"], *, train: bool
  ) -> tuple[Float[Array, "B T D"], dict[str, Array]]:
    drop = lambda name, y: Dropout(self.dropout, name=name)(y, train=train)
    dense = lambda size, name: nn.Dense(size, dtype=x.dtype, name=name)
    read, inner = MultiHeadAttention(
      self.heads, True, self.dropout, dtype=x.dtype, name="attention"
    )(x, x, mask, train=train)
    y = LayerNorm(name="attention_norm")(x + drop("attention_dropout", read))
    z = drop("relu_dropout", nn.relu(dense(self.hidden, "hidden")(y)))
    z = dense(x.shape[-1], "residual")(z)
    return LayerNorm(name="norm")(y + drop("residual_dropout", z)), inner


class Model(MainEncoder):
  """Invariant and specific representations."""

  card = Card(
    "MISA",
    "Hazarika, Zimmermann, Poria: MISA: Modality-Invariant and -Specific "
    "Representations for Multimodal Sentiment Analysis, ACM MM 2020",
    reads="vectors",
    losses={"similarity": 1.0, "difference": 0.3, "reconstruction": 1.0},
  )

  width: int = field(128, low=1, doc="Of every representation.")
  heads: int = field(2, low=1, doc="Of the transformer layer; divides the width.")
  hidden: int = field(2048, low=1, doc="Of the transformer layer's feed-forward part.")
  layer_dropout: Rate = rate("In the transformer layer.", 0.1)
  lstm_width: int = field(
    128, low=1, doc="At most, of a direction of an LSTM; else that of the features."
  )

  def encode(
    self, modality: str, batch: Batch, *, train: bool
  ) -> tuple[Float[Array, "B D"], Bool[Array, "B"]]:
    if self.how(modality) != "lstm":
      return super().encode(modality, batch, train=train)
    x, mask = batch.x[modality], batch.mask[modality]
    encoder = StackedLSTM(
      min(x.shape[-1], self.lstm_width), self.computation, name=f"encoder_{modality}"
    )
    return encoder(x, mask, train=train), mask.any(-1)

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    dense = lambda name, x, size=self.width: nn.Dense(size, dtype=x.dtype, name=name)(x)
    u = {
      m: LayerNorm(name=f"norm_{m}")(nn.relu(dense(f"project_{m}", x)))
      for m, x in vectors.items()
    }
    private = {m: nn.sigmoid(dense(f"private_{m}", x)) for m, x in u.items()}
    # One product for all of them.
    common = nn.sigmoid(dense("shared", jnp.stack([*u.values()], 1)))
    shared = {m: common[:, i] for i, m in enumerate(u)}
    again = {m: dense(f"rebuild_{m}", private[m] + shared[m]) for m in u}

    codes = jnp.concatenate([jnp.stack([*private.values()], 1), common], 1)
    here = jnp.stack([present[m] for m in u], 1)
    both = jnp.concatenate([here, here], 1)
    layer = FusionLayer(self.heads, self.hidden, self.layer_dropout, name="layer")
    rows, inner = layer(codes, both, train=train)
    joined = keep(rows, both).reshape(rows.shape[0], -1)
    features = nn.relu(dense("join", joined, 3 * self.width))
    losses = {}
    if train:
      losses = _losses(codes, here, batch.weight > 0)
      losses["reconstruction"] = _reconstruction(u, again, present)
    codes = {"private": private, "shared": shared}
    return Fused(features, losses, intermediates={**codes, **inner})


def _losses(
  codes: Float[Array, "B N H"], here: Bool[Array, "B M"], counts: Bool[Array, "B"]
) -> dict[str, Float[Array, ""]]:
  """`similarity` and `difference` of private codes, and shared ones behind them."""
  count = here.shape[1]
  codes = jnp.moveaxis(codes, 1, 0)
  rows = (here & counts[:, None]).T
  rows = jnp.concatenate([rows, rows])
  one, two = np.triu_indices(count, 1)
  each = np.arange(count)

  def over(statistic, first, second):
    together = rows[first] & rows[second]
    return jax.vmap(statistic)(codes[first], codes[second], together), together

  apart = overlap, np.append(each, one), np.append(each + count, two)
  losses = {"similarity": jnp.float32(0), "difference": over(*apart)[0].sum()}
  if count > 1:
    alike, together = over(moment_discrepancy, one + count, two + count)
    pairs = (together.sum(-1) >= 2).sum()
    losses["similarity"] = alike.sum() / jnp.maximum(pairs, 1)
  return losses


def _reconstruction(u: Vectors, again: Vectors, present: Present) -> Float[Array, "B"]:
  """The error of a row, the mean over the modalities that it has."""
  wide = lambda x: x.astype(jnp.promote_types(x.dtype, jnp.float32))
  errors = [
    jnp.where(present[m], jnp.square(wide(again[m]) - wide(x)).mean(-1), 0)
    for m, x in u.items()
  ]
  return sum(errors) / jnp.maximum(sum(present.values()), 1)
