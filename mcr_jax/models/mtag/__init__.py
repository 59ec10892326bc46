"""MTAG: a graph of all steps of all modalities, whose edges know before from after.

J. Yang, Y. Wang, R. Yi, Y. Zhu, A. Rehman, A. Zadeh, S. Poria and L.-P. Morency, "MTAG:
modal-temporal attention graph for unaligned human multimodal language sequences", NAACL
2021. As in the released code where the paper leaves something open:

  1. x_i = W_m x_m[t] + b_m + sinusoids(t)              every real step is a node
  2. edges j -> i by modality of j, modality of i, and what i is to j: past, present or
     future (edges.py)
  3. y_i = Theta_m(i) x_i,
     s_ij = leaky(a_src[kind] . y_j + a_dst[kind] . y_i, 0.2) of every head,
     x_i <- sum_j softmax_j(s_ij) y_j + b               a layer
  4. behind a layer the 80% of edges stay whose weight, averaged over heads, is largest
  5. the mean of all nodes, two layers with ReLU, and the output

Self edges are there until they are pruned, and a node that nothing reaches reads b.

Of the released code these are not repeated: edges that are ranked over the whole batch,
so that a prediction depends on what else is in it; edges across modalities whose kind
follows which of the two is longer; steps that are dropped because all their features
are zero; and a loss divided by its own value.

Deviation: the last layer starts at zero. The paper's text joins all steps of a modality
(`all_to_all`); the authors' command, which is the default here, only neighbours.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import sinusoids
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.stack import stack, unstack
from mcr_jax.models.mtag import edges
from mcr_jax.models.mtag.graph import Layer
from mcr_jax.ops import pooling
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep

LEADERS = ("vision", "text", "audio")


class Model(contract.Model, Precision, kw_only=True):
  """A modal-temporal attention graph over sequences of any lengths."""

  card = Card(
    "MTAG",
    "Yang, Wang, Yi, Zhu, Rehman, Zadeh, Poria, Morency: MTAG: Modal-Temporal "
    "Attention Graph for Unaligned Human Multimodal Language Sequences, NAACL 2021",
  )

  width: int = field(64, low=1, doc="Of a node.")
  heads: int = field(4, low=1, doc="Of every attention; divides the width.")
  layers: int = field(6, low=1, doc="Of attention.")
  hidden: int = field(
    0, low=0, doc="Of the two layers behind the mean of all nodes; 0 is width / 4."
  )
  keep: float = field(
    0.8, above=0, high=1, doc="Share of a sample's edges that are left behind a layer."
  )
  all_to_all: bool = field(
    False, doc="Whether a step reads all others of its modality, or neighbours alone."
  )
  leaders: tuple[str, ...] = field(
    (),
    modalities=True,
    doc="Of two modalities with as many steps the one that comes first here has a "
    "window of the other; those that are not named come last, in their order. Empty "
    "is vision, text, audio.",
  )
  relu: bool = field(False, doc="Whether ReLU follows a layer.")
  residual: bool = field(False, doc="Whether a layer adds to its input.")
  norm: bool = field(False, doc="Whether a layer normalises what it reads.")
  embed_dropout: Rate = rate("Of the nodes at first.")
  attention_dropout: Rate = rate("Of attention weights.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    masks = {m: jnp.asarray(batch.mask[m]) for m in self.modalities}
    nodes = [self._nodes(m, jnp.asarray(batch.x[m]), masks[m], train) for m in masks]
    mask = jnp.concatenate([*masks.values()], 1)
    leaders = self.leaders or LEADERS
    graph = edges.between_all(masks, leaders, all_to_all=self.all_to_all)
    layers = stack(Layer, self.layers, rolled=True)(
      tuple(x.shape[1] for x in nodes),
      tuple(self._positions(masks)),
      self.layers,
      self.heads,
      self.keep,
      self.attention_dropout,
      self.relu,
      self.residual,
      self.norm,
      self.computation,
      name="layers",
    )
    start = (jnp.concatenate(nodes, 1), graph, jnp.int32(0))
    (x, _, _), seen = layers(start, mask, train)
    y = pooling.mean(x, mask)
    hidden = self.hidden or max(self.width // 4, 1)
    for i in range(2):
      dense = nn.Dense(hidden, dtype=self.computation, name=f"hidden_{i}")
      y = nn.relu(dense(y))
    return Output(
      output_layer(y, self.outputs, 0.0, train),
      intermediates={"edges": graph} | unstack(seen, self.layers),
    )

  def _nodes(self, m, x, mask, train) -> Float[Array, "B T D"]:
    """Step 1 for one modality; zero where there is no step."""
    dense = nn.Dense(self.width, dtype=self.computation, name=f"embed_{m}")
    x = dense(keep(x, mask))
    x = x + broadcast_left(jnp.asarray(sinusoids(x.shape[1], self.width)), x)
    return keep(Dropout(self.embed_dropout, name=f"drop_{m}")(x, train=train), mask)

  def _positions(self, masks: Mapping[str, Array]) -> list[int]:
    """Where the joined steps stood if none were cut off."""
    starts = np.cumsum([0, *self.spec.lengths.values()])[:-1]
    counts = [mask.shape[1] for mask in masks.values()]
    parts = zip(starts.tolist(), counts, strict=True)
    return [start + i for start, count in parts for i in range(count)]
