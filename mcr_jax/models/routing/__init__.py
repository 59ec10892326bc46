"""Multimodal Routing: how much every modality and interaction adds to every class.

Y.-H. H. Tsai, M. Q. Ma, M. Yang, R. Salakhutdinov and L.-P. Morency, "Multimodal
routing: improving local and global interpretability of multimodal language analysis",
EMNLP 2020. Features f_i are those of single modalities, of pairs and of all together:

- A causal transformer a modality, and one for every ordered pair m <- n in which m
  reads n (transformers.py); of all of them the last step. f_m = m, f_mn is one
  direction of a pair, and f_all a linear map of the others, joined. With l, a, v these
  are l, a, v, l <- a, v <- l, a <- v and [l <- v, a <- l, v <- a].

Concepts c_j are made of them, one a class:

  1. u_i, p_i = W_i f_i + b_i, with p_i <- s(p_i)      a pose, and how active it is
  2. v_ij = u_i W_ij                                   what i says of j
  3. c_j = mean_j sum_i v_ij, and then, `routings` times,
     r_ij = softmax_j(v_ij . c_j / sqrt(pose)), c_j = sum_i p_i r_ij v_ij
  4. logit_j = c_j . o_j

In evaluation logit_j = sum_i p_i r_ij (v_ij . o_j): the intermediate `contribution` has
these terms, for which the model was made. o is zero at first, and so are all logits.

A regression has a class a level, -3, -2, ... 3 of sentiment: the prediction is their
mean under the softmax of the logits, and the loss `levels` the cross-entropy of the
rounded label. The authors train by it alone, which is `loss.weights.task=0`.

Of the released code, whose first concepts do not know p (3 follows it): the number of
self-attention layers has no effect there, a bias of the output is not used, and the
predictions that it prints are sums of logits. None of these is repeated. Sequences of
different lengths stop it, where it joins their results; here they are read.

Deviations: padding is never attended to, and `last` is the last real step. Sinusoids
alternate sine and cosine, and begin at step 0. A feature of a modality that misses has
u = 0 and p = 0. Vectors have f = relu(W x + b) of the vectors that belong to it.
"""

import itertools
import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.errors import choose
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.embed import TemporalEmbedding
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.stack import recomputes
from mcr_jax.models.routing.transformers import Job, Transformers
from mcr_jax.ops import pooling

ENCODERS = ("auto", "transformer", "mean")


