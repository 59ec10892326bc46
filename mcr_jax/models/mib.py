"""MIB: information bottlenecks before, behind, or on both sides of a fusion.

Mai, Zeng, Hu: Multimodal Information Bottleneck, Learning Minimal Sufficient Unimodal
and Multimodal Representations, IEEE Transactions on Multimedia 2022. A bottleneck maps
x to

  e = relu(W x),  mu = W_mu e,  sigma = softplus(W_s e - 5),  z = mu + sigma * noise

and has a decoder y = w z + b and a loss L_task(y) + beta KL, where KL is the mean over
features of (mu^2 + sigma^2 - 2 ln sigma - 1) / 2. With the fusion F, a ReLU layer over
what is joined,

  early     F(x_1, ..., x_M) -> bottleneck -> y
  late      a bottleneck and a decoder a modality; F(z_1, ..., z_M) -> y
  complete  a bottleneck and a decoder a modality; F(z_1, ..., z_M) -> bottleneck -> y

The decoders of modalities are heads whose losses sum up as `unimodal`; `kl` is the sum
over all bottlenecks. A trained model predicts with z = mu.

With `encoder="conv_transformer"` a modality has the paper's encoder: a convolution
along time without bias, and behind it, but for the main modality, a pre-norm
transformer. Without, a linear layer maps vectors to `width`.

Deviations:
- The authors' code samples z at test, too.
- It adds the loss of the fused prediction twice; the paper counts it once, as here.
- It reads the last step of padded sequences, whose transformers have no mask; here
  attention is masked, and the mean of the real steps read, or the last of them.
- It ships the late variant with another fusion than the paper's, which is this one.
- A missing modality is zero before F, and its own losses are 0.
- The transformer has no biases on queries, keys and values; its positions count from 0
  and have a sine beside each cosine, where those of the code count from 1 and have all
  sines first. All decoders start at zero (layers/output.py).
- A modality's decoder learns its own label where the data has one; published is that of
  the sample for all.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.embed import TemporalEmbedding, convolve
from mcr_jax.layers.transformer import EncoderLayer, LayerNorm
from mcr_jax.layers.utterance import ENCODERS, Fused, Fusion, Present, Vectors
from mcr_jax.ops import pooling
from mcr_jax.ops.fusion import main_and_auxiliaries
from mcr_jax.ops.masking import keep

VARIANTS = ("complete", "early", "late")


class Bottleneck(nn.Module):
  """x to a sample z of its code, or to the code's mean, and how much the code says."""

  width: int
  hidden: int

  @nn.compact
  def __call__(
    self, x: Float[Array, "B D"], *, train: bool
  ) -> tuple[Float[Array, "B E"], Float[Array, "B"]]:
    dense = lambda size, name, y: nn.Dense(size, dtype=x.dtype, name=name)(y)
    e = nn.relu(dense(self.hidden, "hidden", x))
    wide = jnp.promote_types(x.dtype, jnp.float32)
    mu = dense(self.width, "mean", e).astype(wide)
    raw = dense(self.width, "deviation", e).astype(wide) - 5
    sigma = nn.softplus(raw)
    says = jnp.square(mu) + jnp.square(sigma) - 2 * log_softplus(raw) - 1
    if train:
      mu = mu + sigma * jax.random.normal(self.make_rng("noise"), mu.shape, wide)
    return mu.astype(x.dtype), says.mean(-1) / 2


def log_softplus(x: Float[Array, "*B"]) -> Float[Array, "*B"]:
  """log log(1 + e^x), also where log(1 + e^x) is too small to be a number."""
  tail = x - jnp.exp(jnp.minimum(x, -15)) / 2
  return jnp.where(x < -15, tail, jnp.log(nn.softplus(jnp.maximum(x, -15))))


