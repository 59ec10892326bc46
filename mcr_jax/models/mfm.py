"""MFM: what decides the label is apart from what only makes the modalities.

Y.-H. H. Tsai, P. P. Liang, A. Zadeh, L.-P. Morency and R. Salakhutdinov, "Learning
factorized multimodal representations", ICLR 2019. With an LSTM of its own for every
modality m, and MFN's LSTMs and memory (`models.mfn`, h and u) for all,

  1. z_m = W_m LSTM_m(x_m)[T],   z_y = W [h[T], u[T]]                  codes
  2. f_m = F_m(z_m), f_y = F_y(z_y), F(z) = relu(W_2 relu(W_1 z))      factors
  3. xhat_m = V_m LSTM([f_y, f_m]), unfolded (`layers.decoder`)
  4. y = MLP(f_y)
  5. L = L_task + sum_m lambda_m MSE(xhat_m, x_m)
         + w (MMD(z_y, n) + sum_m MMD(z_m, n)),   n standard normal, drawn anew

The sum over lambda, which is `generation_weights`, is the loss `generation`, its errors
means over the real steps and features of a sample; `mmd` is a statistic of the rows of
a batch that count, of a modality of those that have it (`ops.discrepancy`). Where an
update sums up several batches, it is one of each. Its kernel is so wide that weights of
10 to 200 were found good.

Open in the paper, decided here: a step that a modality lacks is none for its decoder
either, and a missing modality has no error. With an alignment, what is aligned is held
constant as a target: the aligner could else make it easy.

As its authors' main network; not here are the one that predicts without a modality, and
a form with a KL divergence. The authors' released script ends before it trains MFM, and
gives its learning rate to nobody.
"""

from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.decoder import Unfolder
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.grid import ALIGNMENT_LOSSES, Grid
from mcr_jax.layers.memory import MLP, DeltaMemory
from mcr_jax.layers.output import output_mlp
from mcr_jax.layers.recurrent import Recurrent
from mcr_jax.ops.discrepancy import maximum_mean
from mcr_jax.ops.masking import keep
from mcr_jax.ops.reconstruction import mean_square

LABEL = "label"


class Model(DeltaMemory):
  """MFM on sequences of one grid of steps; states are float32 or wider."""

  card = Card(
    "MFM",
    "Tsai, Liang, Zadeh, Morency, Salakhutdinov: Learning Factorized Multimodal "
    "Representations, ICLR 2019",
    losses={"generation": 1.0, "mmd": 1.0},
    optional=ALIGNMENT_LOSSES,
  )

  label_code: int = field(64, low=1, doc="Width of z_y.")
  code: int = field(64, low=1, doc="Width of the z of a modality, and of its LSTM.")
  codes: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  label_factor: int = field(32, low=1, doc="Width of f_y and of the layer before it.")
  factor: int = field(32, low=1, doc="Width of the f of a modality, likewise.")
  factors: Mapping[str, int] = field(
    FrozenDict(), low=1, modalities=True, doc="The same, of single modalities."
  )
  generation_weights: Mapping[str, float] = field(
    FrozenDict(),
    low=0,
    modalities=True,
    doc="What the error of a modality counts in `generation`; 1 if not here.",
  )
  label_dropout: Rate = rate("Inside F_y.")
  factor_dropout: Rate = rate("Inside the F of modalities.")
  output_dropout: Rate = rate("Behind the hidden layer of step 4.")

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    grid = self.on_one_grid(batch, train=train)
    states = self.encode(grid)
    u, maps = self.attend(states, grid.real, train=train)
    joined = jnp.concatenate([states.last, u.astype(states.last.dtype)], -1)
    codes, factors = {LABEL: self._dense(self.label_code, "code", joined)}, {}
    for m in self.modalities:
      width = self.codes.get(m, self.code)
      lstm = Recurrent(width, dtype=self.computation, name=f"encoder_{m}")
      hidden, _ = lstm(grid.x[m], grid.mask[m])
      codes[m] = self._dense(width, f"code_{m}", hidden[:, -1])
    for name, z in codes.items():
      factors[name] = self._factor(name, z, train)
    made = {m: self._generate(m, factors, grid) for m in self.modalities}
    y = output_mlp(
      factors[LABEL],
      self.label_factor,
      self.outputs,
      self.output_dropout,
      dtype=self.computation,
      train=train,
    )
    losses = self._losses(codes, made, grid, batch.weight) if train else {}
    return Output(
      y,
      {**losses, **grid.losses},
      intermediates={
        **{"codes": codes, "factors": factors, "generated": made},
        **maps,
        **grid.intermediates,
      },
    )

  def _dense(self, size: int, name: str, x: Array) -> Array:
    return nn.Dense(size, dtype=self.computation, name=name)(x)

  def _factor(self, name: str, z: Float[Array, "B Z"], train: bool) -> Array:
    """Step 2."""
    label = name == LABEL
    width = self.label_factor if label else self.factors.get(name, self.factor)
    dropout = self.label_dropout if label else self.factor_dropout
    name = "factor" if label else f"factor_{name}"
    mlp = MLP(width, width, dropout, self.computation, name=name)
    return nn.relu(mlp(z, train=train))

  def _generate(
    self, m: str, factors: Mapping[str, Array], grid: Grid
  ) -> Float[Array, "B T D"]:
    """Step 3."""
    both = jnp.concatenate([factors[LABEL], factors[m]], -1)
    hidden = Unfolder(self.computation, name=f"decoder_{m}")(both, grid.mask[m])
    made = self._dense(grid.x[m].shape[-1], f"generated_{m}", hidden)
    return keep(made, grid.mask[m])

  def _losses(
    self,
    codes: Mapping[str, Float[Array, "B _"]],
    made: Mapping[str, Float[Array, "B T _"]],
    grid: Grid,
    weight: Float[Array, "B"],
  ) -> dict[str, Array]:
    """Those of step 5."""
    generation, mmd = [], []
    there = {m: mask.any(-1) for m, mask in grid.mask.items()}
    there[LABEL] = grid.real.any(-1)
    for m, found in made.items():
      target = jax.lax.stop_gradient(grid.x[m])
      share = self.generation_weights.get(m, 1.0)
      generation.append(share * mean_square(found, target, grid.mask[m]))
    for name, z in codes.items():
      mmd.append(self._from_normal(z, there[name] & (weight > 0)))
    return {"generation": sum(generation), "mmd": sum(mmd)}

  def _from_normal(
    self, z: Float[Array, "B Z"], rows: Bool[Array, "B"]
  ) -> Float[Array, ""]:
    wide = jnp.promote_types(z.dtype, jnp.float32)
    normal = jax.random.normal(self.make_rng("noise"), z.shape, wide)
    return maximum_mean(z, normal, rows)
