"""Attention along the edges of a graph, and which edges are worth keeping.

Dense: what steps read of a modality is a block of (B, H, rows, T) scores, whose terms
are chosen element by element by the kinds of the edges. No more than `ELEMENTS` of them
are made at once: beyond that rows come in turns, and are made again in the backward
pass.
"""

import fractions
import functools
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int8, Integer

from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.transformer import LayerNorm, split_heads
from mcr_jax.models.mtag.edges import RELATIONS
from mcr_jax.ops import dropout
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.selection import kth_largest

ELEMENTS = 2**21
SLOPE = 0.2


class Layer(nn.Module):
  """One layer of a stack: attention along the edges, and edges pruned behind it.

  Attributes:
    steps: of every modality in the batch, in order; N is their sum.
    positions: (N,) where the steps stood if no sequence were cut.
    depth: layers of the stack, of which the last prunes nothing.
    keep: share of the edges that a layer leaves.
    dropout: of the attention weights.
    relu, residual, norm: what is done to what was read.
  """

  steps: tuple[int, ...]
  positions: tuple[int, ...]
  depth: int
  heads: int
  keep: float
  dropout: Rate
  relu: bool
  residual: bool
  norm: bool
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, carry: tuple[Array, Array, Array], mask: Bool[Array, "B N"], train: bool
  ) -> tuple[tuple[Array, Array, Array], dict[str, Array]]:
    """Of x (B, N, D), edges (B, N, N) and how many layers came before."""
    x, edges, done = carry
    read, weights = self._attend(x, edges, train)
    read = LayerNorm(name="norm")(read) if self.norm else read
    read = nn.relu(read) if self.relu else read
    x = jnp.where(mask[..., None], x + read if self.residual else read, 0)
    left = jax.lax.cond(
      done < self.depth - 1,
      lambda *at: pruned(*at, self.keep),
      lambda edges, _: edges,
      edges,
      weights,
    )
    return (x, left, done + 1), {} if train else {"weights": weights}

  def _attend(self, x, edges, train):
    """What every step reads (B, N, D), and by which weights (B, N, N), of no head."""
    count, width = len(self.steps), x.shape[-1]
    split = split_heads(width, self.heads)
    glorot = nn.initializers.glorot_uniform
    kernel = self.param("kernel", glorot(batch_axis=0), (count, width, width))
    # By the modality that is read, the one that reads, and the relation.
    kinds = (count, count, RELATIONS)
    source, target = (
      self.param(f"{end}_kernel", glorot(batch_axis=(0, 1, 2)), (*kinds, *split))
      for end in ("source", "target")
    )
    bias = self.param("bias", nn.initializers.zeros, (width,))
    x, kernel, source, target, bias = nn.dtypes.promote_dtype(
      x, kernel, source, target, bias, dtype=self.dtype
    )
    ends = np.cumsum(self.steps)[:-1].tolist()
    value = [y @ kernel[m] for m, y in enumerate(jnp.split(x, ends, 1))]
    value = [y.reshape(*y.shape[:-1], *split) for y in value]
    score = functools.partial(
      jnp.einsum, preferred_element_type=jnp.promote_types(x.dtype, jnp.float32)
    )
    drop = Dropout(self.dropout, name="dropout").decisions(
      train=train, key=np.asarray(self.positions)
    )
    places = jnp.split(jnp.asarray(self.positions), ends)
    found = []
    for m, rows in enumerate(jnp.split(edges, ends, 1)):
      said = [score("bthd,rhd->bhrt", y, source[s, m]) for s, y in enumerate(value)]
      asks = score("bthd,srhd->bthsr", value[m], target[:, m])
      run = functools.partial(read, said, value, drop)
      found.append(in_turns(run, self.heads, asks, rows, places[m]))
    y, weights = (jnp.concatenate(part, 1) for part in zip(*found, strict=True))
    return y + broadcast_left(bias, y), weights


