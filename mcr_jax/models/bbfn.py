"""BBFN: pairs of modalities complement one another, and are kept from becoming alike.

W. Han, H. Chen, A. Gelbukh, A. Zadeh, L.-P. Morency and S. Poria, "Bi-bimodal fusion
network for correlation-controlled multimodal sentiment analysis", ICMI 2021. A stack of
layers for every pair of the first modality l, which is text, and another one o. Of
S_m, a convolution of modality m along time, layer i computes

  1. c_l, c_o: of W_l mean(S_l) and W_o mean(S_o) in the first layer, and of the mean
     states of bidirectional GRUs over S_l and S_o in all others
  2. A_l = MHA(LN(S_l), LN(S_o)), A_o = MHA(LN(S_o), LN(S_l)), both of what came in
  3. S <- s(W_f r) * A + s(W_m r) * S with r = [c_l, c_o], the same at every step
  4. S <- S + FFN(LN(S))

The loss `separator` is the binary cross-entropy of a network that tells c_l from c_o,
which is not reversed: it makes both differ. CLS of all streams, joined, goes through
two linear layers with a skip, and the last one.

The released program trains without the separator, for which the paper has a weight: it
is on here, as the mean over layers, stacks and both sides. It has no positions and no
last norm, although it makes them; neither has this.

Deviations: sequences need not be aligned; padding is never attended to, pooled or
convolved. Without a CLS token (`text_has_cls`) the mean of a stream stands for it. GRUs
have one bias for two gates. Where a modality misses, what reads it reads zeros, the
results of its stack are zeros (of text only those of text), and nothing is separated.
"""

import functools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Intermediates, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import convolve
from mcr_jax.layers.head import Head
from mcr_jax.layers.recurrent import Recurrent
from mcr_jax.layers.settings import TransformerSettings
from mcr_jax.layers.stack import stack, unstack
from mcr_jax.layers.transformer import LayerNorm, split_heads
from mcr_jax.ops import pooling
from mcr_jax.ops.masking import keep


class Model(contract.Model, TransformerSettings, kw_only=True):
  """A stack a pair of the first modality and another one."""

  card = Card(
    "BBFN",
    "Han, Chen, Gelbukh, Zadeh, Morency, Poria: Bi-Bimodal Fusion Network for "
    "Correlation-Controlled Multimodal Sentiment Analysis, ICMI 2021",
    modalities=(2, None),
    losses={"separator": 0.1},
  )

  heads: int = field(5, low=1, doc="Of every attention; divides the width.")
  layers: int = field(5, low=1, doc="Of a stack.")
  kernel: int = field(3, low=1, doc="Steps that the convolutions see.")
  text_has_cls: bool = field(
    False,
    doc="Whether step 0 of the first modality is a CLS token, and that of the others "
    "is room for it.",
  )
  output_dropout: Rate = rate("Of the hidden features of the last layers.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    split_heads(self.width, self.heads)
    batch, settings = jax.tree.map(jnp.asarray, batch), TransformerSettings.of(self)
    text, *others = self.modalities
    here = {m: batch.mask[m].any(-1) for m in self.modalities}
    mask = {m: self._real(batch.mask[m]) for m in self.modalities}
    first = {m: self._convolve(m, batch.x[m], batch.mask[m], mask[m]) for m in mask}
    # Both streams of every pair, those of text first.
    pairs = [(text, o) for o in others]
    streams = [[first[m] for m in pair] for pair in pairs]
    real = [[mask[m] for m in pair] for pair in pairs]
    both = [here[text] & here[o] for o in others]
    one = functools.partial(Layer, settings, tuple(others))
    streams, (wrong, inner) = one(recurrent=False, name="first")(streams, real, train)
    intermediates = {"layer_0": inner}
    if more := self.layers - 1:
      # A loop: as many layers as there are would take minutes to compile.
      rest = stack(Layer, more, rolled=True)(
        settings, tuple(others), recurrent=True, name="rest"
      )
      streams, (wrongs, inner) = rest(streams, real, train)
      wrong = wrong + wrongs.sum(0)
      inner = unstack(inner, more)
      intermediates |= {f"layer_{i + 1}": inner[f"layer_{i}"] for i in range(more)}
    pooled = []
    for k, o in enumerate(others):
      of_text, of_other = map(self._pool, streams[k], real[k])
      pooled += [jnp.where(here[o][:, None], of_text, 0), of_other]
    intermediates["features"] = features = jnp.concatenate(pooled, -1)
    size = math.prod(self.outputs)
    head = Head(size, self.output_dropout, self.computation, name="head")
    predictions = head(features, train=train).reshape(-1, *self.outputs)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    # (pairs, B), and zero where one of a pair misses.
    counts = jnp.stack(both)
    terms = self.layers * jnp.maximum(counts.sum(0), 1).astype(wide)
    wrong = jnp.where(counts, wrong.astype(wide), 0).sum(0) / terms
    losses = {"separator": wrong} if train else {}
    return Output(predictions.astype(wide), losses, intermediates=intermediates)

  def _real(self, mask: Bool[Array, "B T"]) -> Bool[Array, "B T"]:
    """With the step of CLS, wherever there is a modality."""
    return mask.at[:, 0].set(mask.any(-1)) if self.text_has_cls else mask

  def _convolve(self, m, x, mask, real):
    """S_m at first."""
    init = nn.initializers.lecun_normal()
    kernel = self.param(f"kernel_{m}", init, (self.kernel, x.shape[-1], self.width))
    x, kernel = nn.dtypes.promote_dtype(keep(x, mask), kernel, dtype=self.computation)
    return keep(convolve(x, kernel), real)

  def _pool(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]):
    return x[:, 0] if self.text_has_cls else pooling.mean(x, mask)


