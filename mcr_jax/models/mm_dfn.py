"""MM-DFN: a graph of the turns of all modalities, read layer by layer through gates.

D. Hu, X. Hou, L. Wei, L. Jiang and Y. Mo, "MM-DFN: multimodal dynamic fusion network
for emotion recognition in conversations", ICASSP 2022. Every modality of every turn is
a node. With the vectors u_m of a modality, and GRUs in both directions,

  1. V_m = W_m u_m + b_m, C_l = GRU(V_l) of the language, C_m = V_m of the others
  2. S_m = GRU_S(V_m), over the turns of each speaker alone, one for all of them
  3. X_m = C_m + lambda_m S_m
  4. w_xy = 1 - arccos(0.99999 cos(x, y)) / pi between any two turns of one modality, a
     node and itself among them, and between the modalities of one turn;
     A = D^-1/2 w D^-1/2 with the degrees D
  5. H0 = relu(W_0 X), h = H0, and for k = 1 .. K, theta = ln(0.5 / k + 1),
     (g, c) = LSTM(h, (g, c)), one for all layers and nodes: its time is depth;
     P = A g,
     h <- relu(theta W_k [P, H0] + (1 - theta) ((1 - alpha) P + alpha H0)) + h
  6. y_t = W relu([X, h] of all modalities of turn t)

Dropout falls on X before step 5 and with the same draw in step 6, on H0, behind every
ReLU of step 5, between layers of GRUs, and before W.

Open in the paper, decided here: a modality that a turn lacks is no node, neither has
edges nor is read in step 6; the language is `main`; cos is 0 where a vector is zero.
Deviations: GRUs hold over what is missing, and W starts at zero. Not repeated of the
released code: GRUs that run backward through the padding of a batch before they reach a
dialogue, and the best test score of all epochs.
"""

from collections.abc import Mapping
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.recurrent import RNN, weights
from mcr_jax.ops import dropout, recurrence
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.fusion import main_and_auxiliaries
from mcr_jax.ops.masking import keep

# The greatest cosine that step 4 knows, short of where arccos has no slope.
ALMOST_ONE = 0.99999


