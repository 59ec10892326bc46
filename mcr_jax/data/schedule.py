"""Which samples form which step: the one source of order, for every placement.

Everything here is a pure function of (sizes, seed, epoch): the resident program and the
streaming pipeline ask the same schedule, so they see the same batches, and a run that
stopped in the middle of an epoch finds its place again by counting.

Samples of similar length form a bucket, and a batch is padded to the bounds of its
bucket instead of the longest sequence of the data set. Batches are drawn inside
buckets; the order of batches is drawn anew every epoch.
"""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

Bounds = tuple[tuple[str, int], ...]
FILLER = -1
GRAIN = 8


@dataclasses.dataclass(frozen=True)
class Schedule:
  """The steps of one epoch.

  Attributes:
    bucket: (NB,) which bucket step i belongs to.
    rows: (S, NB, B) positions of samples, `FILLER` where a batch is not full.
  """

  bucket: np.ndarray
  rows: np.ndarray

  def __len__(self) -> int:
    return len(self.bucket)

  def padded(self, multiple: int) -> "Schedule":
    """Batches filled up to a multiple, so that devices get equal shares."""
    short = -self.rows.shape[-1] % multiple
    rows = np.pad(self.rows, ((0, 0), (0, 0), (0, short)), constant_values=FILLER)
    return dataclasses.replace(self, rows=rows)


def make_buckets(
  lengths: Mapping[str, np.ndarray], longest: Mapping[str, int], count: int
) -> tuple[Bounds, ...]:
  """At most `count` buckets, cut where they save the most padded work.

  Args:
    lengths: modality -> (N,) steps of every sample.
    longest: modality -> what no bound exceeds.
    count: how many; 1 pads everything to `longest`.
  Returns:
    The bounds of every bucket, shortest first; each of these samples fits the last.
  """
  names = list(longest)
  top = tuple((m, int(longest[m])) for m in names)
  table = np.stack([lengths[m] for m in names], 1).astype(np.int64)
  if count < 2 or len(table) < 2:
    return (top,)
  # Samples in order of their share of the longest sequences, cut at quantiles.
  share = (table / np.maximum(table.max(0), 1)).sum(1)
  table = table[np.argsort(share, kind="stable")]
  peaks = np.maximum.accumulate(table, 0)
  ends = np.unique(np.linspace(0, len(table), 65).astype(int)[1:])
  bounds = np.minimum(-(-peaks[ends - 1] // GRAIN) * GRAIN, [n for _, n in top])
  bounds = np.maximum(bounds, np.minimum(GRAIN, [n for _, n in top]))
  # Attention is quadratic in the joined length, all else linear; both are counted.
  total = bounds.sum(1)
  price = total * (total + 64.0)
  best = _cheapest_cuts(price, ends, count)
  kept = dict.fromkeys(
    tuple(zip(names, map(int, bounds[i]), strict=True)) for i in best
  )
  return tuple(kept)


def _cheapest_cuts(price: np.ndarray, ends: np.ndarray, count: int) -> list[int]:
  """The `count` groups of consecutive candidates with the least total price."""
  n = len(ends)
  starts = np.concatenate([[0], ends[:-1]])
  cost = np.full((count + 1, n + 1), np.inf)
  back = np.zeros((count + 1, n + 1), int)
  cost[0, 0] = 0.0
  for k in range(1, count + 1):
    for j in range(1, n + 1):
      options = cost[k - 1, :j] + price[j - 1] * (ends[j - 1] - starts[:j])
      back[k, j] = options.argmin()
      cost[k, j] = options[back[k, j]]
  k, j, cuts = int(cost[1:, n].argmin()) + 1, n, []
  while k:
    cuts.append(j - 1)
    k, j = k - 1, int(back[k, j])
  return cuts[::-1]


def assign(lengths: Mapping[str, np.ndarray], buckets: Sequence[Bounds]) -> np.ndarray:
  """(N,) the first bucket that holds each sample; there must be one."""
  fits = [np.all([lengths[m] <= n for m, n in bounds], 0) for bounds in buckets]
  assert fits[-1].all(), (np.flatnonzero(~fits[-1])[:3], buckets[-1])
  return np.argmax(np.stack(fits), 0)


def epoch_schedule(
  rows: np.ndarray,
  bucket: np.ndarray,
  batch_size: int,
  seeds: Sequence[int],
  epoch: int,
) -> Schedule:
  """Shuffled batches of one epoch, for every seed.

  All seeds visit the buckets in the same order, so that they run as one program;
  which samples meet in a batch is each seed's own. A batch that begins in one bucket
  and is filled from the next belongs to the larger, so only the last is short.

  Args:
    rows: (N,) positions of the samples to train on.
    bucket: (N,) their buckets.
    batch_size: rows of a batch.
    seeds: of the run.
    epoch: counted from 1.
  """
  filled = [
    _fill(rows, bucket, batch_size, np.random.default_rng([seed, epoch, 1]))
    for seed in seeds
  ]
  order = np.random.default_rng([epoch, 2]).permutation(len(filled[0][0]))
  return Schedule(filled[0][0][order], np.stack([f[1][order] for f in filled]))


def fixed_schedule(rows: np.ndarray, bucket: np.ndarray, batch_size: int) -> Schedule:
  """Batches in order of bucket, unshuffled: for evaluation."""
  groups, batches = _fill(rows, bucket, batch_size, None)
  return Schedule(groups, batches[None])


def _fill(rows, bucket, batch_size, random):
  order = np.arange(len(rows)) if random is None else random.permutation(len(rows))
  order = order[np.argsort(bucket[order], kind="stable")]
  count = -(-len(rows) // batch_size)
  batches = np.full(count * batch_size, FILLER, np.int32)
  batches[: len(rows)] = rows[order]
  last = np.minimum(np.arange(1, count + 1) * batch_size, len(rows)) - 1
  return bucket[order][last], batches.reshape(count, batch_size)
