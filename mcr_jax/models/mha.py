"""MHA: multi-head attention maps every auxiliary modality to the main one.

Vaswani et al.: Attention Is All You Need, 2017, as the paper of MIA-Net compares it
(its Table 10): one block an auxiliary, MH(X, Y_n, Y_n) with queries from the main
modality X; the blocks' results are concatenated and mapped back to one width.

A vector is no sequence, and the paper does not say how it became one. Its counts are
those of a projection of every modality to 1024 features at six positions, so that is
done here (layers/views.py); the average over the positions is read by the output
layer.

Deviations: the views, as said; ReLU after the concatenating layer, which would else
be one linear map with the output layer; no biases on queries, keys and values.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Intermediates
from mcr_jax.field import field
from mcr_jax.layers.transformer import LayerNorm, MultiHeadAttention
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors
from mcr_jax.layers.views import Views
from mcr_jax.ops import fusion


class Model(Fusion):
  """Multi-head attention on views of vectors."""

  card = Card(
    "MHA",
    "Vaswani et al.: Attention Is All You Need, 2017, as compared in the paper of "
    "MIA-Net",
    kind="reconstruction",
    reads="vectors",
  )

  main: str = field(
    "",
    modalities=True,
    doc="The modality that reads all others; the first one if empty.",
  )
  auxiliaries: tuple[str, ...] = field(
    (), modalities=True, doc="The others, in the order they are read; all if empty."
  )
  width: int = field(1024, low=1, doc="Features of a position.")
  positions: int = field(6, low=1, doc="Views of a vector.")
  heads: int = field(8, low=1, doc="Of every attention; divides the width.")

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    parts, intermediates = self.parts(vectors, present, train)
    joined = jnp.concatenate(parts, -1)
    x = nn.relu(nn.Dense(self.width, dtype=joined.dtype, name="join")(joined))
    return Fused(x.mean(-2), intermediates=intermediates)

  def parts(
    self, vectors: Vectors, present: Present, train: bool
  ) -> tuple[list[Array], Intermediates]:
    """What is concatenated, each (B, T, width)."""
    main, auxiliaries = fusion.main_and_auxiliaries(
      self.modalities, self.main, self.auxiliaries
    )
    views = lambda name: self.views(name, vectors[name], present[name])
    x, here = views(main)
    parts, intermediates = [], {}
    for name in auxiliaries:
      memory, there = views(name)
      part, inner = self.pair(name, x, here, memory, there, train)
      parts.append(part)
      intermediates |= {f"{key}_{name}": value for key, value in inner.items()}
    return parts or [x], intermediates

  def views(self, name: str, vector: Float[Array, "B D"], present: Bool[Array, "B"]):
    """The positions of a modality, and a mask of them: all, or none if it misses."""
    views = Views(self.positions, self.width, name=f"view_{name}")(vector)
    return views, jnp.broadcast_to(present[:, None], views.shape[:2])

  def pair(
    self,
    name: str,
    x: Float[Array, "B T D"],
    here: Bool[Array, "B T"],
    memory: Float[Array, "B T D"],
    present: Bool[Array, "B T"],
    train: bool,
  ) -> tuple[Float[Array, "B T D"], Intermediates]:
    """What the main modality makes of one auxiliary; models/{transformer,ct}.py differ.

    Args:
      name: the auxiliary modality.
      x: the positions of the main modality.
      here: whether a sample has the main modality, at every position.
      memory: the positions of the auxiliary modality.
      present: whether a sample has the auxiliary modality, at every position.
      train: whether dropout acts.
    """
    read, inner = MultiHeadAttention(
      self.heads, dropout=self.dropout, dtype=x.dtype, name=f"attention_{name}"
    )(x, memory, present, train=train)
    read = jnp.where(present[..., None], read, 0)
    return LayerNorm(name=f"norm_{name}")(x + read), inner
