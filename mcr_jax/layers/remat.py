"""Whether layers are computed again in the backward pass."""

from collections.abc import Mapping

from jaxtyping import Array, Bool

# Steps in a batch, over all modalities. What MCR or MulT keeps of so many is half a GB.
FEW = 2**13


def recomputes(asked: bool, masks: Mapping[str, Bool[Array, "B _"]]) -> bool:
  """`asked`, except of a batch so small that its layers may as well be kept.

  A run in length buckets has both: programs that need it and programs that would only
  be slowed down.
  """
  return asked and sum(mask.size for mask in masks.values()) > FEW
