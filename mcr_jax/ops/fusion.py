"""What the fusion methods compute without parameters of their own."""

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError
from mcr_jax.ops import pooling


def main_and_auxiliaries(
  modalities: tuple[str, ...], main: str = "", auxiliaries: tuple[str, ...] = ()
) -> tuple[str, tuple[str, ...]]:
  """The main modality and the others, in order; empty means the order given."""
  main = main or modalities[0]
  others = tuple(m for m in modalities if m != main)
  if main in auxiliaries:
    raise UserError(
      f"model.auxiliaries={auxiliaries!r} names the main modality, {main!r}; right are "
      f"{', '.join(others)}."
    )
  return main, tuple(auxiliaries) or others


def pooled(
  x: Float[Array, "B T D"], mask: Bool[Array, "B T"], dtype: str = ""
) -> tuple[Float[Array, "B D"], Bool[Array, "B"]]:
  """One vector a sample, the mean of its real steps, and whether there are any."""
  return pooling.mean(x.astype(dtype) if dtype else x, mask), mask.any(-1)


def convolve(
  x: Float[Array, "B C F"],
  kernel: Float[Array, "W C E"],
  bias: Float[Array, "E"],
) -> Float[Array, "B E F"]:
  """1-D convolution of C to E channels along the features, zeros beyond the ends."""
  size, features = kernel.shape[0], x.shape[-1]
  before = (size - 1) // 2
  padded = jnp.pad(x, ((0, 0), (0, 0), (before, size - 1 - before)))
  # As one product over shifted views: a handful of channels is far below what
  # convolution routines are made for.
  views = jnp.stack([padded[..., i : i + features] for i in range(size)], 1)
  return jnp.einsum("bwcf,wce->bef", views, kernel) + bias[None, :, None]


def with_one(x: Float[Array, "*B D"]) -> Float[Array, "*B E"]:
  """The vector extended by a 1, so that products also hold every smaller product."""
  return jnp.concatenate([x, jnp.ones((*x.shape[:-1], 1), x.dtype)], -1)


def outer(vectors: list[Float[Array, "B _"]]) -> Float[Array, "B P"]:
  """The outer product of several vectors, flattened; the last one runs fastest."""
  product = vectors[0]
  for vector in vectors[1:]:
    product = product[:, :, None] * vector[:, None, :]
    product = product.reshape(product.shape[0], -1)
  return product


def low_rank(
  vectors: list[Float[Array, "B _"]], factors: list[Float[Array, "R _ D"]]
) -> Float[Array, "R B D"]:
  """The rank-one parts of `outer(vectors)` times a tensor that is never formed."""
  product = jnp.einsum("bi,rid->rbd", vectors[0], factors[0])
  for vector, factor in zip(vectors[1:], factors[1:], strict=True):
    product = product * jnp.einsum("bi,rid->rbd", vector, factor)
  return product


def views(
  x: Float[Array, "B D"], scale: Float[Array, "T D"], bias: Float[Array, "T D"]
) -> Float[Array, "B T D"]:
  """A vector as a short sequence: every position sees it under its own scale."""
  return x[:, None] * scale[None] + bias[None]
