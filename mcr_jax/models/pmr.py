"""PMR: modalities are reinforced step by step through a hub of messages.

F. Lv, X. Chen, Y. Huang, L. Duan and G. Lin, "Progressive modality reinforcement for
human multimodal emotion recognition from unaligned multimodal sequences", CVPR 2021.
Z_m is modality m after a convolution along time and with sinusoidal positions, and the
hub Z_O = [Z_1, ..., Z_M] joins them along time. A reinforcement unit MRU(s -> t) is,
with t = LN(Z_t) and s = LN(Z_s),

  1. C = MHA(t, s), S = MHA(t, t)
  2. G = sigmoid([C, S] W_G + b_G), X = Z_t + LN(G * C + (1 - G) * S)
  3. MRU = X + W relu(V X)

and a layer, of which D follow one another,

  4. Z_m <- MRU(Z_O -> Z_m) for every m
  5. Z_(m->O) = MRU(Z_m -> Z_O) for every m, with the new Z_m and the old Z_O
  6. beta_m = the mean over t of U' tanh(W_m Z_(m->O)[t] + b_m)
  7. w = softmax of beta over modalities, Z_O <- FF(sum_m w_m Z_(m->O))

with FF the feed-forward layer with its skip. A transformer encoder reads [Z_O, Z_1,
..., Z_M], joined along time; its parts are pooled, joined along features, and go to two
linear layers with a skip.

Deviations:
- 6 in the paper is U' tanh(W_m vec(Z) + b_m) of all features of all steps, which needs
  a billion weights a modality for unaligned sequences: `scoring="literal"`.
- Z_t is added in 2, as every system beside this one does; `residual=False` is without.
- Each part of what the encoder reads is pooled over its real steps; the last step of
  all would be that of the last modality.
- Padding is never read. Where a source misses, C and G are zero. A missing modality
  sends no message, and has no part in the softmax of 7.
- No code of the authors is public, and their sizes and rates are not known here: those
  of `--config systems:pmr` are a re-implementation's. Public re-implementations
  multiply the convolution by sqrt(width); one has a single MRU for all roles and draws
  the matrices of 6 anew at every step. Here each direction of each layer has parameters
  of its own.
"""

import dataclasses
import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.initializers import lecun_normal, normal, zeros
from jaxtyping import Array, Float, Integer

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Intermediates, Output
from mcr_jax.field import field
from mcr_jax.layers.dropout import Dropout
from mcr_jax.layers.embed import TemporalEmbedding
from mcr_jax.layers.head import Head
from mcr_jax.layers.settings import EmbeddedSettings, JoinedSettings
from mcr_jax.layers.stack import recomputes, stack, unstack
from mcr_jax.layers.stream import Masks, Stream, concatenate, split
from mcr_jax.layers.transformer import LayerNorm, split_heads
from mcr_jax.ops.attention.features import SAVED
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.pooling import POOLINGS, mean

HUB = "hub"
# Axes behind that of modalities along which what units show was padded, by name.
HEARD = {"gate": (1,), "cross_weights": (2,), "self_weights": (2, 3)}
SENT = {"cross_weights": (3,)}


@dataclasses.dataclass(kw_only=True)
class Settings(JoinedSettings):
  """What a layer reads of the model's fields."""

  residual: bool = field(True, doc="Whether a unit adds to what it reinforces.")
  scoring: str = field(
    "pooled",
    choices=("pooled", "literal"),
    doc="Of messages: the mean of a score a step, or the paper's score of all features "
    "of all steps, for short sequences.",
  )

  def part_positions(self, masks: Masks) -> Integer[np.ndarray, "_"]:
    """`positions` of the hub and, behind it, of all modalities."""
    hub, longest = self.positions(masks), sum(self.spec.lengths.values())
    return np.concatenate([hub, longest + hub])


