"""MCR: modality co-reinforcement for asynchronous sequences.

D. Yang, Y. Liu, C. Huang, M. Li, X. Zhao, Y. Wang, K. Yang, Y. Wang, P. Zhai and
L. Zhang, "Target and source modality co-reinforcement for emotion understanding from
asynchronous multimodal sequences", Knowledge-Based Systems, 2023.

Deviation: sequences have lengths and masks, of which the paper says nothing, so that
padding and what is missing reach no result; the encoder over the joined targets ends in
a layer norm, and each target is pooled over its real steps.
"""

import math
from collections.abc import Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.core import FrozenDict

from mcr_jax import contract
from mcr_jax.contract import Batch, Card, Output
from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Rate
from mcr_jax.layers.embed import TemporalEmbedding
from mcr_jax.layers.head import Head
from mcr_jax.layers.remat import recomputes
from mcr_jax.layers.transformer import EncoderLayer, LayerNorm, split_heads
from mcr_jax.models.mcr.layer import Layer, plain_join
from mcr_jax.models.mcr.settings import Settings, check
from mcr_jax.ops.attention.features import SAVED
from mcr_jax.ops.masking import keep
from mcr_jax.ops.pooling import POOLINGS


class Model(contract.Model):
  """Every modality is a target that the others reinforce, layer by layer.

  Sequences shorter than `lengths` use the first rows of the parameters that are tied
  to a position. Defaults are Table 1 of the paper for MOSI.

  Attributes:
    targets: the modalities to be reinforced; () is all of them.
    kernel: width of the temporal convolution; `kernels` overrides it by modality.
    num_layers: reinforcement layers D.
    cmu_exchange: `mixed` keys, `literal` scores, or the cheaper of the two.
    scu_scoring: `folded` or `literal`, see `scu.py`; other parameters.
    attention: implementation, see `ops.attention`.
    dtype: of the computation, e.g. bfloat16; that of the parameters where empty.
    remat: recompute each layer in the backward pass, of batches where that saves much.
    scan_layers: compile one layer for all, which pays from some six layers on: steps
      are slower by what stacking costs. The parameters are the same either way.
  """

  card = Card(
    "MCR",
    "Yang, Liu, Huang, Li, Zhao, Wang, Yang, Wang, Zhai, Zhang: Target and source "
    "modality co-reinforcement for emotion understanding from asynchronous multimodal "
    "sequences, Knowledge-Based Systems, 2023",
  )

  targets: tuple[str, ...] = ()
  width: int = 40
  heads: int = 10
  cmu_heads: int = 1
  num_layers: int = 3
  encoder_layers: int = 1
  kernel: int = 3
  kernels: Mapping[str, int] = FrozenDict()
  pooling: str = "mean"
  source_update: str = "sum"
  cmu: str = "on"
  scu: str = "on"
  mutual_attention: str = "on"
  attention_layer: str = "on"
  structure: str = "parallel"
  scu_scoring: str = "folded"
  cmu_exchange: str = "auto"
  embed_dropout: Rate = 0.0
  attention_dropout: Rate = 0.0
  relu_dropout: Rate = 0.0
  residual_dropout: Rate = 0.0
  output_dropout: Rate = 0.0
  attention: str = "auto"
  dtype: str = ""
  remat: bool = False
  scan_layers: bool = False

  @nn.compact
  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    check(self)
    split_heads(self.width, self.heads)
    settings = self._settings()
    batch = jax.tree.map(jnp.asarray, batch)
    masks = {m: batch.mask[m] for m in self.modalities}
    initial = {m: self._embed(m, batch.x[m], masks[m], train) for m in self.modalities}
    targets = {t: initial[t] for t in settings.targets}
    sources = {m: initial[m] for m in settings.read()}
    carry = (targets, sources, plain_join(sources, settings))
    targets, out = self._reinforce(carry, masks, settings, train)

    x = jnp.concatenate(list(targets.values()), 1)
    mask = jnp.concatenate([masks[t] for t in targets], 1)
    positions = settings.positions({t: masks[t] for t in targets})
    for i in range(self.encoder_layers):
      encode = EncoderLayer(
        self.heads,
        self.attention_dropout,
        self.relu_dropout,
        self.residual_dropout,
        self.attention,
        settings.dtype,
        name=f"encoder_{i}",
      )
      x, out[f"encoder_{i}"] = encode(x, mask, train=train, positions=positions)
    x = LayerNorm(name="encoder_norm")(keep(x, mask))
    ends = [
      sum(z.shape[1] for z in list(targets.values())[: i + 1])
      for i in range(len(targets))
    ]
    parts = zip(targets, jnp.split(x, ends[:-1], 1), strict=True)
    pool = POOLINGS[self.pooling]
    pooled = jnp.concatenate([pool(z, masks[t]) for t, z in parts], -1)
    head = Head(
      math.prod(self.outputs), self.output_dropout, settings.dtype, name="head"
    )
    predictions = head(pooled, train=train).reshape(-1, *self.outputs)
    wide = jnp.promote_types(predictions.dtype, jnp.float32)
    return Output(predictions.astype(wide), intermediates=out)

  def _embed(self, modality, x, mask, train):
    longest = self.spec.lengths[modality]
    if x.shape[1] > longest:
      raise UserError(
        f"The {modality} sequences have {x.shape[1]} steps; this model was built for "
        f"at most {longest}."
      )
    return TemporalEmbedding(
      self.width,
      self.kernels.get(modality, self.kernel),
      dropout=self.embed_dropout,
      dtype=jnp.dtype(self.dtype) if self.dtype else None,
      name=f"embed_{modality}",
    )(x, mask, train=train)

  def _reinforce(self, carry, masks, settings, train):
    """D layers, of which the last has no SUM; `out` names each layer's own."""
    body, remat = Layer, recomputes(self.remat, masks)
    if remat:
      # What attention read is kept: its scores are computed again for their gradient,
      # and need not be for the sake of what follows.
      keep_read = jax.checkpoint_policies.save_only_these_names(SAVED)
      body = nn.remat(Layer, static_argnums=(3,), policy=keep_read)
    out, scanned = {}, self.num_layers - 1
    if scanned:
      stack = nn.scan(
        body,
        variable_axes={"params": 0},
        split_rngs={"params": True, "dropout": True},
        in_axes=(nn.broadcast, nn.broadcast),
        length=scanned,
        # Unrolled, XLA may recompute all layers before it needs the first.
        unroll=1 if self.scan_layers or remat else scanned,
      )(settings, name="layers")
      carry, stacked = stack(carry, masks, train)
      for i in range(scanned):
        out[f"layer_{i}"] = jax.tree.map(lambda v, i=i: v[i], stacked)
    last = body(settings, last=True, name="last")
    (targets, _, _), out[f"layer_{scanned}"] = last(carry, masks, train)
    return {t: targets[t] for t in settings.targets}, out

  def _settings(self) -> Settings:
    own = [f for f in Settings.__dataclass_fields__ if f in self.__dataclass_fields__]
    given = {f: getattr(self, f) for f in own} | {
      "modalities": self.modalities,
      "lengths": tuple(self.spec.lengths.items()),
      "targets": self.targets or self.modalities,
      "dtype": jnp.dtype(self.dtype) if self.dtype else None,
    }
    return Settings(**given)
