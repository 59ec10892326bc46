"""TCSP: what words predict of another modality is shared, the rest is its own.

Y. Wu, Z. Lin, Y. Zhao, B. Qin and L.-N. Zhu, "A text-centered shared-private framework
via cross-modal prediction for multimodal sentiment analysis", Findings of ACL-IJCNLP
2021. The first modality is text, of words; any further one, s, has frames. Stage 1
predicts every s from the words, with an LSTM that reads them by attention:

  1. E = LN(LSTM(x_text)),  a(q, k) = w tanh(W [k, q] + b)
  2. d_t = LSTM([d_(t-1), c_(t-1)]),  A_t = softmax over words of a(d_t, E_j),
     c_t = sum_j A_tj E_j;  d_0 = 0, and c_0 is what d_0 reads
  3. xhat_t = W_2 relu(W_1 [d_t, c_t])
  4. L_s = D_s MSE(xhat, x_s) + the mean over t of H_2(A_t) / sqrt(words)

with D_s features and H_2 the entropy in bits. From it follow two masks: word j and
frame t are shared, R_jt, where j is among the `shared` words that t attends to most;
and the `private` frames with the largest errors of 3 are P. Stage 2 predicts the label:

  5. W, S_s = LSTMs of words and frames
  6. C_s = (R * softmax over frames of a_s(W_j, S_t)) S, not normalised again
  7. F = LSTM([W, C_s, ...]),  r = sum_j softmax of a(F_last, F_j) F_j
  8. p_s = sum_t softmax over P of (v S_t) S_t, with one v for all s
  9. y = MLP([r, p_s, ...])

No gradient passes from 9 to stage 1, and none from 4 to stage 2. The losses of 4,
summed over s, are `translation` and `entropy`. `--config systems:tcsp` trains the
stages one after the other, as phases (docs/guide/losses.md); without phases both train
at once, and the masks follow.

A missing s has no loss, nothing shared and a private vector of zeros; without words
there are no losses of 4 either, and what is private still counts.

Deviations:
- Attention is masked. In the released code the score of padding is 0, which still gets
  weight; means are over padding, and the words of 4 those of the longest sample.
- A layer norm stands in 1 for one over the batch, which hung on the other samples.
- Fewer steps than a mask takes are all in it.
- Sequences may differ in length; in the released code they are aligned.
- Targets are what the data has, divided by `target_scales`, in place of raw features,
  divided by the largest value of each. With standard scores MSE weighs more beside H_2.
  Stage 2 reads what the data has, not divided, as there.
- No bias is added to v S, where a softmax cannot see it.
- Only the row of 7 that is read is computed.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.output import output_mlp
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.recurrent import Recurrent, weights
from mcr_jax.layers.transformer import LayerNorm
from mcr_jax.ops import recurrence
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.reconstruction import mean_square
from mcr_jax.ops.selection import largest


class Additive(NamedTuple):
  """Parameters of a(q, k) = w tanh(W [k, q] + b) of vectors as wide as each other."""

  kernel: Float[Array, "_ H"]
  bias: Float[Array, "H"]
  score: Float[Array, "H"]

  @classmethod
  def of(
    cls, module: nn.Module, name: str, width: int, dtype: jnp.dtype | None
  ) -> "Additive":
    """The parameters `<name>_kernel`, `<name>_bias`, `<name>_score` of a module."""
    shapes = (2 * width, width), (width,), (width,)
    lecun, normal = nn.initializers.lecun_normal(), nn.initializers.normal(width**-0.5)
    draws = lecun, nn.initializers.zeros, normal
    found = [
      module.param(f"{name}_{part}", draw, shape)
      for part, draw, shape in zip(cls._fields, draws, shapes, strict=True)
    ]
    return cls(*nn.dtypes.promote_dtype(*found, dtype=dtype))

  def keys(self, x: Float[Array, "*B K H"]) -> Float[Array, "*B K H"]:
    """The part of the sum that is of keys."""
    product = x @ self.kernel[: x.shape[-1]]
    return product + broadcast_left(self.bias, product)

  def __call__(
    self, keys: Float[Array, "*#B K H"], query: Float[Array, "*B H"]
  ) -> Float[Array, "*B K"]:
    """The scores of all keys for one query each."""
    query = query.astype(keys.dtype) @ self.kernel[query.shape[-1] :]
    return jnp.tanh(keys + query[..., None, :]) @ self.score


class Translator(nn.Module):
  """Stage 1 for one modality: steps 1 to 3."""

  width: int
  features: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B K D"],
    words: Bool[Array, "B K"],
    mask: Bool[Array, "B T"],
  ) -> tuple[Float[Array, "B T E"], Float[Array, "B T K"]]:
    """What is predicted, and the attention of every frame of `mask` to the words."""
    source, _ = Recurrent(self.width, dtype=self.dtype, name="encoder")(x, words)
    source = keep(LayerNorm(name="norm")(source), words)
    scorer = Additive.of(self, "attend", self.width, self.dtype)
    keys = scorer.keys(source)
    kernel, recurrent, bias, _ = weights(self, "lstm", 2 * self.width, self.width)
    source, kernel, recurrent, bias = nn.dtypes.promote_dtype(
      source, kernel, recurrent, bias, dtype=self.dtype
    )
    # The output is an input, too: one product with the sum of both kernels.
    both = kernel.at[: self.width].add(recurrent)

    def read(d):
      attention = masked_softmax(scorer(keys, d), words)
      context = jnp.einsum("bk,bkh->bh", attention.astype(source.dtype), source)
      return jnp.concatenate([d.astype(source.dtype), context], -1), attention

    def step(carry, real):
      state, inputs = carry
      new = recurrence.lstm(state, (inputs @ both + bias[None]).astype(wide))
      inputs_next, attention = read(new[0])
      held = lambda a, b: jnp.where(real[:, None], a, b)
      carry = jax.tree.map(held, (new, inputs_next), carry)
      return carry, (carry[1], attention)

    wide = jnp.promote_types(source.dtype, jnp.float32)
    zeros = jnp.zeros((source.shape[0], self.width), wide)
    start = (zeros, zeros), read(zeros)[0]
    _, steps = jax.lax.scan(step, start, mask.T)
    joined, attention = (keep(jnp.swapaxes(a, 0, 1), mask) for a in steps)
    hidden = nn.Dense(2 * self.width, dtype=self.dtype, name="hidden")(joined)
    made = nn.Dense(self.features, dtype=self.dtype, name="features")(nn.relu(hidden))
    return keep(made, mask), attention


class Model(contract.Model, Precision, kw_only=True):
  """TCSP; states are float32 or wider."""

  card = Card(
    "TCSP",
    "Wu, Lin, Zhao, Qin, Zhu: A Text-Centered Shared-Private Framework via Cross-Modal "
    "Prediction for Multimodal Sentiment Analysis, Findings of ACL-IJCNLP 2021",
    losses={"translation": 1.0, "entropy": 1.0},
  )

  width: int = field(100, low=1, doc="Of every LSTM but that of step 7.")
  shared: int = field(5, low=1, doc="Words that a frame shares with the text.")
  private: int = field(5, low=1, doc="Frames that are a modality's own.")
  target_scales: Mapping[str, float] = field(
    FrozenDict(),
    above=0,
    modalities=True,
    doc="What a modality is divided by to be a target of stage 1; 1 if not here.",
  )
  dropout: Rate = rate("Behind the hidden layer of step 9.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    text, *others = self.modalities
    words, x = batch.mask[text], {}
    for m in self.modalities:
      x[m] = keep(jnp.asarray(batch.x[m]), batch.mask[m])
    made, maps, shared, private, errors = {}, {}, {}, {}, {}
    for m in others:
      mask, target = batch.mask[m], x[m] / self.target_scales.get(m, 1.0)
      made[m], maps[m] = Translator(
        self.width, target.shape[-1], self.computation, name=f"translate_{m}"
      )(x[text], words, mask)
      chosen = largest(maps[m], words[:, None], self.shared) & mask[..., None]
      shared[m] = jnp.swapaxes(chosen, -1, -2)
      # A target may be wider than what was made of it.
      error = jnp.square(made[m].astype(target.dtype) - target).mean(-1)
      private[m] = largest(error, mask, self.private)
      errors[m] = mean_square(made[m], target, mask) * target.shape[-1]
    features, attention = self._regress(x, batch.mask, shared, private)
    y = output_mlp(
      features,
      self.width,
      self.outputs,
      self.dropout,
      dtype=self.computation,
      train=train,
    )
    seen = {"translations": made, "shared": shared, "private": private}
    if not train:
      seen["attention"] = {f"translation_{m}": a for m, a in maps.items()} | attention
    losses = self._losses(errors, maps, batch.mask) if train else {}
    return Output(y, losses, intermediates=seen)

  def _regress(
    self,
    x: Mapping[str, Float[Array, "B _ _"]],
    mask: Mapping[str, Bool[Array, "B _"]],
    shared: Mapping[str, Bool[Array, "B K _"]],
    private: Mapping[str, Bool[Array, "B _"]],
  ) -> tuple[Float[Array, "B E"], dict[str, Array]]:
    """Steps 5 to 8: what the last layers read, and attention by name."""
    text, *others = self.modalities
    states = {m: self._lstm(m, self.width, x[m], mask[m]) for m in self.modalities}
    joined, own, maps = [states[text]], [], {}
    score = nn.Dense(1, use_bias=False, dtype=self.computation, name="attend_private")
    for m in others:
      scorer = Additive.of(self, f"attend_{m}", self.width, self.computation)
      keys = scorer.keys(states[m])[:, None]
      read = masked_softmax(scorer(keys, states[text]), mask[m][:, None])
      read = jnp.where(shared[m], read, 0)
      joined.append(jnp.einsum("bkt,bth->bkh", read.astype(keys.dtype), states[m]))
      kept = masked_softmax(score(states[m])[..., 0], private[m])
      own.append(jnp.einsum("bt,bth->bh", kept.astype(keys.dtype), states[m]))
      maps |= {f"shared_{m}": read, f"private_{m}": kept}
    width = self.width * len(joined)
    fused = self._lstm("fused", width, jnp.concatenate(joined, -1), mask[text])
    scorer = Additive.of(self, "attend", width, self.computation)
    read = masked_softmax(scorer(scorer.keys(fused), fused[:, -1]), mask[text])
    row = jnp.einsum("bk,bkh->bh", read.astype(fused.dtype), fused)
    return jnp.concatenate([row, *own], -1), maps | {"words": read}

  def _lstm(
    self, name: str, width: int, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
  ) -> Float[Array, "B T H"]:
    return Recurrent(width, dtype=self.computation, name=f"lstm_{name}")(x, mask)[0]

  def _losses(
    self,
    errors: Mapping[str, Float[Array, "B"]],
    maps: Mapping[str, Float[Array, "B _ K"]],
    mask: Mapping[str, Bool[Array, "B _"]],
  ) -> dict[str, Float[Array, "B"]]:
    """Those of step 4."""
    words = mask[self.modalities[0]]
    count = lambda steps: jnp.maximum(steps.sum(-1), 1)
    translation = vague = jnp.zeros(words.shape[0], jnp.float32)
    for m, error in errors.items():
      there = words.any(-1) & mask[m].any(-1)
      bits = entropy(maps[m]).sum(-1)
      bits = bits / (count(mask[m]) * jnp.sqrt(count(words).astype(bits.dtype)))
      translation = translation + jnp.where(there, error, 0)
      vague = vague + jnp.where(there, bits, 0)
    return {"translation": translation, "entropy": vague}


def entropy(p: Float[Array, "*B K"]) -> Float[Array, "*B"]:
  """In bits, of probabilities; 0 log 0 is 0."""
  return -(p * jnp.log2(jnp.where(p > 0, p, 1))).sum(-1)
