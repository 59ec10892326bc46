"""What a training step of each model costs: `python benchmarks/step_time.py`.

One line a case: parameters, model FLOP of a step (counted on the jaxpr, not by XLA),
seconds to compile, milliseconds a step with their spread, samples a second, temporary
memory, and the floor: the largest of FLOP, bytes and exponentials, each over what this
machine was just measured to do. Bytes are a lower bound (parameters, Adam's moments and
gradients, and the inputs, each moved once), so the floor is one that no program beats.
Predictions are compared with those of literal attention before a time is printed.

  --only WORD     cases whose name has this word
  --repeats 20
  --json FILE
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

from mcr_jax import allocator

allocator.keep_freed_memory()

import jax
import numpy as np

from benchmarks import peaks
from benchmarks.steps import CASES, Step


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--only", default="")
  parser.add_argument("--repeats", type=int, default=20)
  parser.add_argument("--json")
  arguments = parser.parse_args()
  most = peaks.measure()
  print(
    f"{peaks.machine()}, jax {jax.__version__}, float32, median of {arguments.repeats} "
    f"[p10, p90]\npeaks: {most.flops / 1e9:.0f} GFLOP/s, {most.bytes / 1e9:.1f} GB/s, "
    f"{most.exponentials / 1e9:.2f} G exp/s"
  )
  print(
    f"{'case':<24}{'params':>10}{'GFLOP':>9}{'compile s':>11}{'ms/step':>10}"
    f"  {'[p10, p90]':<20}{'ex/s':>8}{'temp MB':>9}{'floor ms':>10}{'x floor':>9}"
  )
  rows = [
    measure(name, arguments.repeats, most) for name in CASES if arguments.only in name
  ]
  if arguments.json:
    with open(arguments.json, "w") as file:
      json.dump({"machine": peaks.machine(), "rows": rows}, file, indent=1)


def measure(name, repeats, most):
  """One row, printed and returned."""
  step = Step.case(name)
  work, size = step.work(), len(step.batch.weight)
  lowered = step.lower()
  began = time.perf_counter()
  compiled = lowered.compile()
  compiling = time.perf_counter() - began
  temporary = compiled.memory_analysis().temp_size_in_bytes
  if "attention" in step.model.__dataclass_fields__ and temporary < 4e9:
    check(step)
  allocator.release_fragments()
  times = []
  for _ in range(repeats + 1):
    began = time.perf_counter()
    step.take(compiled)
    times.append(time.perf_counter() - began)
  times = np.array(times[1:])
  bounds = work.bounds(most)
  floor = max(bounds.values())
  low, median, high = np.percentile(times, [10, 50, 90])
  print(
    f"{name:<24}{work.weights:>10,}{work.flops / 1e9:>9.2f}{compiling:>11.1f}"
    f"{median * 1e3:>10.1f}  {f'[{low * 1e3:.1f}, {high * 1e3:.1f}]':<20}"
    f"{size / median:>8.0f}{temporary / 1e6:>9.0f}{floor * 1e3:>10.1f}"
    f"{median / floor:>9.1f}",
    flush=True,
  )
  return {
    "case": name,
    "params": work.weights,
    "flops": work.flops,
    "compile_s": compiling,
    "seconds": times.tolist(),
    "temp_bytes": temporary,
    "floor": bounds,
  }


def check(step):
  """The prediction equals that of literal attention."""
  few = jax.tree.map(lambda x: x[:2], step.batch)
  predict = lambda model: jax.jit(model.apply)(step.variables, few).predictions
  right = predict(step.model.clone(attention="literal"))
  np.testing.assert_allclose(predict(step.model), right, rtol=2e-4, atol=2e-5)


if __name__ == "__main__":
  main()
