"""A row of a table: five seeds x 120 epochs with evaluation, by timing a few epochs."""

import functools
import json
import pathlib
import tempfile
import time

import jax
import numpy as np

from benchmarks import table_row
from mcr_jax import config
from mcr_jax.runs.fit import fit

# Case -> seconds that the row may take on an H100.
TARGETS = {"aligned_full": 30, "unaligned_real": 60, "unaligned_full": 120}
MODEL = {"name": "mcr", "width": 40, "heads": 10}
SMALL = {"name": "concat"}


def run(ledger):
  """A row a case by a few epochs, then whole rows while there is time."""
  if ledger.quick:
    ledger.measure("aligned_real, 2 epochs", lambda: quick(2))
    return
  few = lambda case: lambda: row(case, 4, TARGETS[case])
  for case in TARGETS:
    ledger.measure(f"{case}, 4 epochs", few(case), seconds=60)
  # The second time compiled programs come from the cache: what a start costs then.
  jax.clear_caches()
  ledger.measure("aligned_full, 4 epochs, warm", few("aligned_full"), seconds=20)
  for case, target in TARGETS.items():
    whole = functools.partial(row, case, 120, target)
    ledger.measure(f"{case}, 120 epochs", whole, seconds=2 * target + 30)


def quick(epochs):
  """The same path with few tiny clips."""
  clips = table_row.clips({"text": 4, "vision": 4, "audio": 4}, True)
  kept = np.r_[0:8, 1284:1288, 1513:1517]
  clips = {name: x[kept] for name, x in clips.items()}
  return timed(clips, SMALL, (0, 1), epochs, 4, 1, 60)


def row(case, epochs, target):
  """One case at full size."""
  longest, real, size, buckets = table_row.CASES[case]
  model = MODEL | {"remat": max(longest.values()) > 100}
  clips = table_row.clips(longest, real)
  return timed(clips, model, tuple(range(5)), epochs, size, buckets, target)


def timed(clips, model, seeds, epochs, size, buckets, target):
  """Trains, and says what 120 epochs take by the median of all but the first."""
  longest = {m: clips[m].shape[1] for m in ("text", "vision", "audio")}
  with tempfile.TemporaryDirectory() as folder:
    np.savez(f"{folder}/clips.npz", **clips)
    data = {"path": f"{folder}/clips.npz", "buckets": buckets, "lengths": longest}
    settings = config.complete(
      {
        "seeds": seeds,
        "data": data,
        "model": model,
        "train": {"epochs": epochs, "batch_size": size},
      }
    )
    began = time.perf_counter()
    fit(settings, f"{folder}/run", verbose=False)
    wall = time.perf_counter() - began
    lines = pathlib.Path(folder, "run", "metrics.jsonl").read_text().splitlines()
  seconds = [json.loads(line)["seconds"] for line in lines]
  epoch = float(np.median(seconds[1:] or seconds))
  whole = wall if epochs == 120 else 120 * epoch
  around = wall - sum(seconds[1:])
  line = f"{whole:.1f} s for 120 epochs, target {target} s; around them {around:.0f} s"
  return {"line": line, "epochs": seconds, "wall": wall, "row": whole, "target": target}
