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
import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Intermediates, Output
from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import TemporalEmbedding, sinusoids
from mcr_jax.layers.head import Head
from mcr_jax.layers.remat import recomputes
from mcr_jax.layers.transformer import (
  FeedForward,
  LayerNorm,
  MultiHeadAttention,
  split_heads,
)
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep
from mcr_jax.ops.norm import standardize
from mcr_jax.ops.pooling import POOLINGS


@dataclasses.dataclass(frozen=True)
class Settings:
  """What every layer needs to know; the fields are those of `Model`."""

  heads: int
  attention_dropout: Rate
  relu_dropout: Rate
  residual_dropout: Rate
  attention: str
  dtype: jnp.dtype | None
  remat: bool
  scan_layers: bool


class Layer(nn.Module):
  """One pre-norm layer; the memory shares its norm, and without one x reads itself."""

  settings: Settings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"] | None,
    mask: Bool[Array, "B K"],
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    """`memory` comes without mean and variance; `mask` says which steps it has."""
    s = self.settings
    norm = LayerNorm(name="attention_norm")
    query = norm(x)
    key = query if memory is None else norm(memory, standardized=True)
    read, out = MultiHeadAttention(
      s.heads,
      use_bias=True,
      dropout=s.attention_dropout,
      implementation=s.attention,
      dtype=s.dtype,
      name="attention",
    )(query, key, mask, train=train)
    # The bias of the output projection must not stand in for what was never read.
    read = jnp.where(mask.any(-1)[:, None, None], read, 0)
    x = x + Dropout(s.residual_dropout)(read, train=train)
    feed = FeedForward(
      s.relu_dropout, s.residual_dropout, dtype=s.dtype, name="feed_forward"
    )
    return feed(x, train=train), out


class Transformer(nn.Module):
  """A stack of layers that read one memory, and a last norm."""

  settings: Settings
  layers: int

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"] | None,
    mask: Bool[Array, "B K"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    s = self.settings
    stack = nn.scan(
      nn.remat(Layer, static_argnums=(4,)) if s.remat else Layer,
      variable_axes={"params": 0},
      split_rngs={"params": True, "dropout": True},
      in_axes=nn.broadcast,
      length=self.layers,
      # Unrolled, XLA may recompute all layers before it needs the first.
      unroll=1 if s.scan_layers or s.remat else self.layers,
    )(s, name="layers")
    # Statistics are taken once; the norms of the layers differ in scale and bias only.
    memory = None if memory is None else standardize(memory)
    x, stacked = stack(x, memory, mask, train)
    out = {
      f"layer_{i}": jax.tree.map(lambda v, i=i: v[i], stacked)
      for i in range(self.layers)
    }
    return LayerNorm(name="norm")(x), out


class Model(contract.Model):
  """Every modality reads every other, then itself.

  Attributes:
    width: features of a crossmodal transformer.
    heads: of every attention.
    layers: of a crossmodal transformer.
    self_layers: of the transformer over a target's results; 0 is max(3, layers).
    kernel: width of the temporal convolution; `kernels` overrides it by modality.
    pooling: `last`, `mean` or `max` over the steps of a target.
    attention: implementation, see `ops.attention`.
    dtype: of the computation, e.g. bfloat16; that of the parameters where empty.
    remat: recompute each layer in the backward pass, of batches where that saves much.
    scan_layers: compile one layer of a stack, in half the time; steps are slower by
      what stacking costs. The parameters are the same either way.
  """

  card = Card(
    "MulT",
    "Tsai, Bai, Liang, Kolter, Morency, Salakhutdinov: Multimodal Transformer for "
    "Unaligned Multimodal Language Sequences, ACL 2019",
  )

  width: int = 30
  heads: int = 5
  layers: int = 5
  self_layers: int = 0
  kernel: int = 1
  kernels: Mapping[str, int] = FrozenDict()
  pooling: str = "last"
  embed_dropout: Rate = 0.0
  attention_dropout: Rate = 0.0
  relu_dropout: Rate = 0.0
  residual_dropout: Rate = 0.0
  output_dropout: Rate = 0.0
  attention: str = "auto"
  dtype: str = ""
  remat: bool = False
  scan_layers: bool = False

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    self._check()
    dtype, out = jnp.dtype(self.dtype) if self.dtype else None, {}
    given = {f: getattr(self, f) for f in Settings.__dataclass_fields__}
    batch = jax.tree.map(jnp.asarray, batch)
    masks = {m: batch.mask[m] for m in self.modalities}
    remat = recomputes(self.remat, masks)
    settings = Settings(**given | {"dtype": dtype, "remat": remat})
    streams = {
      m: TemporalEmbedding(
        self.width,
        self.kernels.get(m, self.kernel),
        use_bias=False,
        scale=self.width**0.5,
        dropout=self.embed_dropout,
        dtype=dtype,
        name=f"embed_{m}",
      )(batch.x[m], masks[m], train=train)
      for m in self.modalities
    }
    pooled = []
    for t in self.modalities:
      reads = []
      for s in [m for m in self.modalities if m != t] or [t]:
        name = f"cross_{t}_{s}"
        transformer = Transformer(settings, self.layers, name=name)
        read, out[name] = transformer(streams[t], streams[s], masks[s], train=train)
        reads.append(keep(read, masks[t]))
        out[name]["read"] = reads[-1]
      x = self._position(jnp.concatenate(reads, -1), train)
      depth = self.self_layers or max(3, self.layers)
      transformer = Transformer(settings, depth, name=f"self_{t}")
      x, out[f"self_{t}"] = transformer(x, None, masks[t], train=train)
      out[f"self_{t}"]["read"] = keep(x, masks[t])
      pooled.append(POOLINGS[self.pooling](x, masks[t]))
    head = Head(math.prod(self.outputs), self.output_dropout, dtype, name="head")
    predictions = head(jnp.concatenate(pooled, -1), train=train)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    predictions = predictions.reshape(-1, *self.outputs).astype(wide)
    return Output(predictions, intermediates=out)

  def _position(self, x, train):
    """p(x) of the joined results, which are wider than the embeddings."""
    steps, width = x.shape[1:]
    x = width**0.5 * x + broadcast_left(jnp.asarray(sinusoids(steps, width)), x)
    return Dropout(self.embed_dropout)(x, train=train)

  def _check(self):
    split_heads(self.width, self.heads)
    if self.pooling not in POOLINGS:
      raise UserError(
        f"model.pooling={self.pooling!r} is none of {', '.join(POOLINGS)}."
      )
    if self.layers < 1 or self.self_layers < 0:
      raise UserError(
        f"model.layers={self.layers} must be at least 1 and model.self_layers="
        f"{self.self_layers} at least 0."
      )
