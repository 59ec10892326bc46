"""QMF: a word is a state of a quantum system, and words near it make it a mixed one.

Q. Li, D. Gkoumas, C. Lioma and M. Melucci, "Quantum-inspired multimodal fusion for
video sentiment analysis", Information Fusion 65, 2021. At a word, with h_m made by an
LSTM and a linear layer of text, and by three ReLU layers of the others,

  1. s_m = h_m / |h_m| exp(i phi_m)              amplitudes, and a phase a feature
  2. s = s_1 (x) s_2 (x) ...                     the tensor product of all modalities
  3. w = sum_m softmax(lambda)_m |h_m|
  4. rho = sum_j softmax(w)_j s_j s_j^H          in windows of 2 and of 3 words
  5. P_k = k^H rho k = sum_j softmax(w)_j |k^H s_j|^2

of learned kernels k, so that rho is never formed. The prediction is made of the largest
P_k of all words and windows, by an MLP of two hidden ReLU layers. A window of 2 is a
word and the next, one of 3 has it in the middle.

The released code has a table of phases by word; here phi_m = pi tanh(W_m x) of the text
of the word. Both are zero at first.

Deviations: what a modality lacks at a word is the state (1, 0, ...) of weight 0, which
leaves the product to the others; windows share their weights out among real words, and
have one in their place: in the released code padding has a share, and a state of zeros.
The product of 2 begins with 1 + i there, which doubles all probabilities; here with 1.
An LSTM has one bias a gate. The last layer starts at zero. The first modality is text.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import UNDECAYED, Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.recurrent import RNN
from mcr_jax.ops import pooling
from mcr_jax.ops.masking import keep, masked_softmax


class Model(Aligned):
  """Quantum-inspired fusion of word-aligned modalities."""

  card = Card(
    "QMF",
    "Li, Gkoumas, Lioma, Melucci: Quantum-inspired Multimodal Fusion for Video "
    "Sentiment Analysis, Information Fusion 65, 2021",
    optional=ALIGNMENT_LOSSES,
    undecayed=f"{UNDECAYED}|shares",
  )

  width: int = field(
    10,
    low=1,
    doc="Of the state of a modality; that of a word has width^modalities features, "
    "which asks for 5 or 6 with four modalities.",
  )
  text_width: int = field(32, low=1, doc="Of the LSTM over text.")
  kernels: int = field(20, low=1, doc="K, of which every mixture is measured.")
  windows: tuple[int, ...] = field((2, 3), low=1, doc="Words in a mixture.")
  hidden: int = field(32, low=1, doc="Of the layers of the last MLP.")
  input_dropout: Rate = rate("Of the outputs of the LSTM, and of other modalities.")
  dropout: Rate = rate("Of the measurements.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    real, text = grid.real, self.modalities[0]
    told = keep(grid.x[text], grid.mask[text])
    shares = self.param("shares", nn.initializers.zeros, (len(self.modalities),))
    shares = nn.softmax(shares)
    state, weight, phases, norms = None, 0.0, {}, {}
    for i, m in enumerate(self.modalities):
      mask = grid.mask[m]
      h = self._features(m, grid.x[m], mask, train)
      phase = nn.Dense(
        self.width,
        use_bias=False,
        dtype=self.computation,
        kernel_init=nn.initializers.zeros,
        name=f"phase_{m}",
      )
      phases[m] = jnp.pi * jnp.tanh(phase(told).astype(h.dtype))
      amplitudes, norms[m] = polar(h, mask)
      weight = weight + shares[i].astype(h.dtype) * norms[m]
      one = rotated(amplitudes, jnp.where(mask[..., None], phases[m], 0))
      state = one if state is None else tensor_product(state, one)
    chance = self._measure(*state)
    mixed = {f"window_{n}": mixture(chance, weight, real, n) for n in self.windows}
    # (B, n T, K): where a word stands does not count.
    every = jnp.concatenate([*mixed.values()], 1)
    y = pooling.maximum(every, jnp.tile(real, (1, len(mixed))))
    features = y
    y = Dropout(self.dropout, name="measured_dropout")(y, train=train)
    for i in range(2):
      dense = nn.Dense(self.hidden, dtype=self.computation, name=f"hidden_{i}")
      y = nn.relu(dense(y))
    seen = {"norm": norms, "weight": weight, "phase": phases, "features": features}
    seen["probability"] = {name: keep(x, real) for name, x in mixed.items()}
    return Output(
      output_layer(y, self.outputs, 0.0, train),
      grid.losses,
      intermediates=seen | grid.intermediates,
    )

  def _features(
    self, m: str, x: Float[Array, "B T D"], mask: Bool[Array, "B T"], train: bool
  ) -> Float[Array, "B T E"]:
    """h_m, in float32 or wider."""
    drop = Dropout(self.input_dropout, name=f"dropout_{m}")
    dense = lambda name: nn.Dense(self.width, dtype=self.computation, name=name)
    if m == self.modalities[0]:
      rnn = RNN(self.text_width, dtype=self.computation, name="lstm")
      y = dense(f"state_{m}")(drop(rnn(x, mask, train=train)[0], train=train))
    else:
      y = drop(keep(x, mask), train=train)
      for i in range(3):
        y = nn.relu(dense(f"state_{m}_{i}")(y))
    return y.astype(jnp.promote_types(y.dtype, jnp.float32))

  def _measure(
    self, real: Float[Array, "B T S"], imaginary: Float[Array, "B T S"]
  ) -> Float[Array, "B T K"]:
    """|k^H s|^2 of every kernel k."""
    size = real.shape[-1]
    kernel = self.param("measure", unit_uniform, (2, size, self.kernels))
    state = jnp.concatenate([real, imaginary], -1)
    state, (a, b) = nn.dtypes.promote_dtype(state, kernel, dtype=self.computation)
    # Of k = a + ib and s = u + iv, k^H s = (a u + b v) + i (a v - b u).
    matrix = jnp.concatenate([jnp.concatenate([a, b]), jnp.concatenate([-b, a])], -1)
    product = (state @ matrix).astype(real.dtype)
    return jnp.square(product).reshape(*real.shape[:-1], 2, -1).sum(-2)


Complex = tuple[Float[Array, "B T _"], Float[Array, "B T _"]]
"""Real and imaginary parts."""


def unit_uniform(
  key: Array, shape: tuple[int, int, int], dtype: DTypeLike = jnp.float32
) -> Float[Array, "2 S K"]:
  """Complex vectors of norm 1 in columns, of entries uniform in [0, 1) before."""
  x = jax.random.uniform(key, shape, dtype)
  return x / jnp.sqrt(jnp.square(x).sum((0, 1), keepdims=True))


def polar(
  h: Float[Array, "B T E"], mask: Bool[Array, "B T"]
) -> tuple[Float[Array, "B T E"], Float[Array, "B T"]]:
  """h / |h| and |h|; (1, 0, ...) and 0 where there is nothing."""
  square = jnp.square(h).sum(-1)
  some = mask & (square > 0)
  # A root has no gradient at zero.
  norm = jnp.where(some, jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)
  first = jnp.broadcast_to(jnp.arange(h.shape[-1]) == 0, h.shape)
  unit = keep(h, mask) / jnp.maximum(norm, 1e-12)[..., None]
  return jnp.where(mask[..., None], unit, first), norm


def rotated(a: Float[Array, "B T E"], phase: Float[Array, "B T E"]) -> Complex:
  """a exp(i phase)."""
  return a * jnp.cos(phase), a * jnp.sin(phase)


def tensor_product(x: Complex, y: Complex) -> Complex:
  """All products of a feature of x and one of y."""
  outer = lambda a, b: (a[..., None] * b[..., None, :]).reshape(*a.shape[:-1], -1)
  (a, b), (u, v) = x, y
  return outer(a, u) - outer(b, v), outer(a, v) + outer(b, u)


def mixture(
  chance: Float[Array, "B T K"],
  weight: Float[Array, "B T"],
  real: Bool[Array, "B T"],
  size: int,
) -> Float[Array, "B T K"]:
  """P_k of the window around every word, from |k^H s|^2 and the weight of words."""
  before, after = (size - 1) // 2, size // 2

  def window(x):
    steps = x.shape[1]
    x = jnp.pad(x, [(0, 0), (before, after)] + [(0, 0)] * (x.ndim - 2))
    return jnp.stack([x[:, i : i + steps] for i in range(size)], 2)

  shares = masked_softmax(window(weight), window(real))
  return jnp.einsum("btn,btnk->btk", shares, window(chance))
