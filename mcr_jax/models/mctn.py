"""MCTN: what one modality holds that the others can be translated from.

H. Pham, P. P. Liang, T. Manzini, L.-P. Morency and B. Poczos, "Found in translation:
learning robust joint representations by cyclic translations between modalities", AAAI
2019. With modalities p, q and r in their `order`,

  1. E_1 = Enc_1(x_p), xhat_q = Dec_1(E_1)
  2. xhat_p = Dec_1(Enc_1(xhat_q)), by the same encoder and decoder
  3. E_2 = Enc_2(E_1), xhat_r = Dec_2(E_2)
  4. h = LSTM(E_2), a = softmax over steps of tanh(w h + b), y = V sum_t a_t h_t
  5. L = L_task + w_q MSE(xhat_q, x_q) + w_p MSE(xhat_p, x_p) + w_r MSE(xhat_r, x_r)
         + w_2 |V|^2

An encoder is an LSTM in each direction, and the two added up; a decoder reads its
source by attention (`layers.decoder.Reader`). The losses are named `translation`,
`cycle`, `further` and `l2`. With two modalities 3 falls away, with one all but 4; each
further modality adds a level like 3, whose error adds to `further`. Only p is read to
predict: the others serve training alone.

An error is the mean over the real steps and features of a sample's target. A modality
that misses is no target; without q there is no cycle, and without p there is nothing.
With `align="none"` lengths may differ, and a decoder makes as many steps as its target
has; otherwise targets are what is aligned, held constant to the gradient: an aligner
could else make its target easy.

Deviations from the released code: input and forget gate are two, there they are one;
attention is additive, there it is `score="linear"` and hence the same at all steps; a
decoder's outputs are linear, there a tanh keeps them from targets beyond 1; encoder and
decoder share all but a layer a modality in and out, there modalities are padded with
zeros to one width, and the means of 5 are over those zeros and over padding, too. V
starts at zero (layers/output.py).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.errors import UserError
from mcr_jax.field import field
from mcr_jax.layers.decoder import SCORES, Reader
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Aligned, Grid
from mcr_jax.layers.output import output_layer
from mcr_jax.layers.recurrent import Recurrent
from mcr_jax.ops.masking import keep, masked_softmax
from mcr_jax.ops.reconstruction import mean_square


class Encoder(nn.Module):
  """An LSTM forwards plus one backwards."""

  width: int
  dtype: jnp.dtype | None

  @nn.compact
  def __call__(
    self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]
  ) -> Float[Array, "B T H"]:
    one = lambda name, reverse: Recurrent(
      self.width, reverse=reverse, dtype=self.dtype, name=name
    )(x, mask)[0]
    return one("forward", False) + one("backward", True)


class Model(Aligned):
  """MCTN; states are float32 or wider."""

  card = Card(
    "MCTN",
    "Pham, Liang, Manzini, Morency, Poczos: Found in Translation: Learning Robust "
    "Joint Representations by Cyclic Translations Between Modalities, AAAI 2019",
    losses={"translation": 0.1, "cycle": 0.1, "further": 0.1, "l2": 0.01},
    optional=ALIGNMENT_LOSSES,
  )

  width: int = field(32, low=1, doc="Of every LSTM.")
  order: tuple[str, ...] = field(
    (),
    modalities=True,
    doc="All modalities, the one that predicts first; empty is the order of the data.",
  )
  score: str = field(
    "additive",
    choices=SCORES,
    doc="Of a decoder's attention; with `linear`, that of the released code, all steps "
    "of a decoder read the same.",
  )

  @property
  def modalities(self) -> tuple[str, ...]:
    given = self.spec.modalities
    if self.order and set(self.order) != set(given):
      raise UserError(
        f"model.order={self.order!r} must name all modalities: {', '.join(given)}."
      )
    return self.order or given

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self._grid(batch, train)
    (x, mask), (p, *others) = grid[:2], self.modalities
    layer = lambda size, name: nn.Dense(size, dtype=self.computation, name=name)
    into = {m: layer(self.width, f"in_{m}") for m in (p, *others[:1])}
    out = {m: layer(x[m].shape[-1], f"out_{m}") for m in (p, *others) if others}
    made, attention = {}, {}

    def translate(name, decoder, source, source_mask, m):
      hidden, attention[name] = decoder(source, source_mask, mask[m])
      made[name] = keep(out[m](hidden), mask[m])

    encoder, decoder = self._level(1, bool(others))
    e = encoder(into[p](keep(x[p], mask[p])), mask[p])
    for level, m in enumerate(others, 1):
      if level > 1:
        deeper, decoder = self._level(level, True)
        e = deeper(e, mask[p])
      translate(m, decoder, e, mask[p], m)
      if level == 1:
        back = encoder(into[m](made[m]), mask[m])
        translate("cycle", decoder, back, mask[m], p)
    states, _ = Recurrent(self.width, dtype=self.computation, name="lstm")(e, mask[p])
    score = jnp.tanh(layer(1, "attention")(states))[..., 0]
    weights = masked_softmax(score, mask[p])
    pooled = jnp.einsum("bt,bth->bh", weights.astype(states.dtype), states)
    y = output_layer(pooled, self.outputs, 0.0, train)
    maps = {} if train else {"attention": {**attention, "steps": weights}}
    return Output(
      y,
      {**self._losses(made, grid), **grid.losses} if train else {},
      intermediates={"translations": made, **maps, **grid.intermediates},
    )

  def _grid(self, batch: Batch, train: bool) -> Grid:
    if self.align != "none":
      return self.on_one_grid(batch, train=train)
    x = {m: batch.x[m] for m in self.modalities}
    return Grid(x, {m: batch.mask[m] for m in x}, {}, {})

  def _level(self, number: int, decodes: bool) -> tuple[Encoder, Reader | None]:
    encoder = Encoder(self.width, self.computation, name=f"encoder_{number}")
    if not decodes:
      return encoder, None
    name = f"decoder_{number}"
    return encoder, Reader(self.width, self.score, self.computation, name=name)

  def _losses(
    self, made: dict[str, Float[Array, "B T _"]], grid: Grid
  ) -> dict[str, Array]:
    """Those of step 5."""
    p, *others = self.modalities
    there = {m: mask.any(-1) for m, mask in grid.mask.items()}

    def error(name, m, source):
      target = jax.lax.stop_gradient(grid.x[m])
      found = mean_square(made[name], target, grid.mask[m])
      return jnp.where(there[source], found, 0)

    zero = jnp.zeros(len(there[p]), jnp.float32)
    first = others[:1]
    return {
      "translation": sum((error(m, m, p) for m in first), zero),
      "cycle": sum((error("cycle", p, m) for m in first), zero),
      "further": sum((error(m, m, p) for m in others[1:]), zero),
      "l2": jnp.square(self.get_variable("params", "output")["kernel"]).sum(),
    }
