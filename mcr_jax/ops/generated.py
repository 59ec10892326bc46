"""Labels that are made while training: Self-MM's, for modalities whose own are unknown.

W. Yu, H. Xu, Z. Yuan and J. Wu, AAAI 2021, Eqs. 10 to 17. A label is compared by where
the feature of its sample lies between the centres of positive and of negative ones.

Axes: N samples of the data, B of a batch, O numbers of a label, D features.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

EPSILON = 1e-8


def centres(
  features: Float[Array, "N D"], labels: Float[Array, "N O"], known: Bool[Array, "N"]
) -> tuple[Float[Array, "2 O D"], Bool[Array, "O"]]:
  """The mean features of samples with positive and with negative labels.

  Also, for which numbers there are both.
  """
  signs = jnp.stack([labels > 0, labels < 0]) & known[None, :, None]
  count = signs.sum(1)
  total = jnp.einsum("sno,nd->sod", signs.astype(features.dtype), features)
  return total / jnp.maximum(count, 1)[..., None], (count > 0).all(0)


def position(
  features: Float[Array, "B D"], centres: Float[Array, "2 O D"]
) -> Float[Array, "B O"]:
  """(|F - C-| - |F - C+|) / |F - C+|: above 0 where the positive centre is nearer."""
  squares = jnp.square(features[None, :, None] - centres[:, None]).sum(-1)
  positive, negative = jnp.sqrt(squares)
  return (negative - positive) / (positive + EPSILON)


def moved(
  label: Float[Array, "B O"],
  whole: Float[Array, "B O"],
  positions: tuple[Float[Array, "B O"], Float[Array, "B O"]],
  epoch: Float[Array, "B"],
  bound: float,
) -> Float[Array, "B O"]:
  """The label of a modality after an epoch, counted from 1; the first changes nothing.

  What it moves to lies in [-bound, bound].

  Args:
    label: before.
    whole: of the sample.
    positions: of the modality's feature and of the fused one.
    epoch: for each row.
    bound: of labels.
  """
  own, fused = positions
  target = (own / (fused + EPSILON) * whole + whole + own - fused) / 2
  target = jnp.clip(target, -bound, bound)
  n = epoch[:, None]
  after = (n - 1) / (n + 1) * label + 2 / (n + 1) * target
  # The quotient has no value where it is 0 / 0, nor has a product of that with 0.
  return jnp.where((n > 1) & jnp.isfinite(after), after, label)
