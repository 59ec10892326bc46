"""RMFN: what modalities say at a step, brought together in several stages.

P. P. Liang, Z. Liu, A. Zadeh and L.-P. Morency, "Multimodal language analysis with
recurrent multistage fusion", EMNLP 2018. At step t, with the code z zero at first,

  1. h_m, c_m = LSTHM_m(x_m[t], z, (h_m, c_m)), h = [h_1, ..., h_M]     `layers.lsthm`
  2. for each stage k, on the same h,
       a^k = softmax(W_a LSTM_H(h)),   htilde^k = a^k * h               highlight
       s^k = LSTM_F(htilde^k)                                           fuse
  3. z = s(W_z [s^1, ..., s^K])                                         summarize

where both LSTMs go from stage to stage, and begin anew at every step. The prediction is
MLP([h[T], z[T]]), with a hidden ReLU layer and dropout after it.

A reconstruction. Descriptions of the paper were at hand, and of public code only the
memory (1) and a fusion without highlights: that W_a is linear, that 3 reads all stages
(`summarize="last"` reads the last one alone), and that its layer is a linear one and a
sigmoid are inferred, and so are all sizes.

What a step does that a modality lacks: its memory holds, and the code moves where any
modality is there. Attention runs over the units of all modalities always; those of one
that misses are zero, whatever their weight.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers import lsthm
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned
from mcr_jax.layers.lsthm import LSTHM, Hybrid, side_by_side
from mcr_jax.layers.output import output_mlp
from mcr_jax.layers.recurrent import by_gate, forgets_little, orthogonal
from mcr_jax.ops import recurrence


class Model(Aligned):
  """RMFN on sequences of one grid of steps; states and code are float32 or wider."""

  card = Card(
    "RMFN",
    "Liang, Liu, Zadeh, Morency: Multimodal Language Analysis with Recurrent "
    "Multistage Fusion, EMNLP 2018",
    kind="reconstruction",
    optional=ALIGNMENT_LOSSES,
  )

  width: int = field(64, low=1, doc="Of the memory of a modality.")
  widths: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  code_width: int = field(64, low=1, doc="Of the code.")
  stages: int = field(3, low=1, high=6, doc="Of the fusion, at every step.")
  highlight_width: int = field(64, low=1, doc="Of the LSTM that highlights.")
  fuse_width: int = field(64, low=1, doc="Of the LSTM that fuses.")
  summarize: str = field(
    "all", choices=("all", "last"), doc="The stages that the code is made of."
  )
  output_width: int = field(64, low=1, doc="Of the hidden layer of the last MLP.")
  output_dropout: Rate = rate("Behind the hidden layer of the last MLP.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    memories = [
      LSTHM(
        self.widths.get(m, self.width),
        self.code_width,
        self.computation,
        name=f"lsthm_{m}",
      )(grid.x[m], grid.mask[m])
      for m in self.modalities
    ]
    memory = side_by_side(memories)
    weights = self._weights(memory.recurrent.shape[-1])
    last, steps = run(memory, weights, grid.real, self.stages)
    y = output_mlp(
      last.astype(memory.products.dtype),
      self.output_width,
      self.outputs,
      self.output_dropout,
      dtype=self.computation,
      train=train,
    )
    intermediates = dict(zip(("hidden", "attention", "code"), steps, strict=True))
    return Output(y, grid.losses, intermediates=intermediates | grid.intermediates)

  def _weights(self, total):
    """Those of the stages by name, each (kernel, bias) or with what is recurrent."""
    read = self.stages if self.summarize == "all" else 1
    layer = lambda name, size, outputs, gates=0: Weights(
      size, outputs, gates, self.computation, name=name
    )()
    return {
      "highlight": layer("highlight", total, self.highlight_width, gates=4),
      "attention": layer("attention", self.highlight_width, total),
      "fuse": layer("fuse", total, self.fuse_width, gates=4),
      "summarize": layer("summarize", read * self.fuse_width, self.code_width),
    }


class Weights(nn.Module):
  """The parameters of a linear layer, or of an LSTM, for a loop over them."""

  inputs: int
  width: int
  gates: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(self) -> tuple[Array, ...]:
    lecun, zeros = nn.initializers.lecun_normal(), nn.initializers.zeros
    size = self.gates * self.width or self.width
    start = forgets_little if self.gates else zeros
    made = [
      self.param("kernel", lecun, (self.inputs, size)),
      self.param("bias", start, (size,)),
    ]
    if self.gates:
      square = by_gate(orthogonal, self.gates)
      made.append(self.param("recurrent", square, (self.width,)))
    return tuple(nn.dtypes.promote_dtype(*made, dtype=self.dtype))


def run(
  memory: Hybrid,
  weights: Mapping[str, tuple[Array, ...]],
  real: Bool[Array, "B T"],
  stages: int,
) -> tuple[Float[Array, "B E"], tuple[Float[Array, "B T *_"], ...]]:
  """Steps 1 to 3 over time.

  Args:
    memory: of all modalities side by side.
    weights: of the stages, see `Model`.
    real: where the code moves.
    stages: K.

  Returns:
    [h[T], z[T]], and h, a (B, T, K, H) and z of every step.
  """
  kernel = memory.kernel
  wide = jnp.promote_types(memory.products.dtype, jnp.float32)
  batch, total, codes = real.shape[0], memory.mask.shape[-1], memory.code.shape[0]
  zeros = lambda size: jnp.zeros((batch, size), wide)

  def step(carry, inputs):
    *state, code = carry
    product, mask, real = inputs
    state = lsthm.step(tuple(state), code, product, kernel, mask)
    new, attention = fuse(state[0], weights, stages)
    code = jnp.where(real[:, None], new, code)
    return (*state, code), (state[0], attention, code)

  swap = lambda tree: jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), tree)
  products = memory.products.reshape(*real.shape, -1)
  (hidden, _, code), steps = jax.lax.scan(
    step,
    (zeros(total), zeros(total), zeros(codes)),
    swap((products, memory.mask, real)),
  )
  return jnp.concatenate([hidden, code], -1), swap(steps)


def fuse(
  h: Float[Array, "B H"], weights: Mapping[str, tuple[Array, ...]], stages: int
) -> tuple[Float[Array, "B Z"], Float[Array, "B K H"]]:
  """Steps 2 and 3 of one moment: the code, and what every stage looks at."""
  kernel, bias, recurrent = weights["highlight"]
  (score, offset), fuser = weights["attention"], weights["fuse"]
  dot = lambda x, matrix: (x.astype(matrix.dtype) @ matrix).astype(h.dtype)
  zeros = lambda matrix: (jnp.zeros((h.shape[0], len(matrix)), h.dtype),) * 2
  looks, fused = zeros(recurrent), zeros(fuser[2])
  # The same h at every stage: its product is made once.
  product = dot(h, kernel) + bias[None]
  attention, outputs = [], []
  for _ in range(stages):
    looks = recurrence.lstm(looks, product + dot(looks[0], recurrent))
    attention.append(nn.softmax(dot(looks[0], score) + offset[None], -1))
    joined = dot(attention[-1] * h, fuser[0]) + fuser[1][None]
    fused = recurrence.lstm(fused, joined + dot(fused[0], fuser[2]))
    outputs.append(fused[0])
  read, offset = weights["summarize"]
  count = len(read) // len(fuser[2])
  code = dot(jnp.concatenate(outputs[-count:], -1), read) + offset[None]
  return nn.sigmoid(code), jnp.stack(attention, 1)