def read(
  said: Sequence[Float[Array, "B H R _"]],
  value: Sequence[Float[Array, "B _ H D"]],
  drop: dropout.Dropout | None,
  asks: Float[Array, "B Q H M R"],
  edges: Int8[Array, "B Q N"],
  places: Integer[Array, "Q"],
) -> tuple[Float[Array, "B Q E"], Float[Array, "B Q N"]]:
  """What some steps of one modality read, heads joined, and by which weights.

  Args:
    said: of every modality, what a step adds to the score of an edge by its relation.
    value: of every modality.
    drop: of the weights by which it is read.
    asks: what the reader adds, by modality that it reads and relation.
    edges: 0 or a relation.
    places: of the readers.
  """
  asks = jnp.moveaxis(asks, 1, 2)
  ends = np.cumsum([y.shape[1] for y in value])[:-1].tolist()
  blocks = jnp.split(edges[:, None], ends, -1)
  scores = []
  for s, kind in enumerate(blocks):
    terms = [asks[..., s, r, None] + said[s][:, :, r, None] for r in range(RELATIONS)]
    score = terms[-1]
    for r in range(RELATIONS - 1):
      score = jnp.where(kind == r + 1, terms[r], score)
    scores.append(jnp.where(kind > 0, nn.leaky_relu(score, SLOPE), -jnp.inf))
  peak = functools.reduce(jnp.maximum, [x.max(-1, keepdims=True) for x in scores])
  peak = jax.lax.stop_gradient(jnp.where(jnp.isfinite(peak), peak, 0))
  powers = [jnp.exp(x - peak) for x in scores]
  total = sum(x.sum(-1, keepdims=True) for x in powers)
  total = jnp.where(total == 0, 1, total)
  weights = jnp.concatenate([x / total for x in powers], -1)
  dropped = weights if drop is None else drop._replace(query=places).apply(weights)
  every = jnp.concatenate(value, 1)
  y = jnp.einsum("bhqn,bnhd->bqhd", dropped.astype(every.dtype), every)
  return y.reshape(*y.shape[:2], -1), jax.lax.stop_gradient(weights.mean(1))


def in_turns(run, heads, asks, edges, places):
  """`run` on all rows of its arguments; where they are many, on a part at a time."""
  size, rows, nodes = edges.shape
  turns = -(-size * heads * rows * nodes // ELEMENTS)
  if turns == 1:
    return run(asks, edges, places)
  a_turn = -(-rows // turns)
  fill = a_turn * turns - rows

  def divided(x, axis):
    pads = [(0, fill * (i == axis)) for i in range(x.ndim)]
    x = jnp.pad(x, pads)
    shape = (*x.shape[:axis], turns, a_turn, *x.shape[axis + 1 :])
    return jnp.moveaxis(x.reshape(shape), axis, 0)

  parts = divided(asks, 1), divided(edges, 1), divided(places, 0)
  found = jax.lax.map(jax.checkpoint(lambda part: run(*part)), parts)
  whole = lambda x: jnp.moveaxis(x, 0, 1).reshape(size, -1, *x.shape[3:])[:, :rows]
  return jax.tree.map(whole, found)


def pruned(
  edges: Int8[Array, "B N N"], weights: Float[Array, "B N N"], keep: float
) -> Int8[Array, "B N N"]:
  """The edges of a sample whose weights are its largest, and no others.

  Of e edges those stay that weigh no less than the one at place floor(keep e).
  """
  count = (edges > 0).sum((1, 2))
  # In whole numbers: a float below 0.65 times 380 edges would keep one too few.
  share = fractions.Fraction(keep).limit_denominator(1000)
  whole, rest = jnp.divmod(count, share.denominator)  # or a product may overflow
  kept = whole * share.numerator + rest * share.numerator // share.denominator
  least = jnp.maximum(kept, 1)
  threshold = kth_largest(weights.reshape(weights.shape[0], -1), least)
  return jnp.where(weights >= threshold[:, None, None], edges, 0)