class Model(contract.Model, Precision, kw_only=True):
  """Features of modalities and their interactions, routed to concepts."""

  card = Card(
    "Multimodal Routing",
    "Tsai, Ma, Yang, Salakhutdinov, Morency: Multimodal Routing: Improving Local and "
    "Global Interpretability of Multimodal Language Analysis, EMNLP 2020",
    optional={"levels": 1.0},
    head=r"votes|output/kernel",
  )

  encoder: str = field(
    "auto",
    choices=ENCODERS,
    doc="What makes features: transformers, or layers on the mean of the real steps; "
    "auto takes the second for data of one step.",
  )
  width: int = field(200, low=1, doc="Of a feature, and of the transformers.")
  heads: int = field(20, low=1, doc="Of every attention; divides the width.")
  layers: int = field(7, low=1, doc="Of a transformer.")
  pose: int = field(64, low=1, doc="Of a pose and of a concept.")
  routings: int = field(1, low=0, doc="Updates of the concepts.")
  levels: int = field(7, low=2, doc="Classes of a regression, around zero.")
  step: float = field(1.0, above=0, doc="From one of these classes to the next.")
  concept_dropout: Rate = rate("Of the concepts, after every update.")
  remat: bool = field(
    False,
    doc="Recompute layers in the backward pass, of batches where that saves much.",
  )

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    batch, here = jax.tree.map(jnp.asarray, batch), {}
    for m in self.modalities:
      here[m] = batch.mask[m].any(-1)
    how = choose(self.encoder, ENCODERS, "model.encoder")
    if how == "auto":
      how = "mean" if set(self.spec.lengths.values()) == {1} else "transformer"
    features = getattr(self, f"_by_{how}")(batch, train)
    present = [jnp.stack([here[m] for m in of]).all(0) for of, _ in features]
    f = jnp.stack([x for _, x in features], 1)
    logits, seen = self._route(f, jnp.stack(present, 1), train)
    levels = self.levels if self.spec.task == "regression" else 1
    shape = (*self.outputs, levels) if levels > 1 else self.outputs
    logits = logits.reshape(-1, *shape)
    if levels == 1:
      return Output(logits, intermediates=seen)
    centre = (levels - 1) / 2
    chance = nn.softmax(logits)
    values = self.step * (jnp.arange(levels, dtype=chance.dtype) - centre)
    losses = {}
    if train and batch.label is not None:
      label = batch.label / self.step
      losses["levels"] = surprise(logits, label, batch.weight, centre)
    return Output(chance @ values, losses, intermediates=seen | {"chance": chance})

  def _by_mean(self, batch, train):
    """Features of vectors, each with its modalities."""
    means = {m: pooling.mean(batch.x[m], batch.mask[m]) for m in self.modalities}
    features = []
    for of, _ in interactions(self.modalities):
      joined = jnp.concatenate([means[m] for m in of], -1)
      layer = nn.Dense(self.width, dtype=self.computation, name="_".join(of))
      features.append((of, nn.relu(layer(joined))))
    return features

  def _by_transformer(self, batch, train):
    """Features of sequences, each with its modalities."""
    x, mask = {}, {m: batch.mask[m] for m in self.modalities}
    for m in self.modalities:
      embed = TemporalEmbedding(
        self.width,
        1,
        use_bias=False,
        scale=self.width**0.5,
        dtype=self.computation,
        name=f"embed_{m}",
      )
      x[m] = embed(batch.x[m], mask[m], train=train)
    lengths = self.spec.lengths
    ways = list(itertools.permutations(self.modalities, 2))
    apart = {(t, s): abs(lengths[t] - lengths[s]) for t, s in ways}
    own = [Job(x[m], mask[m]) for m in self.modalities]
    cross = [Job(x[t], mask[t], x[s], mask[s], apart[t, s]) for t, s in ways]
    settings = self.heads, self.layers, recomputes(self.remat, mask), self.computation
    read = dict(zip(mask, Transformers(*settings, name="self")(own), strict=True))
    if cross:
      found = Transformers(*settings, name="cross")(cross)
      read |= dict(zip(ways, found, strict=True))
    features = []
    for of, ways in interactions(self.modalities):
      parts = [read[way if len(way) > 1 else way[0]] for way in ways]
      if len(parts) == 1 and len(of) < 3:
        features.append((of, parts[0]))
        continue
      joined = jnp.concatenate(parts, -1)
      layer = nn.Dense(self.width, dtype=self.computation, name="all")
      features.append((of, layer(joined)))
    return features

  def _route(
    self, f: Float[Array, "B I D"], present: Bool[Array, "B I"], train: bool
  ) -> tuple[Float[Array, "B J"], dict[str, Array]]:
    """Steps 1 to 4, in float32 or wider."""
    count, size = f.shape[1:]
    classes = math.prod(self.outputs)
    classes *= self.levels if self.spec.task == "regression" else 1
    lecun = nn.initializers.lecun_normal(batch_axis=(0,))
    kernel = self.param("pose_kernel", lecun, (count, size, self.pose + 1))
    bias = self.param("pose_bias", nn.initializers.zeros, (count, self.pose + 1))
    spread = nn.initializers.normal((classes / (self.pose * count)) ** 0.5)
    votes = self.param("votes", spread, (count, self.pose, classes, self.pose))
    output = nn.initializers.zeros
    output = self.param("output", lambda key: {"kernel": output(key, votes.shape[2:])})
    output = output["kernel"]
    wide = jnp.promote_types(f.dtype, jnp.float32)
    f, kernel = nn.dtypes.promote_dtype(f, kernel, dtype=self.computation)
    u = jnp.einsum("bid,idp->bip", f, kernel).astype(wide) + bias.astype(wide)[None]
    u, active = u[..., :-1], nn.sigmoid(u[..., -1])
    u = jnp.where(present[..., None], u, 0)
    active = jnp.where(present, active, 0)
    u, votes = nn.dtypes.promote_dtype(u, votes, dtype=self.computation)
    v = jnp.einsum("bip,ipjq->bijq", u, votes).astype(wide)
    share = jnp.full(v.shape[:-1], 1 / classes, wide)
    c = v.sum(1) / classes
    used = share
    for i in range(self.routings):
      share = nn.softmax(jnp.einsum("bijq,bjq->bij", v, c) * self.pose**-0.5)
      used = active[..., None] * share
      c = jnp.einsum("bij,bijq->bjq", used, v)
      c = Dropout(self.concept_dropout, name=f"dropout_{i}")(c, train=train)
    output = output.astype(wide)
    parts = used * jnp.einsum("bijq,jq->bij", v, output)
    seen = {"active": active, "routing": share, "contribution": parts, "features": f}
    return jnp.einsum("bjq,jq->bj", c, output), seen


def interactions(modalities: tuple[str, ...]) -> list[tuple[tuple, list[tuple]]]:
  """The modalities of every feature, and the (targets, sources) that it is made of.

  Singles, pairs, and all together; two modalities have both directions in the last.
  """
  count, ways = len(modalities), list(itertools.permutations(modalities, 2))
  found = [((m,), [(m,)]) for m in modalities]
  if count > 2:
    for i, j in itertools.combinations(range(count), 2):
      way = (i, j) if 2 * (j - i) <= count else (j, i)
      way = tuple(modalities[k] for k in way)
      ways.remove(way)
      found.append((tuple(modalities[k] for k in (i, j)), [way]))
  return found + [(tuple(modalities), ways)] * (count > 1)


def surprise(
  logits: Float[Array, "B *K L"],
  label: Float[Array, "B *_"],
  weight: Float[Array, "B"],
  centre: float,
) -> Float[Array, "B"]:
  """The cross-entropy of labels rounded to a level, a mean over those of a sample."""
  label = label.reshape(logits.shape[:-1])
  counts = (weight != 0).reshape(-1, *[1] * (label.ndim - 1))
  # Rows that do not count may hold anything.
  label = jnp.where(counts, label, 0)
  level = jnp.round(label + centre % 1) + centre // 1
  level = jnp.clip(level, 0, logits.shape[-1] - 1)
  level = nn.one_hot(level.astype(jnp.int32), logits.shape[-1], dtype=logits.dtype)
  values = -(level * nn.log_softmax(logits)).sum(-1)
  return values.reshape(len(values), -1).mean(-1)