class Unit(nn.Module):
  """MRU: a target reads a source and itself, with a gate between the two."""

  settings: Settings
  train: bool

  @nn.compact
  def __call__(
    self, target: Stream, source: Stream
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    settings, width = self.settings, target.z.shape[-1]
    dense = lambda size, name: nn.Dense(size, dtype=settings.computation, name=name)
    at = {"train": self.train, "positions": target.positions}
    drop = lambda rate, x: Dropout(rate)(x, **at)
    t, s = target.norm("norm_target"), source.norm("norm_source")

    def read(name, memory, of):
      more = {"query_mask": target.mask, "memory_positions": of.positions}
      attention = settings.multi_head(name, use_bias=True)
      found, inner = attention(t, memory, of.mask, **at, **more)
      # The bias of the output projection must not stand in for what was never read.
      there = of.mask.any(-1)[:, None, None]
      return jnp.where(there, found, 0), there, {f"{name}_{k}": inner[k] for k in inner}

    cross, there, maps = read("cross", s, source)
    own, _, own_maps = read("self", t, target)
    gate = nn.sigmoid(dense(width, "gate")(jnp.concatenate([cross, own], -1)))
    gate = jnp.where(there, gate, 0)
    x = LayerNorm(name="norm")(gate * cross + (1 - gate) * own)
    x = drop(settings.residual_dropout, x)
    x = target.z + x if settings.residual else x
    y = drop(settings.relu_dropout, nn.relu(dense(4 * width, "hidden")(x)))
    x = x + drop(settings.residual_dropout, dense(width, "residual")(y))
    gate = keep(gate, target.mask)
    return keep(x, target.mask), {"gate": gate, **maps, **own_maps}


class Messages(nn.Module):
  """MUM, steps 6 and 7: what the hub makes of a message a modality."""

  settings: Settings
  train: bool

  @nn.compact
  def __call__(
    self, messages: Float[Array, "M B K D"], masks: Masks
  ) -> tuple[Float[Array, "B K D"], Float[Array, "B M"]]:
    """The next hub, and the weight of every message."""
    settings, hub = self.settings, concatenate(masks)
    positions, count = settings.positions(masks), len(masks)
    literal = settings.scoring == "literal"
    size = settings.width * (sum(settings.spec.lengths.values()) if literal else 1)
    kernel = self.param("score_kernel", lecun_normal(batch_axis=0), (count, size, size))
    bias = self.param("score_bias", zeros, (count, size))
    u = self.param("score", normal(size**-0.5), (size,))
    z, kernel, bias, u = nn.dtypes.promote_dtype(
      messages, kernel, bias, u, dtype=settings.computation
    )
    if literal:  # what was cut are rows of zeros
      kernel = kernel.reshape(count, -1, settings.width, size)[:, positions]
      scores = jnp.einsum("mbkd,mkdn->mbn", z, kernel)[:, :, None]
      steps = jnp.ones((len(hub), 1), bool)
    else:
      scores, steps = jnp.einsum("mbkd,mdn->mbkn", z, kernel), hub
    scores = jnp.tanh(scores + bias[:, None, None])
    wide = jnp.promote_types(scores.dtype, jnp.float32)
    scores = jnp.einsum("mbkn,n->bkm", scores, u, preferred_element_type=wide)
    beta = mean(scores, steps)  # Step 6
    there = jnp.stack([mask.any(-1) for mask in masks.values()], -1)
    weights = masked_softmax(beta, there)  # Step 7
    z = jnp.einsum("bm,mbkd->bkd", weights.astype(messages.dtype), messages)
    z = settings.feed_forward()(z, train=self.train, positions=positions)
    return keep(z, hub), weights


class Layer(nn.Module):
  """Steps 4 to 7, each for all modalities as one product.

  For that all sequences are padded to one length.
  """

  settings: Settings

  @nn.compact
  def __call__(
    self,
    carry: tuple[Float[Array, "M B T D"], Float[Array, "B K D"]],
    masks: Masks,
    train: bool,
  ) -> tuple[tuple[Float[Array, "M B T D"], Float[Array, "B K D"]], Intermediates]:
    """`carry` are the modalities, and the hub."""
    settings, (z, hub) = self.settings, carry
    # By name: a dict that went through a loop comes back sorted.
    masks = {m: masks[m] for m in settings.spec.modalities}
    mask = padded(masks)
    whole = Stream.of(hub, concatenate(masks), settings.positions(masks))

    def units(name, axes):
      each = {"params": True, "dropout": True}
      unit = nn.vmap(Unit, variable_axes={"params": 0}, split_rngs=each, in_axes=axes)
      return unit(settings, train, name=name)

    z, heard = units("from_hub", (0, None))(Stream.of(z, mask), whole)  # 4
    messages, sent = units("to_hub", (None, 0))(whole, Stream.of(z, mask))  # 5
    hub, weights = Messages(settings, train, name="messages")(messages, masks)
    streams, seen = unpadded(z, masks), {"weights": weights}
    for i, (m, real) in enumerate(masks.items()):
      own = lambda inner, axes, i=i, steps=real.shape[1]: {
        name: _cut(x[i], steps, axes.get(name, ())) for name, x in inner.items()
      }
      seen |= {f"from_hub_{m}": own(heard, HEARD), f"to_hub_{m}": own(sent, SENT)}
    return (z, hub), seen | {"streams": {HUB: hub, **streams}}


def padded(parts: dict[str, Array]) -> Array:
  """(M, B, T, ...): sequences or masks of all modalities, as long as the longest."""
  steps = max(x.shape[1] for x in parts.values())
  longer = lambda x: jnp.pad(
    x, [(0, 0), (0, steps - x.shape[1])] + [(0, 0)] * (x.ndim - 2)
  )
  return jnp.stack([*map(longer, parts.values())])


def unpadded(x: Float[Array, "M B T D"], masks: Masks) -> dict[str, Array]:
  """By modality, as long as its mask."""
  return {m: x[i, :, : mask.shape[1]] for i, (m, mask) in enumerate(masks.items())}


def _cut(x: Array, steps: int, axes: tuple[int, ...]) -> Array:
  """The first steps along some axes."""
  return x[tuple(slice(steps if axis in axes else None) for axis in range(x.ndim))]


class Encoder(nn.Module):
  """A layer of the transformer that reads the hub and all modalities, joined."""

  settings: Settings

  @nn.compact
  def __call__(
    self, x: Float[Array, "B K D"], masks: Masks, train: bool
  ) -> tuple[Float[Array, "B K D"], Intermediates]:
    masks = {m: masks[m] for m in self.settings.spec.modalities}
    mask = concatenate({HUB: concatenate(masks), **masks})
    layer = self.settings.encoder_layer("layer", use_bias=True)
    return layer(x, mask, train=train, positions=self.settings.part_positions(masks))


class Model(contract.Model, Settings, EmbeddedSettings, kw_only=True):
  """Modalities and a hub that reinforce one another, layer by layer."""

  card = Card(
    "PMR",
    "Lv, Chen, Huang, Duan, Lin: Progressive Modality Reinforcement for Human "
    "Multimodal Emotion Recognition from Unaligned Multimodal Sequences, CVPR 2021",
    kind="reconstruction",
  )

  layers: int = field(5, low=1, doc="Reinforcement layers D.")
  encoder_layers: int = field(5, low=1, doc="Of the encoder that reads all parts.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    split_heads(self.width, self.heads)
    settings, batch = Settings.of(self), jax.tree.map(jnp.asarray, batch)
    masks = {m: batch.mask[m] for m in self.modalities}
    embedded = {m: self._embed(m, batch.x[m], masks[m], train) for m in masks}
    run = functools.partial(self._stack, remat=recomputes(self.remat, masks))
    carry = padded(embedded), concatenate(embedded)
    (z, hub), inner = run(Layer, self.layers, "layers")(carry, masks, train)
    intermediates = unstack(inner, self.layers)

    parts = {HUB: concatenate(masks), **masks}
    x = concatenate({HUB: hub, **unpadded(z, masks)})
    x, inner = run(Encoder, self.encoder_layers, "encoder")(x, masks, train)
    intermediates["encoder"] = unstack(inner, self.encoder_layers)
    x = LayerNorm(name="encoder_norm")(keep(x, concatenate(parts)))
    pool = POOLINGS[self.pooling]
    pooled = [pool(z, parts[name]) for name, z in split(x, parts).items()]
    intermediates["features"] = features = jnp.concatenate(pooled, -1)
    size = math.prod(self.outputs)
    head = Head(size, self.output_dropout, settings.computation, name="head")
    predictions = head(features, train=train).reshape(-1, *self.outputs)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    return Output(predictions.astype(wide), intermediates=intermediates)

  def _embed(self, m: str, x: Array, mask: Array, train: bool) -> Array:
    """Z_m at first."""
    return TemporalEmbedding(
      self.width,
      self.kernels.get(m, self.kernel),
      use_bias=False,
      dropout=self.embed_dropout,
      dtype=self.computation,
      name=f"embed_{m}",
    )(x, mask, train=train)

  def _stack(
    self, layer: type[nn.Module], depth: int, name: str, *, remat: bool
  ) -> nn.Module:
    """Some layers as a loop: as many as there are would take minutes to compile."""
    if remat:
      # What attention read is kept, see models/mcr.
      policy = jax.checkpoint_policies.save_only_these_names(SAVED)
      layer = nn.remat(layer, static_argnums=(3,), policy=policy)
    return stack(layer, depth, rolled=True)(Settings.of(self), name=name)
