"""DialogueRNN: a state of the dialogue, one of every speaker, and one of the emotion.

N. Majumder, S. Poria, D. Hazarika, R. Mihalcea, A. Gelbukh and E. Cambria,
"DialogueRNN: an attentive RNN for emotion detection in conversations", AAAI 2019. At
turn t, with the vector u_t and the speaker s, all states zero at first,

  1. g_t = GRU_G([u_t, q_s], g_{t-1})                          the dialogue
  2. a = softmax_{i<t}(g_i . W u_t), c_t = sum_i a_i g_i       what was said before
  3. q_s <- GRU_P([u_t, c_t], q_s)                             who speaks
     q_p <- GRU_L([u_t, q_s], q_p) of all others               who listens: an option
  4. e_t = GRU_E(q_s, e_{t-1})                                 the emotion

with q_s in step 1 as it was before the turn. A second set of cells reads the dialogue
from its end, e = [e, e'], and the prediction reads what attention over all turns finds:

  5. b_t = softmax_j(e_j . (W' e_t + w')), y_t = W_o relu(W_h sum_j b_tj e_j)

As in the released code, dropout falls on g, q and e where they are computed, and what
it leaves is carried on. u_t are the vectors of all modalities side by side, zero where
a turn lacks one.

Deviations: the last layer starts at zero; a cell has one bias a sum, where PyTorch's
has two. Not repeated: the released code trains on MELD without a validation part and
reports the best test score of all epochs.
"""

import itertools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.precision import Precision
from mcr_jax.layers.recurrent import weights
from mcr_jax.ops import history
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.recurrence import gru, join_gru


class Model(contract.Model, Precision, kw_only=True):
  """DialogueRNN in both directions, with attention over what they say."""

  card = Card(
    "DialogueRNN",
    "Majumder, Poria, Hazarika, Mihalcea, Gelbukh, Cambria: DialogueRNN: An Attentive "
    "RNN for Emotion Detection in Conversations, AAAI 2019",
    reads="vectors",
    unit="dialogue",
  )

  global_width: int = field(150, low=1, doc="Of the state of the dialogue, g.")
  party_width: int = field(150, low=1, doc="Of the state of a speaker, q.")
  emotion_width: int = field(100, low=1, doc="Of the state of the emotion, e.")
  hidden: int = field(200, low=1, doc="Of the layer before the last one, W_h.")
  listener: bool = field(False, doc="Whether those who listen change their state.")
  bidirectional: bool = field(True, doc="Whether a second one reads from the end.")
  attention: bool = field(True, doc="Whether step 5 reads all turns, not e_t alone.")
  state_dropout: Rate = rate("Of the states g, q and e as they are computed.")
  context_dropout: Rate = rate("Of e before it is attended to.")
  dropout: Rate = rate("Before the last layer.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    dtype = self.computation
    real, speaker = batch.more["turn"], batch.more["speaker"]
    u = jnp.concatenate([keep(batch.x[m], batch.mask[m]) for m in self.modalities], -1)
    says, attention = [], {}
    for name in ("forward", "backward")[: 1 + self.bidirectional]:
      direction = Direction(
        (self.global_width, self.party_width, self.emotion_width),
        self.listener,
        name == "backward",
        self.state_dropout,
        dtype,
        name=name,
      )
      emotion, attention[name] = direction(u, real, speaker, train=train)
      says.append(emotion)
    e = jnp.concatenate(says, -1)
    e = Dropout(self.context_dropout, name="dropout_context")(e, train=train)
    x = e
    if self.attention:
      query = nn.Dense(e.shape[-1], dtype=dtype, name="match")(e)
      scores = jnp.einsum("btd,bjd->btj", query, e)
      shares = attention["emotion"] = masked_softmax(scores, real[:, None])
      x = jnp.einsum("btj,bjd->btd", shares.astype(e.dtype), e)
    x = nn.relu(nn.Dense(self.hidden, dtype=dtype, name="hidden")(x))
    predictions = output_layer(x, self.outputs, self.dropout, train)
    drawn = {} if train else {"attention": attention}
    return Output(predictions, intermediates={"emotion": e, "features": x, **drawn})


class Cell(nn.Module):
  """The weights of a GRU that reads `parts` vectors joined."""

  parts: tuple[int, ...]
  width: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self) -> "Weights":
    found = weights(self, "gru", sum(self.parts), self.width)
    kernel, *rest = nn.dtypes.promote_dtype(*found, dtype=self.dtype)
    ends = list(itertools.accumulate(self.parts[:-1]))
    return Weights(tuple(jnp.split(kernel, ends)), *rest)


