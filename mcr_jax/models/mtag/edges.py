"""Which steps MTAG joins, and whether one is past, present or future of the other.

Steps that exist are numbered 0, 1, ... in each modality, so a hole is no step. Within a
modality a step reads itself and its neighbours. Of two modalities with n <= m steps
every step reads every other; step i of the shorter has a window of the longer that is
present, and what is beyond either end of it is future or past.
"""

import itertools
from collections.abc import Mapping, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int8, Integer

# What the reader is to what it reads; 0 where it does not read it.
PAST, PRESENT, FUTURE = 1, 2, 3
RELATIONS = 3

Ranks = Integer[Array, "B _"]
Counts = Integer[Array, "B"]


def between_all(
  masks: Mapping[str, Bool[Array, "B _"]], leaders: Sequence[str], *, all_to_all: bool
) -> Int8[Array, "B N N"]:
  """What step i, a row, is to step j, of all modalities joined in their order.

  Args:
    masks: modality -> its real steps.
    leaders: of two modalities with as many steps the one that comes first here has
      the windows; those not named come after all others, in the order of `masks`.
    all_to_all: whether a step reads all others of its modality, not neighbours alone.
  """
  ranks = {m: jnp.cumsum(mask, -1, dtype=jnp.int32) - 1 for m, mask in masks.items()}
  counts = {m: mask.sum(-1, dtype=jnp.int32) for m, mask in masks.items()}
  order = [*(m for m in leaders if m in masks), *masks]
  blocks = {}
  for m in masks:
    blocks[m, m] = within(ranks[m], all_to_all=all_to_all)
  for m, s in itertools.combinations(sorted(masks, key=order.index), 2):
    blocks[m, s] = across(ranks[m], ranks[s], counts[m], counts[s])
    blocks[s, m] = jnp.where(blocks[m, s] > 0, 4 - blocks[m, s], 0).mT
  real = lambda m, s: masks[m][:, :, None] & masks[s][:, None]
  keep = lambda m, s: jnp.where(real(m, s), blocks[m, s], 0).astype(jnp.int8)
  rows = [jnp.concatenate([keep(m, s) for s in masks], -1) for m in masks]
  return jnp.concatenate(rows, -2)


def within(rank: Ranks, *, all_to_all: bool) -> Integer[Array, "B T T"]:
  """What step i of a modality is to step j of it."""
  ahead = rank[:, :, None] - rank[:, None]
  near = all_to_all | (jnp.abs(ahead) <= 1)
  return jnp.where(near, PRESENT + jnp.sign(ahead), 0)


def across(
  rank: Ranks, other: Ranks, count: Counts, others: Counts
) -> Integer[Array, "B T S"]:
  """What step i of a modality is to step j of another; the first leads on a tie."""
  i, j = rank[:, :, None], other[:, None]
  first, last = window(rank, count, others)
  own = PRESENT + (j < first[..., None]) - (j > last[..., None])
  first, last = window(other, others, count)
  theirs = PRESENT + (i > last[:, None]) - (i < first[:, None])
  return jnp.where((count <= others)[:, None, None], own, theirs)


def window(
  rank: Ranks, count: Counts, others: Counts
) -> tuple[Integer[Array, "B T"], Integer[Array, "B T"]]:
  """First and last step of the longer modality that a step of the shorter is beside.

  Args:
    rank: of the step.
    count: n, steps of the shorter.
    others: m >= n, of the longer; where it is less, what is found means nothing.
  """
  n, m = count[:, None], others[:, None]
  gaps = jnp.maximum(n - 1, 1)
  # Far more steps than windows: they overlap as little as they can.
  stride = jnp.maximum(2, (m // gaps + 1) // 2)
  narrow = m - (n - 1) * stride < 2
  stride = jnp.where(narrow, (m - 2) // gaps, stride)
  width = jnp.where(n == 1, m, jnp.where(narrow, 2, m - (n - 1) * stride))
  far = rank * stride
  # Fewer than two a window: the first m - n windows are apart, others overlap.
  near = jnp.where(rank < m - n, 2 * rank, m - n + rank - 1)
  near = jnp.where(m == n, jnp.minimum(rank, m - 2), near)
  first = jnp.where(m >= 2 * n, far, near)
  last = first + jnp.where(m >= 2 * n, width, 2) - 1
  return first, jnp.minimum(last, m - 1)