class Model(contract.Model, Precision, kw_only=True):
  """MM-DFN on the vectors of the turns of a dialogue."""

  card = Card(
    "MM-DFN",
    "Hu, Hou, Wei, Jiang, Mo: MM-DFN: Multimodal Dynamic Fusion Network for Emotion "
    "Recognition in Conversations, ICASSP 2022",
    reads="vectors",
    unit="dialogue",
  )

  width: int = field(100, low=1, doc="Of a GRU, in each direction; X is twice as wide.")
  recurrent_layers: int = field(2, low=1, doc="Of a GRU.")
  main: str = field(
    "", modalities=True, doc="The language, step 1; the first modality if empty."
  )
  speaker_weights: Mapping[str, float] = field(
    FrozenDict(),
    modalities=True,
    doc="lambda of step 3; of those not named 1.5 for the language, else 0.5.",
  )
  graph_width: int = field(100, low=1, doc="Of a node in step 5.")
  layers: int = field(32, low=0, doc="K of step 5.")
  alpha: float = field(0.2, low=0, high=1, doc="The share of H0 in step 5.")
  dropout: Rate = rate("Everywhere.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    dtype = self.computation
    names = self.modalities
    here = jnp.stack([batch.mask[m] & batch.more["turn"] for m in names], 1)
    x = self._turns(batch, here, dtype, train)
    graph = Graph.of(x, here)
    x = Dropout(self.dropout, name="dropout_turns")(x, train=train)
    layers = Layers(
      self.graph_width, self.layers, self.alpha, self.dropout, dtype, name="graph"
    )
    h = layers(x, graph, train=train)
    # A node of every modality, side by side: (B, U, N (2 W + G)).
    nodes = jnp.moveaxis(keep(jnp.concatenate([x, h.astype(x.dtype)], -1), here), 1, 2)
    features = nn.relu(nodes.reshape(*nodes.shape[:2], -1))
    predictions = output_layer(features, self.outputs, self.dropout, train)
    drawn = {} if train else {"graph": {"within": graph.within, "across": graph.across}}
    return Output(predictions, intermediates={"features": features, **drawn})

  def _turns(self, batch, here, dtype, train) -> Float[Array, "B N U X"]:
    """Steps 1 to 3: X of every modality, zero where there is none."""
    names = self.modalities
    main, _ = main_and_auxiliaries(names, self.main)
    dense = lambda m: nn.Dense(2 * self.width, dtype=dtype, name=f"project_{m}")
    v = [keep(dense(m)(keep(batch.x[m], batch.mask[m])), batch.mask[m]) for m in names]
    rnn = lambda name: RNN(
      self.width,
      "gru",
      self.recurrent_layers,
      bidirectional=True,
      dropout=self.dropout,
      dtype=dtype,
      name=name,
    )
    v = keep(jnp.stack(v, 1), here)
    context = list(jnp.moveaxis(v, 1, 0))
    place = names.index(main)
    context[place], _ = rnn("context")(context[place], here[:, place], train=train)

    # The turns of a speaker one after another; modalities are samples of one batch, in
    # an order in which none moves where the batch is filled up.
    each = lambda a: jnp.repeat(a, len(names), 0)
    rows = lambda a: a.reshape(-1, *a.shape[2:])
    take = lambda a, i: jnp.take_along_axis(a, i[..., None] if a.ndim > 2 else i, 1)
    order, runs = map(each, by_speaker(batch.more["speaker"], batch.more["turn"]))
    v, sorted_here = take(rows(v), order), take(rows(here), order)
    heard, _ = rnn("speaker")(v, sorted_here, runs, train=train)
    heard = take(heard, jnp.argsort(order, -1)).reshape(*here.shape, -1)
    shares = [self.speaker_weights.get(m, 1.5 if m == main else 0.5) for m in names]
    shares = jnp.asarray(shares, heard.dtype)[None, :, None, None]
    return keep(jnp.stack(context, 1) + shares * heard, here)


def by_speaker(
  speaker: Integer[Array, "B U"], real: Bool[Array, "B U"]
) -> tuple[Integer[Array, "B U"], Integer[Array, "B U"]]:
  """The turns in the order of their speakers, those that are none last; and who speaks.

  Both in the new order.
  """
  who = jnp.where(real, speaker, speaker.shape[1])
  order = jnp.argsort(who, -1, stable=True)
  return order, jnp.take_along_axis(who, order, -1)


class Graph(NamedTuple):
  """A of step 4, by its blocks; zero where a node is missing."""

  within: Float[Array, "B N U U"]
  across: Float[Array, "B N N U"]

  @classmethod
  def of(cls, x: Float[Array, "B N U X"], here: Bool[Array, "B N U"]) -> "Graph":
    """The graph of what the nodes hold, in float32 or wider."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    square = jnp.square(x).sum(-1, keepdims=True)
    # A root has no slope at zero.
    unit = x / jnp.sqrt(jnp.maximum(square, 1e-24))

    def weigh(cosine, both):
      angle = jnp.arccos(ALMOST_ONE * jnp.clip(cosine, -1, 1))
      return jnp.where(both, 1 - angle / jnp.pi, 0)

    one, other = here[:, :, None], here[:, None]
    within = weigh(
      jnp.einsum("bnix,bnjx->bnij", unit, unit), here[..., None] & here[..., None, :]
    )
    different = ~np.eye(x.shape[1], dtype=bool)[None, ..., None]
    across = weigh(jnp.einsum("bnux,bmux->bnmu", unit, unit), one & other & different)
    degree = within.sum(-1) + across.sum(2)
    root = jnp.where(here, jax.lax.rsqrt(jnp.where(here, degree, 1)), 0)
    return cls(
      within * root[..., None] * root[..., None, :],
      across * root[:, :, None] * root[:, None],
    )

  def spread(self, g: Float[Array, "B N U G"]) -> Float[Array, "B N U G"]:
    """A g."""
    within, across = (a.astype(g.dtype) for a in (self.within, self.across))
    return jnp.einsum("bnij,bnjg->bnig", within, g) + jnp.einsum(
      "bnmu,bmug->bnug", across, g
    )


class Layers(nn.Module):
  """Step 5."""

  width: int
  layers: int
  alpha: float
  dropout: Rate
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B N U X"], graph: Graph, *, train: bool
  ) -> Float[Array, "B N U G"]:
    """h of the last layer."""
    first = nn.relu(nn.Dense(self.width, dtype=self.dtype, name="first")(x))
    h = Dropout(self.dropout, name="dropout_first")(first, train=train)
    if not self.layers:
      return h
    kernels = self.param(
      "kernels",
      nn.initializers.lecun_normal(batch_axis=0),
      (self.layers, 2 * self.width, self.width),
    )
    gates = LSTM(self.width, name="lstm")()
    kernels, *gates = nn.dtypes.promote_dtype(kernels, *gates, dtype=self.dtype)
    theta = np.log(0.5 / np.arange(1, self.layers + 1) + 1)
    draw = Dropout(self.dropout, name="dropout").decisions(train=train)
    seeds = None
    if draw is not None:  # of its own in every layer
      layer = jnp.arange(self.layers, dtype=jnp.uint32)
      seeds = dropout.finalise(draw.seed + dropout.columns(layer))

    def layer(carry, inputs):
      h, g, c = carry
      kernel, theta, seed = inputs
      joined = h @ gates[0] + g.astype(h.dtype) @ gates[1]
      joined = joined + broadcast_left(gates[2], joined)
      g, c = recurrence.lstm((g, c), joined.astype(g.dtype))
      spread = graph.spread(g).astype(h.dtype)
      mixed = theta * (jnp.concatenate([spread, first], -1) @ kernel)
      kept = (1 - self.alpha) * spread + self.alpha * first
      y = nn.relu(mixed + (1 - theta) * kept)
      if seed is not None:
        y = dropout.dropout(y, self.dropout, seed)
      return (h + y, g, c), None

    zeros = jnp.zeros(h.shape, jnp.promote_types(h.dtype, jnp.float32))
    inputs = kernels, jnp.asarray(theta, h.dtype), seeds
    (h, _, _), _ = jax.lax.scan(layer, (h, zeros, zeros), inputs)
    return h


class LSTM(nn.Module):
  """The weights of the cell whose time is depth."""

  width: int

  @nn.compact
  def __call__(self) -> tuple[Array, Array, Array]:
    return weights(self, "lstm", self.width, self.width)[:3]