class Weights(NamedTuple):
  """Of a GRU: a kernel a part of the input, and the rest of `recurrent.weights`."""

  kernels: tuple[Array, ...]
  recurrent: Array
  bias: Array
  inside: Array


class Direction(nn.Module):
  """Steps 1 to 4 from the first real turn to the last, or from the last to the first.

  States are float32 or wider.

  Attributes:
    widths: of g, q and e.
    listener: whether step 3 has its second line.
    reverse: whether the dialogue is read from its end.
    dropout: of states.
    dtype: of the products.
  """

  widths: tuple[int, int, int]
  listener: bool
  reverse: bool
  dropout: Rate
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self,
    u: Float[Array, "B U D"],
    real: Bool[Array, "B U"],
    speaker: Integer[Array, "B U"],
    *,
    train: bool,
  ) -> tuple[Float[Array, "B U E"], Float[Array, "B U U"]]:
    """e of every turn, and what step 2 attends to."""
    turn = lambda x: x[:, ::-1] if self.reverse else x
    real, speaker = turn(real), turn(speaker)
    given = {"real": real, "seen": earlier(real)}
    given |= {name: turn(x) for name, x in self._kept(real.shape, train).items()}
    if self.listener:
      given["who"] = speaker[..., None] == jnp.arange(real.shape[1])[None, None]
    else:
      given["before"] = turn_before(speaker, real)
    x, fixed, matrices = self._products(turn(u))
    steps_first = lambda tree: jax.tree.map(lambda a: jnp.swapaxes(a, 0, 1), tree)
    query, (batch, turns) = x["query"], real.shape
    # A row for all steps and samples alike; the loop has one a step.
    x = steps_first(x) | {
      name: jnp.broadcast_to(row, (turns, 1, row.size)) for name, row in fixed.items()
    }
    zeros = lambda *shape: jnp.zeros(shape, query.dtype)
    g, q, e = self.widths
    state = {"g": zeros(batch, g), "e": zeros(batch, e)}
    if self.listener:
      state["parties"] = zeros(batch, turns, q)
    past = {
      name: zeros(turns, batch, width)
      for name, width in zip("gqe", self.widths, strict=True)
    }
    past = steps_first(
      history.scan(take_turn, x, steps_first(given), matrices, state, past)
    )
    scores = jnp.einsum("btd,bjd->btj", query, past["g"])
    shares = masked_softmax(scores, given["seen"])
    if self.reverse:
      shares = shares[:, ::-1, ::-1]
    return turn(past["e"]).astype(u.dtype), shares

  def _products(self, u):
    """What reads u alone, biases, and the matrices of the loop, each by name.

    (B, U, G) of the first, one product before the loop.
    """
    size, (g, q, e) = u.shape[-1], self.widths
    parts = {
      "global": ((size, q), g),
      "party": ((size, g), q),
      "emotion": ((q,), e),
      **({"listener": ((size, q), q)} if self.listener else {}),
    }
    cells = {n: Cell(*of, self.dtype, name=n)() for n, of in parts.items()}
    recall = self.param("recall", nn.initializers.lecun_normal(), (size, g))
    (recall,) = nn.dtypes.promote_dtype(recall, dtype=self.dtype)
    readers = [name for name in cells if name != "emotion"]
    kernel = jnp.concatenate([*(cells[n].kernels[0] for n in readers), recall], -1)
    products = u.astype(kernel.dtype) @ kernel
    wide = jnp.promote_types(products.dtype, jnp.float32)
    ends = itertools.accumulate(cells[n].bias.size for n in readers)
    split = jnp.split(products.astype(wide), list(ends), -1)
    x = dict(zip((*readers, "query"), split, strict=True))
    fixed = {}
    for name, cell in cells.items():
      fixed[f"{name} bias"] = cell.bias.astype(wide)
      fixed[f"{name} inside"] = cell.inside.astype(wide)
    # What a speaker was before the turn goes into two cells.
    own = jnp.concatenate([cells["global"].kernels[1], cells["party"].recurrent], -1)
    matrices = {
      "own": own,
      "global": cells["global"].recurrent,
      "context": cells["party"].kernels[1],
      "spoken": cells["emotion"].kernels[0],
      "emotion": cells["emotion"].recurrent,
    }
    if self.listener:
      matrices["heard"] = cells["listener"].kernels[1]
      matrices["listener"] = cells["listener"].recurrent
    return x, fixed, matrices

  def _kept(self, shape, train):
    """By what dropout multiplies every state, (B, U, H) by name; {} without any."""
    shapes = {f"keep {n}": (w,) for n, w in zip("gqe", self.widths, strict=True)}
    if self.listener:
      shapes["keep others"] = (shape[1], self.widths[1])
    kept = {}
    for name, rest in shapes.items():
      ones = jnp.ones((*shape, *rest))
      drop = Dropout(self.dropout, name=f"dropout_{name[5:]}")
      if (found := drop(ones, train=train)) is not ones:
        kept[name] = found
    return kept


