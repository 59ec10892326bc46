"""Batches of a data set that stays on disk, made by threads while the device computes.

A few threads gather the samples of the next steps from the memory-mapped file, in the
order of the schedule. So a batch depends on the schedule and its step alone, whenever
and wherever it is asked for. `pipeline` has the same batches as a tf.data pipeline.
"""

import collections
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from mcr_jax.data.batches import aligned
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import FILLER, Bounds, Schedule
from mcr_jax.data.schema import Dataset, Modality, release
from mcr_jax.errors import UserError

# Batches in the making, and batches that wait: what this holds in memory.
WORKERS = min(4, os.cpu_count() or 1)
WAITING = 1
NICENESS = 15
# Numbers at both ends of an array that tell whether a file is still the same.
PROBE = 1 << 12


def batches(
  dataset: Dataset,
  schedule: Schedule,
  buckets: Sequence[Bounds],
  normalizer: Normalizer | None,
  *,
  start: int = 0,
  share: slice = slice(None),
) -> Iterator[dict[str, np.ndarray]]:
  """The batches of a schedule, each as `mcr_jax.data.batches.arrays` makes it.

  Args:
    dataset: where the samples are; memory-mapped features are read when needed.
    schedule: of one epoch.
    buckets: bounds to pad to, which `schedule.bucket` counts.
    normalizer: applied to real steps.
    start: the first step; those before it cost nothing.
    share: which columns of every batch this process needs, of several hosts.

  Returns:
    An iterator over the steps: `<m>` (S, B, T, D), `<m>_mask` (S, B, T), `label` and
    `weight`, with a leading axis of seeds.
  """
  gather = Gather(dataset, buckets, normalizer)
  pool = ThreadPoolExecutor(WORKERS, "batches", lower_priority)
  pending = collections.deque()
  try:
    for step in range(start, len(schedule)):
      rows = schedule.rows[:, step, share]
      pending.append(pool.submit(gather, schedule.bucket[step], rows))
      if len(pending) >= WORKERS + WAITING:
        yield gather.named(pending.popleft().result())
    while pending:
      yield gather.named(pending.popleft().result())
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def lower_priority() -> None:
  """Leaves the cores to the computation: this thread takes what it does not use."""
  # Of one thread, on Linux; elsewhere it would be the whole process.
  if sys.platform == "linux":
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)


class Gather:
  """The arrays of one step; several threads call it at once.

  `batches.arrays` says what the answer is. This one passes over the memory once: each
  sample is a run of the file, and is normalised while it is in a cache.
  """

  def __init__(
    self,
    dataset: Dataset,
    buckets: Sequence[Bounds],
    normalizer: Normalizer | None,
  ):
    self.dataset, self.buckets, self.clip = dataset, buckets, None
    self.scale = {}
    if normalizer is not None:
      self.clip = np.float32(normalizer.clip)
      for name, _ in buckets[0]:
        longest = max(dict(bounds)[name] for bounds in buckets)
        # Repeated for every step: one long loop is faster than many of a step each.
        spread = lambda x, steps=longest: np.tile(x.astype(np.float32), steps)
        self.scale[name] = (
          spread(normalizer.mean[name]),
          spread(normalizer.std[name]),
        )
    self.read = {m: _reader(dataset.modalities[m].values) for m, _ in buckets[0]}
    self.types = {"weight": np.dtype(np.float32)}
    for name, _ in buckets[0]:
      self.types |= {name: np.dtype(np.float32), f"{name}_mask": np.dtype(bool)}
    if dataset.labels is not None:
      self.types["label"] = dataset.labels.dtype

  def __call__(self, bucket: np.integer, rows: np.ndarray) -> list[np.ndarray]:
    """The arrays of `types` for rows (S, B)."""
    place = np.maximum(rows, 0)
    batch = {"weight": (rows != FILLER).astype(np.float32)}
    for name, length in self.buckets[bucket]:
      modality = self.dataset.modalities[name]
      starts, ends = modality.offsets[place], modality.offsets[place + 1]
      # The first sample, which fills a batch up, may be too long for its bucket.
      ends = np.where(rows == FILLER, np.minimum(ends, starts + length), ends)
      values, mask = self._padded(name, modality, starts.flat, ends.flat, length)
      batch[name] = values.reshape(*rows.shape, *values.shape[1:])
      batch[f"{name}_mask"] = mask.reshape(*rows.shape, length)
    if self.dataset.labels is not None:
      batch["label"] = self.dataset.labels[place]
    return [batch[name] for name in self.types]

  def named(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of a step by name."""
    return dict(zip(self.types, arrays, strict=True))

  def _padded(self, name, modality: Modality, starts, ends, length: int):
    """values (n, length, D) and mask (n, length) of n runs of steps, normalised."""
    values = aligned((len(starts), length, modality.width))
    mask = np.zeros((len(starts), length), bool)
    flat, width = values.reshape(len(values), -1), modality.width
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
      size = (end - start) * width
      part = flat[i, :size]
      self.read[name](start * width, part)
      if name in self.scale:
        mean, std = self.scale[name]
        np.subtract(part, mean[:size], out=part)
        np.divide(part, std[:size], out=part)
        part.clip(-self.clip, self.clip, out=part)
      flat[i, size:] = 0
      real = mask[i, : end - start]
      real[...] = modality.mask[start:end]
      if not real.all():
        values[i, : end - start][~real] = 0
    return values, mask


def _reader(values: np.ndarray) -> Callable[[int, np.ndarray], None]:
  """A function that copies the numbers from a position on, as many as it is given.

  Of a mapped file it reads: pages of the map have to be faulted in and given back,
  which costs more than the copy, and keeps the cores from each other.
  """
  # Not as a memmap, whose slices are slow to make.
  flat = np.asarray(values).reshape(-1)

  def copy(begin, out):
    out[...] = flat[begin : begin + out.size]

  mapped = isinstance(getattr(values, "base", None), mmap.mmap) and values.mode == "r"
  if not mapped or not hasattr(os, "preadv"):
    return copy
  try:
    file = open(values.filename, "rb", buffering=0)
  except OSError:
    return copy  # a map outlives the name of its file

  def read(begin, out):
    data, place = memoryview(out).cast("B"), values.offset + out.itemsize * begin
    while len(data):
      count = os.preadv(file.fileno(), [data], place)
      if not count:
        raise UserError(f"{values.filename} has become shorter.")
      data, place = data[count:], place + count

  # The name may belong to another file by now.
  for begin in (0, max(0, flat.size - PROBE)):
    part = flat[begin : begin + PROBE]
    found = np.empty_like(part)
    try:
      read(begin, found)
    except UserError:
      return copy
    if found.tobytes() != part.tobytes():
      return copy
  release(values)
  return read
