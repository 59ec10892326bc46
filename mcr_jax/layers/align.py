"""A learnt alignment: which frames belong to a word, where nobody has measured it."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError, choose
from mcr_jax.layers.recurrent import RNN
from mcr_jax.ops import ctc

LOGITS = ("linear", "lstm")


class CTCAligner(nn.Module):
  """Two LSTMs over frames, and the words that they name (`ops.ctc`).

  Deviations from the released code of Tsai et al. (2019), whose form `logits="lstm"`
  with `normalize=False` is: frames and words that a sample does not have take no part,
  there all lengths are the padded ones; a linear layer makes the logits, there they are
  outputs of an LSTM and hence in (-1, 1), so that no frame can choose a word; a word
  reads a mean, there a sum over hundreds of frames; the aligner belongs to the model
  and its checkpoints, there the best model meets the last aligner.

  Attributes:
    words: the most that a sample may have; parameters depend on it, and not on the
      lengths of a batch.
    width: of the LSTMs where a linear layer follows.
    logits: `linear`, or `lstm`: the second LSTM has a unit a word and one for none.
    normalize: see `ops.ctc.align`.
    dtype: of the products.
  """

  words: int = 50
  width: int = 64
  logits: str = "linear"
  normalize: bool = True
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "B T D"],
    mask: Bool[Array, "B T"],
    grid: Bool[Array, "B Q"],
    *,
    train: bool,
  ) -> tuple[
    Float[Array, "B Q D"],
    Bool[Array, "B Q"],
    Float[Array, "B Q T"],
    Float[Array, "B"] | None,
  ]:
    """What `ops.ctc.align` returns, and the loss where `train`.

    Raises:
      UserError: there are more positions for words than `words`.
    """
    size, linear = self.words + 1, choose(self.logits, LOGITS, "logits") == "linear"
    if grid.shape[1] > self.words:
      raise UserError(
        f"model.align_words={self.words} must be at least {grid.shape[1]}, the most "
        "words of a sample."
      )
    rnn = RNN(self.width if linear else size, layers=2, dtype=self.dtype, name="lstm")
    y, _ = rnn(x, mask, train=train)
    if linear:
      y = nn.Dense(size, dtype=self.dtype, name="logits")(y)
    y = y[..., : grid.shape[1] + 1]
    aligned, real, weights = ctc.align(y, x, mask, grid, normalize=self.normalize)
    return aligned, real, weights, ctc.loss(y, mask, grid) if train else None
