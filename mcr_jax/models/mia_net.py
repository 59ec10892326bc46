"""MIA-Net: one main modality, improved by every other in turn.

Li, Zhang, Chen, Chen: MIA-Net, Multi-Modal Interactive Attention Network for
Multi-Modal Affective Analysis, IEEE Transactions on Affective Computing. Equation
numbers are the paper's. Cost grows linearly with the number of auxiliary modalities,
parameters barely.

Deviations, where the paper leaves something open or misprints it:
- A vector becomes channels x features by a convolution along its features, ReLU and a
  layer norm over both. (A linear lift makes all columns collinear, and similarities
  of rank one leave the kernel nothing to learn.)
- Both convolutions of a module run along the features; batch norm is per channel, over
  samples and features; [:] concatenates channels (Eq. 6-8).
- The feed-forward network runs along the features of every channel, without a norm.
- Eigenvalues are those of the symmetric part (Eq. 10, see ops.kernels).
- Beside the paper's free W, kernel="psd" holds W = L L^T and needs no regularisation.
"""

import functools
from collections.abc import Callable, Iterable

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Intermediates
from mcr_jax.field import field
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors
from mcr_jax.ops import fusion, kernels
from mcr_jax.ops.kernels import IMPLEMENTATIONS

EPSILON = 1e-5
MOMENTUM = 0.9
NOISE = 0.01
NARROW = 256


class Lift(nn.Module):
  """(B, D) -> (B, C, D), normalised over channels and features together.

  `start` is where the norm's scale and the deviation of its biases start.
  """

  channels: int
  start: tuple[float, float] = (1.0, 0.0)
  width: int = 3

  @nn.compact
  def __call__(self, x: Float[Array, "B D"]) -> Float[Array, "B C D"]:
    lifted = Convolution(self.channels, self.width, init=mirrored, name="conv")
    return JointNorm(*self.start, name="norm")(nn.relu(lifted(x[:, None])))


class Convolution(nn.Module):
  """1-D convolution along the features, of the same length."""

  channels: int
  width: int
  init: Callable = nn.initializers.lecun_normal()

  @nn.compact
  def __call__(self, x: Float[Array, "B C D"]) -> Float[Array, "B E D"]:
    shape = (self.width, x.shape[1], self.channels)
    kernel = self.param("kernel", self.init, shape)
    bias = self.param("bias", nn.initializers.zeros, (self.channels,))
    return fusion.convolve(x, kernel.astype(x.dtype), bias.astype(x.dtype))


