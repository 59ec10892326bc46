"""Frames to words by connectionist temporal classification, without their times.

A. Graves, S. Fernandez, F. Gomez and J. Schmidhuber, "Connectionist temporal
classification", ICML 2006; as an alignment of modalities Y.-H. H. Tsai et al.,
"Multimodal transformer for unaligned multimodal language sequences", ACL 2019. Every
frame has a probability of each word of its sample and of none, the blank. A word reads
the frames by these probabilities, and the loss is that of the label 1, 2, ..., n of a
sample of n words: whatever the words are, frames should name them in order.

Axes: B samples, T frames, Q positions of words, of which some are real, and classes:
the blank is class 0, the i-th real word of a sample class i.
"""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Bool, Float

from mcr_jax.ops.masking import keep, masked_softmax

# Of words that a sample does not have. Finite: the loss multiplies logits by zeros.
NEVER = -1e9


def among_words(
  logits: Float[Array, "B T C"], grid: Bool[Array, "B Q"]
) -> Float[Array, "B T C"]:
  """The logits, in float32 or wider, of the words that a sample has."""
  logits = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
  count = grid.sum(-1)[:, None, None]
  return jnp.where(jnp.arange(logits.shape[-1])[None, None] <= count, logits, NEVER)


def align(
  logits: Float[Array, "B T C"],
  x: Float[Array, "B T D"],
  mask: Bool[Array, "B T"],
  grid: Bool[Array, "B Q"],
  *,
  normalize: bool = True,
) -> tuple[Float[Array, "B Q D"], Bool[Array, "B Q"], Float[Array, "B Q T"]]:
  """What every word reads of the frames.

  Args:
    logits: of Q + 1 classes.
    x: the frames.
    mask: which of them are real.
    grid: the positions that hold words.
    normalize: divides by the sum of a word's probabilities over all frames, so that it
      reads a mean; without, a sum.

  Returns:
    what is read at every position, zero where the mask that comes second says so: at
    positions without a word, and at all where there is no frame; and the weights.
  """
  logs = jax.nn.log_softmax(among_words(logits, grid))[..., 1:].swapaxes(1, 2)
  if normalize:
    weights = masked_softmax(logs, mask[:, None])
  else:
    weights = jnp.where(mask[:, None], jnp.exp(logs), 0.0)
  real = grid & mask.any(-1, keepdims=True)
  place = jnp.maximum(jnp.cumsum(grid, -1) - 1, 0)[..., None]
  at_place = lambda by_word: keep(jnp.take_along_axis(by_word, place, 1), real)
  read = jnp.einsum("bqt,btd->bqd", weights.astype(x.dtype), keep(x, mask))
  return at_place(read), real, at_place(weights)


def loss(
  logits: Float[Array, "B T C"], mask: Bool[Array, "B T"], grid: Bool[Array, "B Q"]
) -> Float[Array, "B"]:
  """-log of the probability that the frames name the words in order, a word.

  Zero for samples with fewer frames than words, which no labelling of the frames fits,
  and for those without words.
  """
  words, frames = grid.sum(-1), mask.sum(-1)
  labels = jnp.broadcast_to(jnp.arange(1, grid.shape[1] + 1)[None], grid.shape)
  # Products with ones and zeros that pick a class: they must not round it.
  with jax.default_matmul_precision("highest"):
    found = optax.ctc_loss(
      among_words(logits, grid),
      1.0 - mask,
      labels,
      1.0 * (labels > words[:, None]),
    )
  fits = (words > 0) & (frames >= words)
  return jnp.where(fits, found, 0.0) / jnp.maximum(words, 1)
