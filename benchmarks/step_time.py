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
from mcr_jax.contract import Batch, Spec

allocator.keep_freed_memory()

import jax
import numpy as np

from benchmarks import peaks, shapes
from mcr_jax import config, flops, models
from mcr_jax.hosts import mesh as meshes
from mcr_jax.training.programs import Programs

REAL = {"text": 16, "vision": 80, "audio": 64}
MCR = dict(name="mcr", width=40, heads=10, num_layers=3)
MULT = dict(name="mult", width=30, heads=5, layers=5)
# name: (fields, longest, batch size)
CASES = {
  "mcr aligned full": (MCR, shapes.ALIGNED, 64),
  "mcr unaligned real": (MCR | {"remat": True}, REAL, 16),
  "mcr unaligned full": (MCR | {"remat": True}, shapes.UNALIGNED, 16),
  "mcr unaligned full 64": (MCR | {"remat": True}, shapes.UNALIGNED, 64),
  "mult aligned full": (MULT, shapes.ALIGNED, 64),
  "mult unaligned real": (MULT, REAL, 16),
  "mia_net 18": (dict(name="mia_net"), None, 18),
  "mia_net 512": (dict(name="mia_net"), None, 512),
}


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
    measure(name, *case, arguments.repeats, most)
    for name, case in CASES.items()
    if arguments.only in name
  ]
  if arguments.json:
    with open(arguments.json, "w") as file:
      json.dump({"machine": peaks.machine(), "rows": rows}, file, indent=1)


def vectors(size):
  """Utterance vectors of the sizes of MIA-Net's paper."""
  random, made = np.random.default_rng(1), {}
  for m, width in {"text": 1024, "audio": 768, "vision": 256}.items():
    made[m] = random.normal(size=(size, 1, width)).astype(np.float32)
    made[f"{m}_mask"] = np.ones((size, 1), bool)
  made["label"] = random.normal(size=size).astype(np.float32)
  return made | {"weight": np.ones(size, np.float32)}


def measure(name, fields, longest, size, repeats, most):
  """One row, printed and returned."""
  batch = vectors(size) if longest is None else shapes.batch(size, longest)
  names = [m for m in batch if f"{m}_mask" in batch]
  lengths = {m: batch[m].shape[1] for m in names}
  settings = config.complete({"seeds": (0,), "model": fields, "optim": {"clip": 0.0}})
  model = models.build(spec=Spec(lengths), **fields)
  programs = Programs(model, settings, meshes.make(1, 1))
  hyper = {"optim.lr": np.full(1, 1e-3, np.float32), "loss.gamma": np.full(1, 0.3)}
  state = programs.create({k: v[:2] for k, v in batch.items()}, (0,), hyper)
  params = jax.tree.map(lambda x: x[0], state.params)
  variables = {"params": params, **jax.tree.map(lambda x: x[0], state.stats)}
  counts = flops.count_training(model, variables, Batch.of(batch))
  placed = jax.device_put({k: v[None] for k, v in batch.items()})

  began = time.perf_counter()
  compiled = programs.step.lower(state, placed).compile()
  compiling = time.perf_counter() - began
  temporary = compiled.memory_analysis().temp_size_in_bytes
  if "attention" in model.__dataclass_fields__ and temporary < 4e9:
    check(model, variables, batch)
  allocator.release_fragments()
  times = []
  for _ in range(repeats + 1):
    began = time.perf_counter()
    state = jax.block_until_ready(compiled(state, placed))
    times.append(time.perf_counter() - began)
  times = np.array(times[1:])
  weights = sum(x.size for x in jax.tree.leaves(params))
  moved = 4 * (7 * weights + sum(v.size for k, v in batch.items() if k in names))
  bounds = {
    "flops": counts.flops / most.flops,
    "bytes": moved / most.bytes,
    "exponentials": exponentials(model, size, lengths) / most.exponentials,
  }
  floor = max(bounds.values())
  low, median, high = np.percentile(times, [10, 50, 90])
  print(
    f"{name:<24}{weights:>10,}{counts.flops / 1e9:>9.2f}{compiling:>11.1f}"
    f"{median * 1e3:>10.1f}  {f'[{low * 1e3:.1f}, {high * 1e3:.1f}]':<20}"
    f"{size / median:>8.0f}{temporary / 1e6:>9.0f}{floor * 1e3:>10.1f}"
    f"{median / floor:>9.1f}",
    flush=True,
  )
  return {
    "case": name,
    "params": weights,
    "flops": counts.flops,
    "compile_s": compiling,
    "seconds": times.tolist(),
    "temp_bytes": temporary,
    "floor": bounds,
  }


def check(model, variables, batch):
  """The prediction equals that of literal attention."""
  few = Batch.of({k: v[:2] for k, v in batch.items()})
  right = jax.jit(model.clone(attention="literal").apply)(variables, few).predictions
  here = jax.jit(model.apply)(variables, few).predictions
  np.testing.assert_allclose(here, right, rtol=2e-4, atol=2e-5)


def exponentials(model, size, steps):
  """Of a training step: each softmax once forward and once in the backward pass."""
  total, names = sum(steps.values()), list(steps)
  cross = sum(steps[t] * (total - steps[t]) for t in names)
  itself = sum(n * n for n in steps.values())
  kind = type(model).__module__.rsplit(".", 1)[-1]
  if kind == "mcr":
    layer = model.cmu_heads * cross + model.heads * (cross + itself)
    return 2 * size * (model.num_layers * layer + model.heads * total**2)
  if kind == "mult":
    own = max(3, model.layers)
    return 2 * size * model.heads * (model.layers * cross + own * itself)
  # Softmax of a d_a x d_m similarity for each auxiliary.
  return 2 * size * 1024 * (768 + 256)


if __name__ == "__main__":
  main()