def mirrored(key: Array, shape: tuple[int, int, int], dtype=jnp.float32) -> Array:
  """Kernels in pairs of opposite sign, so that ReLU loses nothing of a vector.

  What one of a pair cuts off, the other keeps.
  """
  width, features, channels = shape
  half = (width, features, -(-channels // 2))
  kernel = nn.initializers.lecun_normal()(key, half, dtype)
  return jnp.stack([kernel, -kernel], -1).reshape(width, features, -1)[..., :channels]


class JointNorm(nn.Module):
  """Layer norm over channels and features together."""

  first_scale: float = 1.0
  first_bias: float = 0.0

  @nn.compact
  def __call__(self, x: Float[Array, "B C D"]) -> Float[Array, "B C D"]:
    constant = nn.initializers.constant(self.first_scale)
    scale = self.param("scale", constant, x.shape[1:])
    spread = nn.initializers.normal(self.first_bias)
    bias = self.param("bias", spread, x.shape[1:])
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    centred = wide - wide.mean((1, 2), keepdims=True)
    variance = jnp.square(centred).mean((1, 2), keepdims=True)
    standard = centred * jax.lax.rsqrt(variance + EPSILON)
    return (standard * scale[None] + bias[None]).astype(x.dtype)


class BatchNorm(nn.Module):
  """Batch norm per channel, over the features of the samples that count.

  Plain weighted sums over the batch: sharded over devices they are the sums over all
  of it. Running statistics hold the biased variance.
  """

  @nn.compact
  def __call__(
    self, x: Float[Array, "B C D"], weight: Float[Array, "B"], *, train: bool
  ) -> Float[Array, "B C D"]:
    channels = x.shape[1]
    scale = self.param("scale", nn.initializers.ones, (channels,))
    bias = self.param("bias", nn.initializers.zeros, (channels,))
    mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,))
    var = self.variable("batch_stats", "var", jnp.ones, (channels,))
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    used_mean, used_var = mean.value, var.value
    if train:
      weight = weight.astype(wide.dtype)[:, None, None]
      total = weight.sum() * x.shape[-1]
      counted = jnp.where(weight > 0, wide, 0)  # NaN times zero is NaN.
      average = lambda values: (
        (weight * values).sum((0, 2)) / jnp.where(total > 0, total, 1)
      )
      batch_mean = average(counted)
      batch_var = average(jnp.square(counted - _by_channel(batch_mean)))
      # A batch in which nothing counts has no statistics: keep the old ones.
      used_mean = jnp.where(total > 0, batch_mean, used_mean)
      used_var = jnp.where(total > 0, batch_var, used_var)
      if self.is_mutable_collection("batch_stats") and not self.is_initializing():
        for running, found in ((mean, batch_mean), (var, batch_var)):
          moved = MOMENTUM * running.value + (1 - MOMENTUM) * found
          running.value = jnp.where(total > 0, moved, running.value)
    factor = scale * jax.lax.rsqrt(used_var + EPSILON)
    y = (wide - _by_channel(used_mean)) * _by_channel(factor) + _by_channel(bias)
    return y.astype(x.dtype)


class Kernel(nn.Module):
  """The matrix of the general linear kernel, near the identity at first."""

  psd: bool

  @nn.compact
  def __call__(self, channels: int) -> Float[Array, "C C"]:
    near_identity = lambda key, shape: (
      jnp.eye(*shape) + NOISE * jax.random.normal(key, shape)
    )
    matrix = self.param("L" if self.psd else "W", near_identity, (channels, channels))
    return matrix @ matrix.T if self.psd else matrix


