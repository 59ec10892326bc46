"""MCR: modality co-reinforcement for asynchronous sequences.

D. Yang, Y. Liu, C. Huang, M. Li, X. Zhao, Y. Wang, K. Yang, Y. Wang, P. Zhai and
L. Zhang, "Target and source modality co-reinforcement for emotion understanding from
asynchronous multimodal sequences", Knowledge-Based Systems, 2023.

- Z_m is modality m after a convolution along time and with sinusoidal positions. Every
  modality is a target Z_t, and once more a source stream Z_s that the other targets
  read; Z_ds = [Z_s1, Z_s2] joins those of one target along time.
- D layers reinforce targets by sources, and then sources by targets: layer.py, which
  calls cmu.py (Eqs. 1-5), scu.py (Eqs. 6-11) and update.py (Eqs. 12-16).
- A transformer encoder reads [Z_L, Z_V, Z_A], joined along time; pooled and joined
  along features they go through fully connected layers.

Deviation: sequences have lengths and masks, of which the paper says nothing, so that
padding and what is missing reach no result; the encoder over the joined targets ends in
a layer norm, and each target is pooled over its real steps.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Intermediates, Output
from mcr_jax.errors import UserError
from mcr_jax.field import field
from mcr_jax.layers.embed import TemporalEmbedding
from mcr_jax.layers.head import Head
from mcr_jax.layers.settings import EmbeddedSettings
from mcr_jax.layers.stack import recomputes, stack, unstack
from mcr_jax.layers.stream import Masks, concatenate, split
from mcr_jax.layers.transformer import LayerNorm
from mcr_jax.models.mcr.layer import ReinforcementLayer
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.models.mcr.stream import Carry, common_steps, plain_join, to_steps
from mcr_jax.ops.attention.features import SAVED
from mcr_jax.ops.masking import keep
from mcr_jax.ops.pooling import POOLINGS


class Model(contract.Model, Settings, EmbeddedSettings, kw_only=True):
  """Every modality is a target that the others reinforce, layer by layer.

  Sequences shorter than `spec.lengths` use the first rows of the parameters that are
  tied to a position. Defaults are Table 1 of the paper for MOSI.
  """

  card = Card(
    "MCR",
    "Yang, Liu, Huang, Li, Zhao, Wang, Yang, Wang, Zhai, Zhang: Target and source "
    "modality co-reinforcement for emotion understanding from asynchronous multimodal "
    "sequences, Knowledge-Based Systems, 2023",
  )

  num_layers: int = field(3, low=1, doc="Reinforcement layers D.")
  encoder_layers: int = field(1, low=1, doc="Of the encoder that reads all targets.")
  scan_layers: bool = field(
    False,
    doc="Compile one layer for all, which pays from some six layers on: steps are "
    "slower by what stacking costs. The parameters are the same either way.",
  )

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    settings = Settings.of(self)
    settings.check()
    batch = jax.tree.map(jnp.asarray, batch)
    masks = {m: batch.mask[m] for m in self.modalities}
    embedded = {m: self._embed(m, batch.x[m], masks[m], train) for m in masks}
    # Maps are drawn without more padding than there is.
    common = common_steps(masks, settings) if train else None
    wide = masks
    if common:
      embedded, wide = to_steps(embedded, common), to_steps(masks, common)
    sources = {m: embedded[m] for m in settings.read}
    targets = {t: embedded[t] for t in settings.reinforced}
    carry = Carry(targets, sources, plain_join(sources, settings))
    targets, intermediates = self._reinforce(carry, wide, settings, train)

    masks = {t: masks[t] for t in targets}
    targets = {t: z[:, : masks[t].shape[1]] for t, z in targets.items()}
    x, mask = concatenate(targets), concatenate(masks)
    for i in range(self.encoder_layers):
      encode = settings.encoder_layer(f"encoder_{i}")
      x, intermediates[f"encoder_{i}"] = encode(
        x, mask, train=train, positions=settings.positions(masks)
      )
    x = LayerNorm(name="encoder_norm")(keep(x, mask))
    pool = POOLINGS[self.pooling]
    pooled = [pool(z, masks[t]) for t, z in split(x, masks).items()]
    size, dtype = math.prod(self.outputs), settings.computation
    head = Head(size, self.output_dropout, dtype, name="head")
    predictions = head(jnp.concatenate(pooled, -1), train=train)
    predictions = predictions.reshape(-1, *self.outputs)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    return Output(predictions.astype(wide), intermediates=intermediates)

  def _embed(self, m: str, x: Array, mask: Array, train: bool) -> Array:
    """Z_m of one modality."""
    if x.shape[1] > self.spec.lengths[m]:
      raise UserError(
        f"The {m} sequences have {x.shape[1]} steps; this model was built for at most "
        f"{self.spec.lengths[m]}."
      )
    return TemporalEmbedding(
      self.width,
      self.kernels.get(m, self.kernel),
      dropout=self.embed_dropout,
      dtype=self.computation,
      name=f"embed_{m}",
    )(x, mask, train=train)

  def _reinforce(
    self, carry: Carry, masks: Masks, settings: Settings, train: bool
  ) -> tuple[dict[str, Array], Intermediates]:
    """The targets after D layers, of which the last has no SUM."""
    layer, remat = ReinforcementLayer, recomputes(self.remat, masks)
    if remat:
      # What attention read is kept: its scores are computed again for their gradient,
      # and need not be for the sake of what follows.
      policy = jax.checkpoint_policies.save_only_these_names(SAVED)
      layer = nn.remat(layer, static_argnums=(3,), policy=policy)
    intermediates, depth = {}, self.num_layers - 1
    if depth:
      layers = stack(layer, depth, rolled=self.scan_layers or remat)
      carry, stacked = layers(settings, name="layers")(carry, masks, train)
      intermediates = unstack(stacked, depth)
    last = layer(settings, last=True, name="last")
    carry, intermediates[f"layer_{depth}"] = last(carry, masks, train)
    return {t: carry.targets[t] for t in settings.reinforced}, intermediates