def take_turn(state, x, given, t, multiply, past):
  """Steps 1 to 4 at one turn, a `history.Step`."""
  del t
  real = given["real"][:, None]
  step = lambda name, old, x, recurrent: drop(
    name, gru((old,), join_gru(x, recurrent))[0]
  )

  def drop(name, new):
    kept = given.get(f"keep {name}")
    return new if kept is None else new * kept.astype(new.dtype)

  if "who" in given:
    who = given["who"][..., None]
    own = jnp.where(who, state["parties"], 0).sum(1)
  else:
    before = given["before"]
    rows = past["q"][jnp.maximum(before, 0), jnp.arange(before.shape[0])]
    own = jnp.where(before[:, None] >= 0, rows, 0)
  from_own = multiply("own", own)
  split = 3 * state["g"].shape[-1]

  inputs = x["global"] + x["global bias"] + from_own[:, :split]
  recurrent = multiply("global", state["g"]) + x["global inside"]
  g = jnp.where(real, step("g", state["g"], inputs, recurrent), state["g"])

  scores = jnp.einsum("tbd,bd->bt", past["g"], x["query"])
  context = jnp.einsum("bt,tbd->bd", masked_softmax(scores, given["seen"]), past["g"])
  inputs = x["party"] + x["party bias"] + multiply("context", context)
  q = step("q", own, inputs, from_own[:, split:] + x["party inside"])

  inputs = multiply("spoken", q) + x["emotion bias"]
  recurrent = multiply("emotion", state["e"]) + x["emotion inside"]
  e = jnp.where(real, step("e", state["e"], inputs, recurrent), state["e"])
  after = {"g": g, "e": e}
  if "who" in given:
    inputs = x["listener"] + x["listener bias"] + multiply("heard", q)
    recurrent = multiply("listener", state["parties"]) + x["listener inside"][:, None]
    inputs = jnp.broadcast_to(inputs[:, None], recurrent.shape)
    heard = step("others", state["parties"], inputs, recurrent)
    parties = jnp.where(who, q[:, None], heard)
    after["parties"] = jnp.where(real[..., None], parties, state["parties"])
  return after, {"g": g, "q": q, "e": e}


def earlier(real: Bool[Array, "B U"]) -> Bool[Array, "B U U"]:
  """Whether j is a real turn before t, at (t, j)."""
  turns = real.shape[1]
  return real[:, None] & jnp.tri(turns, k=-1, dtype=bool)[None]


def turn_before(
  speaker: Integer[Array, "B U"], real: Bool[Array, "B U"]
) -> Integer[Array, "B U"]:
  """Which turn the speaker of every turn had before; -1 where it is the first one."""
  same = earlier(real) & (speaker[:, :, None] == speaker[:, None])
  return jnp.where(same, jnp.arange(real.shape[1])[None, None], -1).max(-1)
