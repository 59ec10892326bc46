"""Modality dropout: in training, samples lose whole modalities at random."""

import jax.numpy as jnp
from jaxtyping import Array, UInt32

from mcr_jax.contract import Batch
from mcr_jax.ops import dropout as counter


def drop_modalities(
  batch: Batch, rate: float | Array, seed: UInt32[Array, ""]
) -> Batch:
  """The batch with every modality of every utterance masked with probability `rate`.

  Of the modalities that an utterance has, one that is drawn stays whatever the rate, so
  that none loses all. Decisions depend on (place in the batch, turn, modality in
  alphabetical order) and not on how far the batch is filled up.
  """
  names = sorted(batch.mask)
  by_turn = batch.weight.ndim == 2
  here = {m: batch.mask[m] if by_turn else batch.mask[m].any(-1) for m in names}
  present = jnp.stack([here[m] for m in names], -1)
  index = lambda size: jnp.arange(size, dtype=jnp.uint32)
  rows = counter.rows(seed, *map(index, present.shape[:-1]))[..., None]
  columns = counter.columns(index(len(names)))
  bits = counter.finalise(rows + columns.reshape((1,) * (rows.ndim - 1) + (-1,)))
  best = jnp.where(present, bits, 0).max(-1, keepdims=True)
  kept = counter.is_kept(bits, counter.limit(rate)) | (bits == best)
  lost = {m: kept[..., i] if by_turn else kept[:, i, None] for i, m in enumerate(names)}
  return batch.replace(mask={m: batch.mask[m] & lost[m] for m in names})
