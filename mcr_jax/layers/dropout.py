"""Dropout whose decisions do not depend on how far a batch was padded."""

import flax.linen as nn
from jaxtyping import Array, Float

from mcr_jax.ops import dropout as ops

# Traced where several rates share one program.
Rate = float | Array


class Dropout(nn.Module):
  """Zeroes elements with probability `rate` while training."""

  rate: Rate

  @nn.compact
  def __call__(
    self, x: Float[Array, "..."], *, train: bool, positions: ops.Positions | None = None
  ) -> Float[Array, "..."]:
    """`positions` are those of the steps, the axis before the features."""
    if not train or _never(self.rate):
      return x
    seed = ops.seed_from_key(self.make_rng("dropout"))
    return ops.dropout(
      x, self.rate, seed, {-2: positions} if positions is not None else {}
    )

  def decisions(
    self,
    *,
    train: bool,
    query: ops.Positions | None = None,
    key: ops.Positions | None = None,
  ) -> ops.Dropout | None:
    """What an op needs to drop elements that are never stored."""
    if not train or _never(self.rate):
      return None
    seed = ops.seed_from_key(self.make_rng("dropout"))
    return ops.Dropout(self.rate, seed, query, key)


def _never(rate) -> bool:
  return isinstance(rate, int | float) and rate == 0
