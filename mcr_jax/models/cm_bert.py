"""CM-BERT: what text and audio agree on decides which words the first one reads.

K. Yang, H. Xu and K. Gao, "CM-BERT: cross-modal BERT for text-audio sentiment
analysis", ACM MM 2020, its head on token features X (T, D) that stay as they are, and
audio A (T, D_a) averaged over each word's time. With t = 0 the CLS token,

  1. x = X P, a = A P_a, each divided by the root of its norm
  2. s_j = w relu(x_0 . x_j) + w_a relu(a_0 . a_j)
  3. Q = softmax(s) over the words
  4. Y = LN(W (sum_j Q_j X_j + X_0) + b), y = v . Y + c

Only the row of CLS is ever read, so that no other is computed. Any number of further
modalities adds terms to 2.

In the paper audio at CLS is zero, and so are then all of its terms: audio does nothing.
The mean of the words stands there instead, unless `cls_audio="zero"`.

Deviations: the norms of 1 are those of a sample over its real steps, as in the paper,
and no gradient passes them; in the released code that of text alone is divided by, and
is one of the whole batch. No bias is added to s, where a softmax cannot see it. The
last layer is trained, and starts at zero; there it is forgotten, and stays random.
Features without a CLS token have the mean of the words in its place, as a step more.
Text that misses leaves c.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import UNDECAYED, Batch, Card, Output
from mcr_jax.errors import UserError
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.transformer import LayerNorm
from mcr_jax.ops import pooling
from mcr_jax.ops.masking import keep, masked_softmax


class Model(Aligned):
  """The head of CM-BERT; the first modality is what it reads words of."""

  card = Card(
    "CM-BERT",
    "Yang, Xu, Gao: CM-BERT: Cross-Modal BERT for Text-Audio Sentiment Analysis, ACM "
    "MM 2020",
    optional=ALIGNMENT_LOSSES,
    undecayed=f"{UNDECAYED}|agreement_.*",
  )

  channels: int = field(30, low=1, doc="In which words are compared.")
  text_has_cls: bool = field(
    False, doc="Whether step 0 of the first modality is a CLS token."
  )
  cls_audio: str = field(
    "mean",
    choices=("mean", "zero"),
    doc="What other modalities say at CLS: the mean of their words, or nothing.",
  )
  attention_dropout: Rate = rate("Of the attention of CLS.")
  hidden_dropout: Rate = rate("Of what the norm reads.")
  dropout: Rate = rate("Before the last layer.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    text = self.modalities[0]
    if self.spec.lengths[text] < 2:
      raise UserError(
        f"model.name=cm_bert compares the words of {text}, and a sample has "
        f"{self.spec.lengths[text]} of them; right are sequences of at least 2 steps."
      )
    grid = self.on_one_grid(batch, train=train)
    real, present = grid.mask[text], grid.mask[text].any(-1)
    words = real
    if not self.text_has_cls:
      words = jnp.concatenate([present[:, None], real], 1)
    score, parts, tokens = 0.0, {}, None
    for m in self.modalities:
      x = self._with_cls(m, grid.x[m], grid.mask[m])
      tokens = x if tokens is None else tokens
      weight = self.param(f"agreement_{m}", nn.initializers.ones, (1,))
      part = self._agreement(m, x)
      parts[m] = jnp.where(words, weight.astype(part.dtype)[None] * part, 0)
      score = score + parts[m]
    attention = masked_softmax(score, words)
    drop = Dropout(self.attention_dropout, name="attention_dropout")
    read = jnp.einsum("bt,btd->bd", drop(attention, train=train), tokens)
    y = nn.Dense(tokens.shape[-1], dtype=self.computation, name="mix")(
      (read + tokens[:, 0]).astype(tokens.dtype)
    )
    y = Dropout(self.hidden_dropout, name="hidden_dropout")(y, train=train)
    y = jnp.where(present[:, None], LayerNorm(name="norm")(y), 0)
    seen = {"agreement": parts, "attention": attention, "features": y}
    return Output(
      output_layer(y, self.outputs, self.dropout, train),
      grid.losses,
      intermediates=seen | grid.intermediates,
    )

  def _with_cls(
    self, m: str, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
  ) -> Float[Array, "B Q D"]:
    """A modality with CLS as its first step, and zeros where it has no words."""
    x = x.astype(self.computation) if self.computation else x
    x, is_text = keep(x, mask), m == self.modalities[0]
    if self.text_has_cls and is_text:
      return x
    if self.text_has_cls:
      x, mask = x[:, 1:], mask[:, 1:]
    cls = pooling.mean(x, mask)[:, None]
    if not is_text and self.cls_audio == "zero":
      cls = jnp.zeros_like(cls)
    return jnp.concatenate([cls, x], 1)

  def _agreement(self, m: str, x: Float[Array, "B Q D"]) -> Float[Array, "B Q"]:
    """relu(x_0 . x_j) of every step j."""
    project = nn.Dense(
      self.channels, use_bias=False, dtype=self.computation, name=f"project_{m}"
    )
    x = project(x)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jax.lax.stop_gradient(jnp.square(x).sum((-2, -1), keepdims=True))
    # Both factors are divided by the root of the norm, hence their product by the norm.
    norm = jnp.sqrt(jnp.where(square > 0, square, 1.0))[..., 0]
    return nn.relu(jnp.einsum("bd,btd->bt", x[:, 0], x)) / norm
