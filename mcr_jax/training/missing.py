"""Modality dropout: in training, samples lose whole modalities at random."""

from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, UInt32

from mcr_jax.ops import dropout as counter


def drop_modalities(
  batch: Mapping[str, Array], rate: float | Array, seed: UInt32[Array, ""]
) -> dict[str, Array]:
  """The batch with every modality of every sample masked with probability `rate`.

  Of the modalities that a sample has, the luckiest stays whatever the rate, so that no
  sample loses all. Decisions hang on (place in the batch, modality in alphabetical
  order) and not on how far the batch is filled up.
  """
  names = sorted(name for name in batch if name.endswith("_mask"))
  present = jnp.stack([batch[name].any(-1) for name in names], -1)
  index = lambda size: jnp.arange(size, dtype=jnp.uint32)
  rows = counter.rows(seed, index(present.shape[0]))[:, None]
  bits = counter.finalise(rows + counter.columns(index(len(names)))[None])
  best = jnp.where(present, bits, 0).max(-1, keepdims=True)
  kept = counter.is_kept(bits, counter.limit(rate)) | (bits == best)
  masks = {name: batch[name] & kept[:, i, None] for i, name in enumerate(names)}
  return dict(batch) | masks
