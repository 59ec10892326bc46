"""Sequences that several units read, and joining those of several modalities."""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Integer

from mcr_jax.layers.transformer import LayerNorm
from mcr_jax.ops.dropout import Positions
from mcr_jax.ops.norm import standardize

Masks = dict[str, Bool[Array, "B _"]]


class Stream(NamedTuple):
  """One sequence and what travels with it.

  Attributes:
    z: (B, T, D), zero on steps that are not real.
    standardized: `z` without mean and variance; taken once, however many norms read it,
      and None where only one does.
    mask: (B, T), True on real steps.
    positions: (T,) of the steps where they are not 0, 1, ..., because streams of
      several modalities were joined.
  """

  z: Float[Array, "B T D"]
  standardized: Float[Array, "B T D"] | None
  mask: Bool[Array, "B T"]
  positions: Positions | None = None

  @classmethod
  def of(cls, z: Array, mask: Array, positions: Positions | None = None) -> "Stream":
    """A stream with its statistics taken out."""
    return cls(z, standardize(z), mask, positions)

  @classmethod
  def each(cls, z: Sequence[Array], masks: Sequence[Array]) -> list["Stream"]:
    """A stream of every sequence; all statistics at once where shapes are equal."""
    if len(z) == 1 or len({x.shape for x in z}) > 1:
      return [cls.of(*each) for each in zip(z, masks, strict=True)]
    return list(map(cls, z, standardize(jnp.stack(z)), masks))

  def norm(self, name: str) -> Float[Array, "B T D"]:
    """LN(z), by the submodule `name` of the module that calls this."""
    if self.standardized is None:
      return LayerNorm(name=name)(self.z)
    return LayerNorm(name=name)(self.standardized, standardized=True)


Streams = dict[str, Stream]


def concatenate(parts: dict[str, Array]) -> Array:
  """Sequences or masks of several modalities, one after the other along time."""
  return jnp.concatenate(list(parts.values()), 1)


def split(joined: Array, masks: Masks) -> dict[str, Array]:
  """What was concatenated, by modality."""
  ends = list(itertools.accumulate(mask.shape[1] for mask in masks.values()))
  return dict(zip(masks, jnp.split(joined, ends[:-1], 1), strict=True))


def joined_positions(
  longest: Sequence[int], steps: Sequence[int]
) -> Integer[np.ndarray, "_"]:
  """Where the steps of joined sequences stood if none were cut below its longest."""
  starts = np.cumsum([0, *longest])[:-1]
  parts = zip(starts, steps, strict=True)
  return np.concatenate([start + np.arange(count) for start, count in parts])