class InteractiveAttention(nn.Module):
  """A module of the paper: one auxiliary modality improves the main one (Eq. 1-8)."""

  kernel_size: int
  kernel: str
  implementation: str

  @nn.compact
  def __call__(
    self,
    main: Float[Array, "B C Q"],
    auxiliary: Float[Array, "B C K"],
    present: Bool[Array, "B"],
    weight: Float[Array, "B"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B C Q"], Intermediates]:
    channels = main.shape[1]
    w = Kernel(self.kernel == "psd", name="kernel")(channels)
    cast = w.astype(main.dtype)
    read = kernels.read_columns(
      auxiliary, cast, main, implementation=self.implementation
    )  # Eq. 1-5
    convolution = functools.partial(Convolution, channels, self.kernel_size)
    gate = nn.sigmoid(convolution(name="gate")(read))  # Eq. 6
    joined = jnp.concatenate([read * gate, main], 1)  # Eq. 7
    fused = nn.sigmoid(convolution(name="fuse")(joined))
    fused = BatchNorm(name="norm")(fused, weight * present, train=train)  # Eq. 8
    improved = jnp.where(present[:, None, None], fused, main)
    # P is computed apart from `read`, which never holds it: unasked for, it costs
    # nothing under jit.
    shares = kernels.weights(kernels.similarity(auxiliary, cast, main))
    return improved, {"W": w, "P": shares, "gate": gate}


class ChannelFeedForward(nn.Module):
  """D -> 4 D -> D along the features of every channel."""

  dropout: Rate

  @nn.compact
  def __call__(self, x: Float[Array, "B C D"], *, train: bool) -> Float[Array, "B C D"]:
    features = x.shape[-1]
    hidden = nn.relu(nn.Dense(4 * features, dtype=x.dtype, name="hidden")(x))
    hidden = Dropout(self.dropout)(hidden, train=train)
    # Silent at first: the residual connection alone speaks.
    zeros = nn.initializers.zeros
    return nn.Dense(features, dtype=x.dtype, kernel_init=zeros, name="output")(hidden)


class Model(Fusion):
  """MIA-Net on vectors.

  A sum over columns does not know which is which: what is read from an auxiliary
  modality depends on its columns as a set until their biases tell them apart, which
  takes many steps if they start at zero (`column_bias`).
  """

  card = Card(
    "MIA-Net",
    "Li, Zhang, Chen, Chen: MIA-Net, Multi-Modal Interactive Attention Network for "
    "Multi-Modal Affective Analysis, IEEE Transactions on Affective Computing",
    reads="vectors",
    losses={"regularization": 1.0},
    joint="regularization",
  )

  main: str = field(
    "", modalities=True, doc="The modality that is improved; the first one if empty."
  )
  auxiliaries: tuple[str, ...] = field(
    (), modalities=True, doc="The others, in the order they are read; all if empty."
  )
  made: tuple[str, ...] = field(
    (),
    modalities=True,
    doc="Modalities that are read once more, after all others, each through a fully "
    "connected layer of its own: more modalities from the same features (Table 7).",
  )
  channels: int = field(
    4,
    low=0,
    doc="c of the paper; 0 is 8 where no vector is wider than 256, else 4: narrow ones "
    "need more, and what a module costs grows with the square of the width.",
  )
  kernel_size: int = field(
    1, low=1, doc="Features that the convolutions of a module see."
  )
  column_scale: float = field(
    1.0, doc="Scale that the norm of lifted features starts with."
  )
  column_bias: float = field(
    0.0, low=0, doc="Deviation of the biases that this norm starts with."
  )
  kernel: str = field(
    "regularized",
    choices=("regularized", "psd"),
    doc="A free W and the loss `regularization`, or W = L L^T.",
  )
  implementation: str = field(
    "auto",
    choices=IMPLEMENTATIONS,
    doc="How similarities are held, see ops.kernels.read_columns.",
  )

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    main, auxiliaries = fusion.main_and_auxiliaries(
      self.modalities, self.main, self.auxiliaries
    )
    if not (auxiliaries or self.made):
      return Fused(vectors[main])
    read, losses = (*auxiliaries, *self.made), {}
    x, intermediates = self.improve(vectors, present, main, read, batch.weight, train)
    if train and self.kernel == "regularized":
      every = jnp.stack([intermediates[f"W_{n}"] for n in range(len(read))])
      losses["regularization"] = kernels.regularization(every)
    return Fused(x, losses, intermediates=intermediates)

  def improve(self, vectors, present, main, read, weight, train):
    """The stack of modules between two residual connections."""
    start = (self.column_scale, self.column_bias)
    channels = self.channels or by_width(x.shape[-1] for x in vectors.values())
    lift = lambda name, vector: Lift(channels, start, name=f"lift_{name}")(vector)
    first = features = lift(main, vectors[main])
    intermediates = {}
    for n, name in enumerate(read):
      vector, there = vectors[name], present[name]
      if n >= len(read) - len(self.made):
        dense = nn.Dense(vector.shape[-1], dtype=vector.dtype, name=f"make_{name}")
        vector, name = dense(vector), f"made_{name}"
      module = InteractiveAttention(
        self.kernel_size, self.kernel, self.implementation, name=f"module_{n}"
      )
      features, inner = module(features, lift(name, vector), there, weight, train=train)
      intermediates |= {f"{key}_{n}": value for key, value in inner.items()}
    residual = first + features  # Eq. 11
    feed = ChannelFeedForward(self.dropout, name="ffn")
    improved = residual + feed(residual, train=train)  # Eq. 12
    return improved.reshape(first.shape[0], -1), intermediates


def by_width(widths: Iterable[int]) -> int:
  """How many channels vectors of these widths get where nobody says."""
  return 8 if max(widths) <= NARROW else 4


def _by_channel(x):
  return x[None, :, None]
