"""Batches of a data set that stays on disk, made by threads while the device computes.

A few threads gather the samples of the next steps from the memory-mapped file, in the
order of the schedule. So a batch depends on the schedule and its step alone, whenever
and wherever it is asked for. `pipeline` has the same batches as a tf.data pipeline.
"""

import collections
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mcr_jax.data.batches import Source, assemble
from mcr_jax.data.schedule import Bounds, Schedule

# Batches in the making, and batches that wait: what this holds in memory.
WORKERS = min(4, os.cpu_count() or 1)
WAITING = 1
NICENESS = 15


def batches(
  source: Source, schedule: Schedule, buckets: Sequence[Bounds], *, start: int = 0
) -> Iterator[dict[str, Any]]:
  """The batches of a schedule, each as `batches.assemble` makes it.

  Args:
    source: where the samples are; mapped features are read when needed.
    schedule: of one epoch.
    buckets: bounds to pad to, which `schedule.bucket` counts.
    start: the first step; those before it cost nothing.

  Returns:
    An iterator over the steps; every array has a leading axis of seeds.
  """
  pool = ThreadPoolExecutor(WORKERS, "batches", lower_priority)
  pending = collections.deque()
  try:
    for step in range(start, len(schedule)):
      bounds = buckets[schedule.bucket[step]]
      pending.append(pool.submit(assemble, source, schedule.rows[:, step], bounds))
      if len(pending) >= WORKERS + WAITING:
        yield pending.popleft().result()
    while pending:
      yield pending.popleft().result()
  finally:
    pool.shutdown(wait=False, cancel_futures=True)


def lower_priority() -> None:
  """Leaves the cores to the computation: this thread takes what it does not use."""
  # Of one thread, on Linux; elsewhere it would be the whole process.
  if sys.platform == "linux":
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
