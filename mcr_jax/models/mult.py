"""MulT: crossmodal transformers between every ordered pair of modalities.

Y.-H. H. Tsai, S. Bai, P. P. Liang, J. Z. Kolter, L.-P. Morency and R. Salakhutdinov,
"Multimodal transformer for unaligned multimodal language sequences", ACL 2019. With
p(x) = sqrt(width) x + sinusoids of the step:

- x_m is modality m, convolved along time to `width` features.
- For every target t and source s, D crossmodal layers begin with z = p(x_t):
  z <- z + MHA(LN(z), LN(p(x_s))), then z <- z + FF(LN(z)); a last LN follows. The
  source stays what it was at first.
- The results of all sources of a target are joined on features, and a transformer of
  the same form, p included, reads them for itself.
- The last step of every target, all joined, goes through two linear layers with a skip.

Deviations from the authors' program:
- Padding is no step: there it is attended, and `last` is the last row of the array.
- Convolutions keep the length; there they shorten it by the kernel less one.
- Attention looks at all steps, as in the paper; there a mask hides the future.
- Sinusoids alternate sine and cosine and begin at step 0; there the sines come first,
  and steps are counted from 1.
- `embed_dropout` falls once on p(x_m), not in every transformer that reads it.
"""

import dataclasses
import functools
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Intermediates, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import TemporalEmbedding, sinusoids
from mcr_jax.layers.head import Head
from mcr_jax.layers.settings import EmbeddedSettings, TransformerSettings
from mcr_jax.layers.stack import recomputes, stack, unstack
from mcr_jax.layers.transformer import LayerNorm, split_heads
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep
from mcr_jax.ops.norm import standardize
from mcr_jax.ops.pooling import POOLINGS


class CrossmodalLayer(nn.Module):
  """One pre-norm layer; the memory shares its norm, and without one x reads itself."""

  settings: TransformerSettings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"] | None,
    mask: Bool[Array, "B K"],
    query_mask: Bool[Array, "B Q"],
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    """`memory` comes without mean and variance; `mask` says which steps it has.

    What a step of x reads that `query_mask` does not have is the caller's to replace.
    """
    norm = LayerNorm(name="attention_norm")
    query = norm(x)
    key = query if memory is None else norm(memory, standardized=True)
    attention = self.settings.multi_head("attention", use_bias=True)
    read, intermediates = attention(
      query, key, mask, train=train, query_mask=query_mask
    )
    # The bias of the output projection must not stand in for what was never read.
    read = jnp.where(mask.any(-1)[:, None, None], read, 0)
    x = x + Dropout(self.settings.residual_dropout)(read, train=train)
    return self.settings.feed_forward()(x, train=train), intermediates


class CrossmodalTransformer(nn.Module):
  """A stack of layers that read one memory, and a last norm.

  `rolled` and `remat` say how it is compiled: as a loop, and recomputed.
  """

  settings: TransformerSettings
  depth: int
  rolled: bool
  remat: bool

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"] | None,
    mask: Bool[Array, "B K"],
    query_mask: Bool[Array, "B Q"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    layer = CrossmodalLayer
    if self.remat:
      layer = nn.remat(layer, static_argnums=(5,))
    layers = stack(layer, self.depth, rolled=self.rolled or self.remat)
    # Statistics are taken once; the norms of the layers differ in scale and bias only.
    memory = None if memory is None else standardize(memory)
    x, results = layers(self.settings, name="layers")(
      x, memory, mask, query_mask, train
    )
    return LayerNorm(name="norm")(x), unstack(results, self.depth)


class Model(contract.Model, TransformerSettings, EmbeddedSettings, kw_only=True):
  """Every modality reads every other, then itself."""

  card = Card(
    "MulT",
    "Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov: Multimodal Transformer for "
    "Unaligned Multimodal Language Sequences, ACL 2019",
  )

  width: int = field(30, low=1, doc="Features of a crossmodal transformer.")
  heads: int = field(5, low=1, doc="Of every attention; divides the width.")
  layers: int = field(5, low=1, doc="Of a crossmodal transformer.")
  self_layers: int = field(
    0, low=0, doc="Of the transformer over a target's results; 0 is max(3, layers)."
  )
  kernel: int = field(1, low=1, doc="Steps that the temporal convolution sees.")
  pooling: str = field("last", choices=tuple(POOLINGS), doc="Of the steps of a part.")
  text_dropout: Rate = rate("Of the features of text, before they are embedded.")
  attention_dropouts: Mapping[str, float] = field(
    FrozenDict(),
    low=0,
    below=1,
    modalities=True,
    doc="Where a single modality is read by others, in place of attention_dropout.",
  )
  scan_layers: bool = field(
    False,
    doc="Compile one layer of a stack, in half the time: steps are slower by what "
    "stacking costs. The parameters are the same either way.",
  )

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    split_heads(self.width, self.heads)
    batch = jax.tree.map(jnp.asarray, batch)
    masks = {m: batch.mask[m] for m in self.modalities}
    streams = {m: self._embed(m, batch.x[m], masks[m], train) for m in masks}
    settings, remat = TransformerSettings.of(self), recomputes(self.remat, masks)
    transformer = functools.partial(
      CrossmodalTransformer, rolled=self.scan_layers, remat=remat
    )
    reading = {
      s: dataclasses.replace(
        settings,
        attention_dropout=self.attention_dropouts.get(s, self.attention_dropout),
      )
      for s in self.modalities
    }
    pooled, intermediates = [], {}
    for t in self.modalities:
      reads = []
      for s in [m for m in self.modalities if m != t] or [t]:
        cross = transformer(reading[s], self.layers, name=f"cross_{t}_{s}")
        z, inner = cross(streams[t], streams[s], masks[s], masks[t], train=train)
        reads.append(keep(z, masks[t]))
        intermediates[f"cross_{t}_{s}"] = {**inner, "read": reads[-1]}
      z = self._position(jnp.concatenate(reads, -1), train)
      depth = self.self_layers or max(3, self.layers)
      itself = transformer(settings, depth, name=f"self_{t}")
      z, inner = itself(z, None, masks[t], masks[t], train=train)
      intermediates[f"self_{t}"] = {**inner, "read": keep(z, masks[t])}
      pooled.append(POOLINGS[self.pooling](z, masks[t]))
    size, dtype = math.prod(self.outputs), self.computation
    head = Head(size, self.output_dropout, dtype, name="head")
    predictions = head(jnp.concatenate(pooled, -1), train=train)
    predictions = predictions.reshape(-1, *self.outputs)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    return Output(predictions.astype(wide), intermediates=intermediates)

  def _embed(self, m: str, x: Array, mask: Array, train: bool) -> Array:
    """p(x_m) of one modality."""
    if m == "text":
      x = Dropout(self.text_dropout, name="text_dropout")(x, train=train)
    return TemporalEmbedding(
      self.width,
      self.kernels.get(m, self.kernel),
      use_bias=False,
      scale=self.width**0.5,
      dropout=self.embed_dropout,
      dtype=self.computation,
      name=f"embed_{m}",
    )(x, mask, train=train)

  def _position(self, x: Array, train: bool) -> Array:
    """p(x) of the joined results, which are wider than the embeddings."""
    steps, width = x.shape[1:]
    x = width**0.5 * x + broadcast_left(jnp.asarray(sinusoids(steps, width)), x)
    return Dropout(self.embed_dropout)(x, train=train)
