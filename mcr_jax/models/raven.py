"""RAVEN: words that are shifted by how they are said, then read by an LSTM.

Y. Wang, Y. Shen, Z. Liu, P. P. Liang, A. Zadeh and L.-P. Morency, "Words can shift:
dynamically adjusting word representations using nonverbal behaviors", AAAI 2019. The
first modality gives the words. For word i with vector e_i, and every other modality m,

  1. h_m,i = LSTM_m(W x) over the frames x of m inside the word, its last output
  2. g_m,i = s(w_m [h_m,i, e_i] + b_m), a number
  3. v_i = sum_m g_m,i W_m h_m,i + b
  4. ehat_i = e_i + alpha v_i, alpha = min(beta |e_i| / |v_i|, 1)
  5. y = W h, the last output of an LSTM over ehat

Frames inside a word: one vector, where sequences are on one grid or are brought to it
(`align`); the LSTM of 1 then makes one step, and its recurrent weights do nothing. With
`subword="uniform"` they are those that fall into the word if all words lasted equally
long, thinned to `frames`.

Open in the paper, decided here: a modality without a frame in a word adds nothing, and
a word without any is not shifted, not even by b. Without words RAVEN predicts its bias,
whatever else there is.

Deviations from the released code, all where it is not what the paper says: it cuts the
gradient of the shift and of the frames, so that all that is not verbal stays as it was
drawn; it normalises audio over the batch, also at test; its gates have no sigmoid; and
its alpha is beta |e_i| / max(|v_i|, 1), which is `shift="code"` here. Deviation of our
own: W in 5 starts at zero (layers/output.py).
"""

from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.errors import UserError
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned, Grid
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.recurrent import Recurrent
from mcr_jax.ops import alignment
from mcr_jax.ops.masking import keep


class Frames(NamedTuple):
  """The frames of a modality, and which of them a word holds.

  Attributes:
    x: all of them.
    mask: which are real.
    index: (B, Q, F), those of a word; None where word i has frame i.
    real: which of the F a word has.
  """

  x: Float[Array, "B T D"]
  mask: Bool[Array, "B T"]
  index: Integer[Array, "B Q F"] | None
  real: Bool[Array, "B Q F"]


class Model(Aligned):
  """RAVEN; shifts and states are float32 or wider."""

  card = Card(
    "RAVEN",
    "Wang, Shen, Liu, Liang, Zadeh, Morency: Words Can Shift: Dynamically Adjusting "
    "Word Representations Using Nonverbal Behaviors, AAAI 2019",
    optional=ALIGNMENT_LOSSES,
  )

  width: int = field(300, low=1, doc="Of the LSTM over words.")
  frame_width: int = field(150, low=1, doc="Of the LSTMs over the frames of a word.")
  beta: float = field(
    0.2, low=0, doc="The longest shift, as a part of the length of a word's vector."
  )
  shift: str = field(
    "paper",
    choices=("paper", "code"),
    doc="How a shift is scaled: step 4, or as the released code does it.",
  )
  subword: str = field(
    "none",
    choices=("none", "uniform"),
    doc="Whether a word has one vector a modality, by `align`, or frames: those that "
    "fall into it if all words lasted equally long.",
  )
  frames: int = field(20, low=1, doc="The most frames of a word.")
  input_dropout: Rate = rate("Of words and frames.")
  shifted_dropout: Rate = rate("Of shifted words.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid, frames = self._words_and_frames(batch, train)
    first = self.modalities[0]
    mask = grid.mask[first]
    e = self._input(first, grid.x[first], mask, train)
    intermediates = dict(grid.intermediates)
    if frames:
      shift, found = self._shift(e, frames, train)
      e = Dropout(self.shifted_dropout, name="dropout_shifted")(e + shift, train=train)
      intermediates |= {"shift": shift, **found}
    hidden, _ = Recurrent(self.width, dtype=self.computation, name="lstm")(e, mask)
    y = output_layer(hidden[:, -1], self.outputs, 0.0, train)
    return Output(y, grid.losses, intermediates=intermediates)

  def _words_and_frames(
    self, batch: Batch, train: bool
  ) -> tuple[Grid, dict[str, Frames]]:
    """Words by the first modality of a grid; frames of the others by name."""
    first, *others = self.modalities
    if self.subword == "none":
      grid = self.on_one_grid(batch, train=train)
      return grid, {
        m: Frames(grid.x[m], grid.mask[m], None, grid.mask[m][..., None])
        for m in others
      }
    if self.align != "none":
      raise UserError(
        f"model.align={self.align!r} gives a word one vector, and model.subword="
        f'{self.subword!r} its frames: right is align="none" or subword="none".'
      )
    frames = {
      m: Frames(
        batch.x[m],
        batch.mask[m],
        *alignment.frames_of(batch.mask[m], batch.mask[first], self.frames),
      )
      for m in others
    }
    return Grid(batch.x, batch.mask, {}, {}), frames

  def _input(self, name, x, mask, train):
    dropout = Dropout(self.input_dropout, name=f"dropout_{name}")
    return dropout(keep(x, mask), train=train)

  def _shift(self, e, frames, train):
    """Steps 1 to 4: alpha v (B, Q, D); gates by modality and alpha, (B, Q) each."""
    gates, said = {}, []
    for m, (x, mask, index, real) in frames.items():
      x = self._input(m, x, mask, train)
      x = nn.Dense(self.frame_width, dtype=self.computation, name=f"project_{m}")(x)
      if index is not None:
        x = jnp.take_along_axis(x, index.reshape(x.shape[0], -1)[..., None], 1)
      *words, count = real.shape
      lstm = Recurrent(self.frame_width, dtype=self.computation, name=f"lstm_{m}")
      hidden, _ = lstm(x.reshape(-1, count, x.shape[-1]), real.reshape(-1, count))
      hidden = hidden[:, -1].reshape(*words, -1)
      both = jnp.concatenate([hidden, e.astype(hidden.dtype)], -1)
      gate = nn.Dense(1, dtype=self.computation, name=f"gate_{m}")(both)
      gates[m] = nn.sigmoid(gate)
      said.append(gates[m] * hidden)
    dense = nn.Dense(e.shape[-1], dtype=self.computation, name="shift")
    v = dense(jnp.concatenate(said, -1))
    there = jnp.concatenate([one.real for one in frames.values()], -1).any(-1)
    v = keep(v.astype(jnp.promote_types(v.dtype, jnp.float32)), there)
    alpha = self._scale(_length(e.astype(v.dtype)), _length(v))
    gates = {m: gate[..., 0] for m, gate in gates.items()}
    return alpha[..., None] * v, {"gates": gates, "scale": alpha}

  def _scale(self, word, shift):
    """alpha of the lengths of a word's vector and of its shift."""
    if self.shift == "code":
      return self.beta * word / jnp.maximum(shift, 1)
    return jnp.minimum(self.beta * word / jnp.maximum(shift, 1e-8), 1)


def _length(x):
  """The norm over the last axis, whose gradient is 0 at 0, and not NaN."""
  square = jnp.square(x).sum(-1)
  some = square > 0
  return jnp.where(some, jnp.sqrt(jnp.where(some, square, 1)), 0)