class Layer(nn.Module):
  """Steps 1 to 4 of all pairs; the first layer of a model is not recurrent."""

  settings: TransformerSettings
  others: tuple[str, ...]
  recurrent: bool

  @nn.compact
  def __call__(
    self,
    streams: list[list[Float[Array, "B _ D"]]],
    masks: list[list[Bool[Array, "B _"]]],
    train: bool,
  ) -> tuple[
    list[list[Float[Array, "B _ D"]]], tuple[Float[Array, "P B"], Intermediates]
  ]:
    """The streams, how surprised the separators are of every pair, and what is seen."""
    dtype = self.settings.computation
    control = Control(self.settings.width, self.recurrent, dtype, name="control")
    controls = control(sum(streams, []), sum(masks, []))
    found, wrong, intermediates = [], [], {}
    for k, o in enumerate(self.others):
      pair = controls[2 * k : 2 * k + 2]
      wrong.append(Separator(dtype, name=f"separator_{o}")(*pair))
      complement = Complement(self.settings, name=f"pair_{o}")
      new, inner = complement(streams[k], masks[k], pair, train=train)
      found.append(new)
      intermediates[o] = {**inner, "control": jnp.stack(pair, 1)}
    return found, (jnp.stack(wrong), intermediates)


class Control(nn.Module):
  """Step 1 for all streams of a layer: a vector each, zero where there is none.

  The GRUs of all streams, in both directions, are one loop whose products are batched;
  shorter streams wait in it. On the way back a stream is turned around, and need not be
  turned again: its mean is all that counts.
  """

  width: int
  recurrent: bool
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, streams: list[Float[Array, "B _ D"]], masks: list[Bool[Array, "B _"]]
  ) -> list[Float[Array, "B D"]]:
    means = [pooling.mean(x, mask) for x, mask in zip(streams, masks, strict=True)]
    stacked = {"variable_axes": {"params": 0}, "split_rngs": {"params": True}}
    if not self.recurrent:
      dense = nn.vmap(nn.Dense, **stacked)(self.width, dtype=self.dtype, name="dense")
      there = jnp.stack([mask.any(-1) for mask in masks])
      return [*jnp.where(there[..., None], dense(jnp.stack(means)), 0)]
    steps = max(x.shape[1] for x in streams)
    longer = lambda x: jnp.pad(
      x, [(0, 0), (0, steps - x.shape[1])] + [(0, 0)] * (x.ndim - 2)
    )
    x, mask = (jnp.stack([*map(longer, y)]) for y in (streams, masks))
    x, mask = (jnp.concatenate([y, jnp.flip(y, 2)]) for y in (x, mask))
    gru = nn.vmap(Recurrent, **stacked)(self.width, "gru", dtype=self.dtype, name="gru")
    (states,) = gru(x, mask)
    forward, backward = jnp.split(pooling.mean(states, mask), 2)
    return [*(forward + backward) / 2]


class Separator(nn.Module):
  """How surprised a network is that c_l is of text, and c_o is not: half the sum."""

  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, text: Float[Array, "B D"], other: Float[Array, "B D"]
  ) -> Float[Array, "B"]:
    hidden = nn.Dense(4 * text.shape[-1], dtype=self.dtype, name="hidden")
    output = nn.Dense(1, dtype=self.dtype, name="output")
    x = jnp.stack([text, other])
    of_text, of_other = output(nn.relu(hidden(x)))[..., 0]
    return (nn.softplus(of_text) + nn.softplus(-of_other)) / 2


class Complement(nn.Module):
  """Steps 2 to 4 of both streams of a pair, each from what came in."""

  settings: TransformerSettings

  @nn.compact
  def __call__(
    self,
    streams: list[Float[Array, "B _ D"]],
    masks: list[Bool[Array, "B _"]],
    controls: list[Float[Array, "B D"]],
    *,
    train: bool,
  ) -> tuple[list[Float[Array, "B _ D"]], Intermediates]:
    r, found, intermediates = jnp.concatenate(controls, -1), [], {}
    for i, name in enumerate(("text", "other")):
      direction = Direction(self.settings, name=name)
      x, inner = direction(
        streams[i], streams[1 - i], masks[i], masks[1 - i], r, train=train
      )
      found.append(x)
      intermediates[name] = inner
    return found, intermediates


class Direction(nn.Module):
  """Steps 2 to 4 of one stream."""

  settings: TransformerSettings

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B Q D"],
    memory: Float[Array, "B K D"],
    mask: Bool[Array, "B Q"],
    memory_mask: Bool[Array, "B K"],
    r: Float[Array, "B R"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B Q D"], Intermediates]:
    settings, width = self.settings, x.shape[-1]
    norm = LayerNorm(name="attention_norm")
    attention = settings.multi_head("attention", use_bias=True)
    read, inner = attention(
      norm(x), norm(memory), memory_mask, train=train, query_mask=mask
    )
    read = jnp.where(memory_mask.any(-1)[:, None, None], read, 0)
    read = Dropout(settings.residual_dropout)(read, train=train)
    gates = nn.Dense(2 * width, dtype=settings.computation, name="gates")(r)
    take, hold = jnp.split(nn.sigmoid(gates)[:, None], 2, -1)
    x = read * take + x * hold
    x = keep(settings.feed_forward()(x, train=train), mask)
    return x, inner | {"take": take[:, 0], "hold": hold[:, 0]}
