"""One grid of steps for all modalities, where a model reads them step by step.

class Model(Aligned):
  card = Card("Title", "Paper", optional=ALIGNMENT_LOSSES)

  def __call__(self, batch, *, train=False):
    grid = self.on_one_grid(batch, train=train)
    ...
    return Output(y, grid.losses, intermediates=grid.intermediates)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax.core import FrozenDict
from jaxtyping import Array, Bool, Float

from mcr_jax import contract
from mcr_jax.contract import Batch
from mcr_jax.errors import UserError
from mcr_jax.field import field
from mcr_jax.layers.align import LOGITS, CTCAligner
from mcr_jax.layers.precision import Precision
from mcr_jax.ops import alignment

ALIGNMENTS = ("none", "uniform", "ctc")
# What `Card.optional` of a model on one grid holds.
ALIGNMENT_LOSSES = FrozenDict({"ctc": 1.0})


class Grid(NamedTuple):
  """All modalities on one grid, in the order of the model.

  Attributes:
    x: modality -> (B, T, D), all of one T.
    mask: modality -> (B, T), its real steps; not all have the same.
    losses: `ctc` (B,), the sum over the modalities that are aligned; {} without.
    intermediates: `alignment`: modality -> (B, T, frames), what a step reads.
  """

  x: dict[str, Float[Array, "B T _"]]
  mask: dict[str, Bool[Array, "B T"]]
  losses: dict[str, Float[Array, "B"]]
  intermediates: dict[str, Any]

  @property
  def real(self) -> Bool[Array, "B T"]:
    """The steps that any modality has."""
    return jnp.stack([*self.mask.values()]).any(0)


class Aligned(contract.Model, Precision, kw_only=True):
  """The base of models that read all modalities on the steps of the first one."""

  align: str = field(
    "none",
    choices=ALIGNMENTS,
    doc="What brings sequences to one grid. `none` takes step t of all of them for the "
    "same moment; `uniform` spreads the steps of the others evenly over those of the "
    "first; `ctc` learns which belong to which, see layers.align.",
  )
  align_words: int = field(
    50, low=1, doc="The most steps of the first modality that ctc has logits for."
  )
  align_width: int = field(64, low=1, doc="Of the LSTMs of ctc.")
  align_logits: str = field(
    "linear",
    choices=LOGITS,
    doc="What makes the logits of ctc: a linear layer, or the second LSTM itself.",
  )
  align_normalize: bool = field(
    True, doc="Whether a step reads a mean of the others by ctc, or a sum."
  )

  def on_one_grid(self, batch: Batch, *, train: bool) -> Grid:
    """The batch on one grid; may hold submodules `align_<m>`, so call it once.

    Raises:
      UserError: lengths differ and nothing aligns them, or `align_words` is too few.
    """
    x = {m: batch.x[m] for m in self.modalities}
    mask = {m: batch.mask[m] for m in self.modalities}
    if self.align == "none":
      return Grid(*_padded(x, mask, self.spec.lengths), {}, {})
    first, *others = self.modalities
    losses, weights = [], {}
    for m in others:
      if self.align == "uniform":
        x[m], mask[m] = alignment.uniform(x[m], mask[m], mask[first])
        continue
      aligner = CTCAligner(
        self.align_words,
        self.align_width,
        self.align_logits,
        self.align_normalize,
        self.computation,
        name=f"align_{m}",
      )
      x[m], mask[m], weights[m], loss = aligner(x[m], mask[m], mask[first], train=train)
      losses.append(loss)
    return Grid(
      x,
      mask,
      {"ctc": sum(losses)} if train and losses else {},
      {"alignment": weights} if weights and not train else {},
    )


def _padded(
  x: Mapping[str, Array], mask: Mapping[str, Array], lengths: Mapping[str, int]
) -> tuple[dict[str, Array], dict[str, Array]]:
  """The same arrays with the same number of steps."""
  if len({lengths[m] for m in x}) > 1:
    named = ", ".join(f"{m} {lengths[m]}" for m in x)
    raise UserError(
      f'model.align="none" needs sequences of one length, and these have {named} '
      f'steps; "uniform" spreads all others over the steps of {next(iter(x))}, and '
      '"ctc" learns which belong to which.'
    )
  # A batch may be cut where the longest of one modality ends.
  steps = max(array.shape[1] for array in x.values())
  longer = lambda array: jnp.pad(
    array, [(0, 0), (0, steps - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
  )
  return {m: longer(x[m]) for m in x}, {m: longer(mask[m]) for m in x}