class ConvTransformer(nn.Module):
  """A convolution along time and, where `layers` > 0, a transformer; then a pooling."""

  width: int
  heads: int
  layers: int
  pool: str
  attention_dropout: Rate = 0.0
  residual_dropout: Rate = 0.0
  embed_dropout: Rate = 0.0
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T F"], mask: Bool[Array, "B T"], *, train: bool
  ) -> Float[Array, "B D"]:
    if self.layers:
      x = TemporalEmbedding(
        self.width,
        3,
        use_bias=False,
        scale=math.sqrt(self.width),
        dropout=self.embed_dropout,
        dtype=self.dtype,
        name="embed",
      )(x, mask, train=train)
      rates = self.attention_dropout, self.residual_dropout, self.residual_dropout
      for i in range(self.layers):
        layer = EncoderLayer(self.heads, *rates, dtype=self.dtype, name=f"layer_{i}")
        x, _ = layer(x, mask, train=train)
      x = LayerNorm(name="norm")(x)
    else:
      shape = (3, x.shape[-1], self.width)
      kernel = self.param("kernel", nn.initializers.lecun_normal(), shape)
      x, kernel = nn.dtypes.promote_dtype(keep(x, mask), kernel, dtype=self.dtype)
      x = convolve(x, kernel)
    return pooling.POOLINGS[self.pool](x, mask)


class Model(Fusion):
  """Bottlenecks around a fusion."""

  card = Card(
    "MIB",
    "Mai, Zeng, Hu: Multimodal Information Bottleneck: Learning Minimal Sufficient "
    "Unimodal and Multimodal Representations, IEEE Transactions on Multimedia 2022",
    reads="vectors",
    losses={"kl": 1e-3},
    auxiliary="unimodal",
    head=r"output(_[^/]+)?/[^/]+",
  )

  encoder: str = field(
    "mean",
    choices=(*ENCODERS, "conv_transformer"),
    doc="What makes a sequence a vector, see layers.utterance and above.",
  )
  variant: str = field(
    "complete", choices=VARIANTS, doc="Where the bottlenecks are; early has no heads."
  )
  width: int = field(50, low=1, doc="Of the vectors, of every code, and of the fusion.")
  hidden: int = field(1024, low=1, doc="Of a bottleneck.")
  main: str = field(
    "",
    modalities=True,
    doc="The modality without a transformer in its encoder; the first if empty.",
  )
  pool: str = field(
    "mean", choices=("mean", "last"), doc="Which of the steps conv_transformer reads."
  )
  heads: int = field(5, low=1, doc="Of conv_transformer; divides the width.")
  attention_dropout: Rate = rate("Of attention weights in conv_transformer.")
  embed_dropout: Rate = rate("Of what its layers read.")

  def encode(
    self, modality: str, batch: Batch, *, train: bool
  ) -> tuple[Float[Array, "B D"], Bool[Array, "B"]]:
    if self.encoder != "conv_transformer":
      vector, present = super().encode(modality, batch, train=train)
      project = nn.Dense(self.width, dtype=vector.dtype, name=f"project_{modality}")
      return jnp.where(present[:, None], project(vector), 0), present
    main, _ = main_and_auxiliaries(self.modalities, self.main)
    encoder = ConvTransformer(
      self.width,
      self.heads,
      0 if modality == main else self.encoder_layers,
      self.pool,
      self.attention_dropout,
      self.encoder_dropout,
      self.embed_dropout,
      self.computation,
      name=f"encoder_{modality}",
    )
    mask = batch.mask[modality]
    return encoder(batch.x[modality], mask, train=train), mask.any(-1)

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    codes, kl, heads = dict(vectors), [], {}
    bottleneck = lambda name: Bottleneck(self.width, self.hidden, name=name)
    if self.variant != "early":
      for m, x in vectors.items():
        z, says = bottleneck(f"bottleneck_{m}")(x, train=train)
        codes[m] = jnp.where(present[m][:, None], z, 0)
        kl.append(jnp.where(present[m], says, 0))
        heads[m] = self.decode(m, z)
    joined = jnp.concatenate([*codes.values()], -1)
    x = nn.relu(nn.Dense(self.width, dtype=joined.dtype, name="join")(joined))
    if self.variant != "late":
      x, says = bottleneck("bottleneck")(x, train=train)
      kl.append(says)
    losses = {"kl": sum(kl)} if train else {}
    return Fused(x, losses, heads, {"codes": codes})

  def decode(self, modality: str, z: Float[Array, "B E"]) -> Float[Array, "B ..."]:
    """(B, *O), what a modality says by itself."""
    wide = z.astype(jnp.promote_types(z.dtype, jnp.float32))
    decoder = nn.Dense(
      math.prod(self.outputs),
      dtype=wide.dtype,
      kernel_init=nn.initializers.zeros,
      name=f"output_{modality}",
    )
    return decoder(wide).reshape(z.shape[0], *self.outputs)
