"""The unit of work of a researcher: five seeds, all epochs, evaluation.

  python benchmarks/table_row.py [--case aligned_full] [--epochs 120] [--seeds 5]

Trains MCR as for CMU-MOSI (1284/229/686 random clips of its shapes) into a temporary
workdir and prints the wall time of the whole program, of the part before the first
step, and of an epoch. `--epochs 3` extrapolates: an epoch costs the same each time.
"""

import argparse
import json
import os
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

import numpy as np

from benchmarks import shapes
from mcr_jax import cli, config

SPLITS = {"train": 1284, "valid": 229, "test": 686}
CASES = {
  "aligned_full": (shapes.ALIGNED, False, 64, 1),
  "aligned_real": (shapes.ALIGNED, True, 64, 4),
  "unaligned_real": (shapes.UNALIGNED, True, 16, 6),
  "unaligned_full": (shapes.UNALIGNED, False, 16, 1),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--case", default="aligned_full", choices=list(CASES))
  parser.add_argument("--epochs", type=int, default=120)
  parser.add_argument("--seeds", type=int, default=5)
  parser.add_argument("--json")
  arguments = parser.parse_args()
  began = time.perf_counter()
  longest, real, size, buckets = CASES[arguments.case]
  cli.prepare()
  with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/clips.npz"
    np.savez(path, **clips(longest, real))
    settings = config.complete(
      {
        "seeds": tuple(range(arguments.seeds)),
        "data": {"path": path, "buckets": buckets, "lengths": longest},
        "model": {
          "name": "mcr",
          "width": 40,
          "heads": 10,
          "remat": max(longest.values()) > 100,
        },
        "train": {"epochs": arguments.epochs, "batch_size": size},
      }
    )
    from mcr_jax.runs.fit import fit

    built = time.perf_counter()
    fit(settings, f"{folder}/run", verbose=False)
    done = time.perf_counter()
    with open(f"{folder}/run/metrics.jsonl") as file:
      seconds = [json.loads(line)["seconds"] for line in file]
  epoch = float(np.median(seconds[1:] or seconds))
  whole = done - built + (120 - arguments.epochs) * epoch
  row = {
    "case": arguments.case,
    "seeds": arguments.seeds,
    "epochs": arguments.epochs,
    "seconds": done - began,
    "first_epoch": seconds[0],
    "epoch": epoch,
    "row_of_120": whole,
  }
  print(json.dumps(row, indent=1))
  if arguments.json:
    with open(arguments.json, "w") as file:
      json.dump(row, file, indent=1)


def clips(longest, real):
  """The arrays of a feature file of random clips."""
  count = sum(SPLITS.values())
  made = shapes.batch(count, longest, shapes.lengths(count, longest) if real else None)
  made["id"] = np.array([f"clip_{i}" for i in range(count)])
  made["split"] = np.repeat(list(SPLITS), list(SPLITS.values()))
  made["label"] = made["label"].clip(-3, 3)
  del made["weight"]
  return made


if __name__ == "__main__":
  main()
