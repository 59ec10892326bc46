"""One grid of steps for all modalities, where a model reads them step by step."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError, choose
from mcr_jax.ops import alignment

ALIGNMENTS = ("none", "uniform")


def on_one_grid(
  x: Mapping[str, Float[Array, "B _ _"]],
  mask: Mapping[str, Bool[Array, "B _"]],
  lengths: Mapping[str, int],
  align: str,
) -> tuple[dict[str, Array], dict[str, Array]]:
  """Sequences and masks of the same number of steps.

  Args:
    x: modality -> sequence, in order; the first gives the grid.
    mask: modality -> its real steps.
    lengths: modality -> the most steps that its sequences have in the data set.
    align: `none` takes step t of all of them for the same moment, `uniform` spreads
      the steps of the others evenly over those of the first.
  """
  choose(align, ALIGNMENTS, "model.align")
  first, *others = x
  if align == "uniform":
    moved = {m: alignment.uniform(x[m], mask[m], mask[first]) for m in others}
    return (
      {first: x[first], **{m: pair[0] for m, pair in moved.items()}},
      {first: mask[first], **{m: pair[1] for m, pair in moved.items()}},
    )
  if len({lengths[m] for m in x}) > 1:
    named = ", ".join(f"{m} {lengths[m]}" for m in x)
    raise UserError(
      f'model.align="none" needs sequences of one length, and these have {named} '
      f'steps; "uniform" spreads all others over the steps of {first}.'
    )
  # A batch may be cut where the longest of one modality ends.
  steps = max(array.shape[1] for array in x.values())
  longer = lambda array: jnp.pad(
    array, [(0, 0), (0, steps - array.shape[1])] + [(0, 0)] * (array.ndim - 2)
  )
  return {m: longer(x[m]) for m in x}, {m: longer(mask[m]) for m in x}
