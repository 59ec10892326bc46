"""Self-MM: the parts of modalities learn from labels that training makes for them.

W. Yu, H. Xu, Z. Yuan and J. Wu, "Learning modality-specific representations with
self-supervised multi-task learning for multimodal sentiment analysis", AAAI 2021. With
a vector x_s of every modality,

  1. F = relu(W_1 [x_1, ..., x_M]), y^ = V relu(W_2 F)          all of them
  2. F_s = relu(W_s1 x_s), y^_s = V_s relu(W_s2 F_s)            one of them
  3. L = L_task(y^, y) + sum_s tanh(|y_s - y|) |y^_s - y_s|

where y_s is y at first, and moves from the second epoch on after every batch by how F_s
and F lie between the centres of positive and negative samples (ops/generated.py). What
3 needs of a sample is remembered by its row in the data that trains: y_s, F and F_s as
they were last, and how often it was seen, which is the epoch. Only regressions have
such labels.

As published, `encoder=lstm`: an LSTM for every modality but the main one, the text,
whose vector is that of its language model.

Open in the paper, decided here: a modality that a sample lacks neither moves centres
nor has a label or a loss there; a label stays where one of its centres has no sample.
With several labels each has centres of its own. Deviations: V starts at zero, dropout
comes before it, too, and no linear layer stands behind an LSTM.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Float

from mcr_jax.contract import PER_SAMPLE, Batch, Card
from mcr_jax.errors import UserError
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.utterance import Fused, Fusion, Present, Vectors
from mcr_jax.ops import generated
from mcr_jax.ops.fusion import main_and_auxiliaries

FUSED = "fused"


class Model(Fusion):
  """A regression with a task of its own for every modality."""

  card = Card(
    "Self-MM",
    "Yu, Xu, Yuan, Wu: Learning Modality-Specific Representations with Self-Supervised "
    "Multi-Task Learning for Multimodal Sentiment Analysis, AAAI 2021",
    reads="vectors",
    losses={"unimodal": 1.0},
    head=r"output(_[^/]+)?/[^/]+",
  )

  hidden: int = field(128, low=1, doc="Of the layers of step 1.")
  width: int = field(32, low=1, doc="Of the layers of step 2.")
  widths: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  main: str = field(
    "", modalities=True, doc="The modality without an LSTM; the first one if empty."
  )
  bound: float = field(3.0, above=0, doc="Of the labels of modalities: [-b, b].")
  fusion_dropout: Rate = rate("Of what step 1 reads.")
  unimodal_dropout: Rate = rate("Of what step 2 reads.")

  def how(self, modality: str) -> str:
    main, _ = main_and_auxiliaries(self.modalities, self.main)
    recurrent = self.encoder == "lstm" and modality == main
    return "mean" if recurrent else self.encoder

  def fuse(
    self, vectors: Vectors, present: Present, batch: Batch, *, train: bool
  ) -> Fused:
    if self.spec.task != "regression":
      raise UserError(
        f"Self-MM makes labels that are numbers; those of the data are "
        f"{self.spec.task}. Right is a regression."
      )
    dense = lambda size, name, x: nn.Dense(size, dtype=x.dtype, name=name)(x)
    layer = lambda size, name, x: nn.relu(dense(size, name, x))
    x = jnp.concatenate(list(vectors.values()), -1)
    x = Dropout(self.fusion_dropout, name="dropout_fusion")(x, train=train)
    features = {FUSED: layer(self.hidden, "fusion_1", x)}
    says, count = {}, math.prod(self.outputs)
    for m, x in vectors.items():
      width = self.widths.get(m, self.width)
      x = Dropout(self.unimodal_dropout, name=f"dropout_{m}")(x, train=train)
      features[m] = layer(width, f"{m}_1", x)
      y = dense(count, f"output_{m}", layer(width, f"{m}_2", features[m]))
      says[m] = y.astype(jnp.promote_types(y.dtype, jnp.float32))
    memory = Memory(max(self.spec.samples, 1), count, self.bound, name="memory")
    losses, drawn = {}, {"unimodal": says}
    labels = memory(features, present, batch, train=train)
    if train:
      own = {m: _loss(says[m], labels[m], labels[FUSED]) for m in says}
      losses["unimodal"] = sum(jnp.where(present[m], own[m], 0) for m in says)
      drawn["labels"] = labels
    top = layer(self.hidden, "fusion_2", features[FUSED])
    return Fused(top, losses, intermediates=drawn)


class Memory(nn.Module):
  """What training knows of every sample: features, labels, and how often it was seen.

  Attributes:
    samples: of the data that trains.
    count: numbers of a label.
    bound: of labels that are made.
  """

  samples: int
  count: int
  bound: float

  @nn.compact
  def __call__(
    self,
    features: dict[str, Float[Array, "B _"]],
    present: Present,
    batch: Batch,
    *,
    train: bool,
  ) -> dict[str, Float[Array, "B O"]]:
    """The labels of a batch before the step, `FUSED` the given ones; {} of predictions.

    A step of training then moves them. Rows of weight 0, and those that are no row of
    the data, have no memory.
    """
    store = lambda name, *shape: self.variable(
      PER_SAMPLE, name, jnp.zeros, (self.samples, *shape), jnp.float32
    )
    rows = {m: store(f"features_{m}", x.shape[-1]) for m, x in features.items()}
    labels = {m: store(f"labels_{m}", self.count) for m in features}
    seen = {m: store(f"seen_{m}") for m in features}
    if not train:
      return {}
    wide = lambda x: jax.lax.stop_gradient(x).astype(rows[FUSED].value.dtype)
    counts = batch.weight > 0
    y = jnp.zeros((len(counts), self.count)) if batch.label is None else batch.label
    y = wide(jnp.where(counts[:, None], y.reshape(len(counts), -1), 0))
    index = batch.more.get("index", jnp.full(len(counts), -1))
    here = {FUSED: counts & (index >= 0)}
    here |= {m: here[FUSED] & present[m] for m in present}
    at = lambda store: store.value[jnp.clip(index, 0, self.samples - 1)]
    before = {m: jnp.where(here[m], at(seen[m]), 0) for m in features}
    old = {m: jnp.where((before[m] > 0)[:, None], at(labels[m]), y) for m in features}
    old[FUSED] = y
    if self.is_initializing() or not self.is_mutable_collection(PER_SAMPLE):
      return old

    positions, both = {}, {}
    for m, x in features.items():
      middle, both[m] = generated.centres(
        rows[m].value, labels[m].value, seen[m].value > 0
      )
      positions[m] = generated.position(wide(x), middle)
    for m, x in features.items():
      after = old[m]
      if m != FUSED:
        pair = positions[m], positions[FUSED]
        after = generated.moved(old[m], y, pair, before[m] + 1, self.bound)
        after = jnp.where((both[m] & both[FUSED])[None], after, old[m])
      # Beyond the last row nothing is written.
      place = jnp.where(here[m], index, self.samples)
      for stored, value in ((rows, wide(x)), (labels, after), (seen, before[m] + 1)):
        known = stored[m].value
        stored[m].value = known.at[place].set(value.astype(known.dtype), mode="drop")
    return old


def _loss(found, label, whole):
  """tanh(|y_s - y|) |y^_s - y_s|, the mean over the numbers of a label."""
  return (jnp.tanh(jnp.abs(label - whole)) * jnp.abs(found - label)).mean(-1)
