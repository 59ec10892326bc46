"""A training step of every config: one seed and five, as a multiple of its floor."""

import time

import jax
import numpy as np

from benchmarks import peaks, shapes, step_time
from mcr_jax import config, flops, models
from mcr_jax.training import mesh as meshes
from mcr_jax.training.programs import Programs

# Most wanted first: what does not fit into the time is measured at the next call.
CASES = (
  "mcr aligned full",
  "mcr unaligned real",
  "mcr unaligned full",
  "mcr unaligned full 64",
  "mia_net 18",
  "mia_net 512",
  "mult aligned full",
)
# Beside float32 with attention "auto".
VARIANTS = {
  "bfloat16": {"dtype": "bfloat16"},
  "pallas": {"attention": "pallas"},
  "bfloat16 cudnn": {"dtype": "bfloat16", "attention": "cudnn"},
}
VARIED = ("mcr aligned full", "mcr unaligned full")
# Two short modalities: a model of three compiles three times as long.
QUICK = {
  "mcr quick": (
    dict(name="mcr", width=8, heads=2, num_layers=1),
    {"text": 3, "audio": 4},
    4,
  )
}


def run(ledger):
  """A row a config, number of seeds and variant."""
  most = peaks.measure(repeats=1 if ledger.quick else 15)
  cases = QUICK if ledger.quick else {n: step_time.CASES[n] for n in CASES}
  plain = [(name, "float32", {}) for name in cases] * (not ledger.quick)
  other = [(name, v, VARIANTS[v]) for name in VARIED for v in VARIANTS]
  if ledger.quick:
    other = [(name, "pallas", VARIANTS["pallas"]) for name in cases]
  elif jax.default_backend() != "gpu":
    other = []
  for name, variant, extra in plain + other:
    fields, longest, size = cases[name]
    for seeds in (1, 2 if ledger.quick else 5):
      repeats = 2 if ledger.quick else 20
      work = lambda *a: lambda: measure(*a)
      ledger.measure(
        f"{name}, {variant}, {seeds} seeds",
        work(fields | extra, longest, size, seeds, repeats, most),
        seconds=0 if ledger.quick else 40,
      )


def measure(fields, longest, size, seeds, repeats, most):
  """One step of all seeds: compile seconds, milliseconds, memory, floor."""
  batch = step_time.vectors(size) if longest is None else shapes.batch(size, longest)
  names = [m for m in batch if f"{m}_mask" in batch]
  lengths = tuple((m, batch[m].shape[1]) for m in names)
  settings = config.complete(
    {"seeds": tuple(range(seeds)), "model": fields, "optim": {"clip": 0.0}}
  )
  model = models.build(**fields, modalities=tuple(names), lengths=lengths)
  programs = Programs(model, settings, meshes.make(1, 1))
  hyper = {"optim.lr": np.full(seeds, 1e-3), "loss.gamma": np.full(seeds, 0.3)}
  hyper = {name: x.astype(np.float32) for name, x in hyper.items()}
  few = {k: v[:2] for k, v in batch.items()}
  state = programs.create(few, tuple(range(seeds)), hyper)
  first = lambda tree: jax.tree.map(lambda x: x[0], tree)
  variables = {"params": first(state.params), **first(state.stats)}
  # Weights of zero samples would count like others; shapes are all that is asked for.
  counts = flops.count_training(model.clone(**_plain(model)), variables, batch)
  placed = jax.device_put(
    {k: np.broadcast_to(v, (seeds, *v.shape)) for k, v in batch.items()}
  )
  cold, compiled = _compile(programs.step, state, placed)
  jax.clear_caches()
  warm, compiled = _compile(programs.step, state, placed)
  memory = compiled.memory_analysis()
  times = []
  for _ in range(repeats + 2):
    began = time.perf_counter()
    state = jax.block_until_ready(compiled(state, placed))
    times.append(1e3 * (time.perf_counter() - began))
  low, median, high = np.percentile(times[2:], [10, 50, 90])
  weights = sum(x.size for x in jax.tree.leaves(variables["params"]))
  moved = 4 * (7 * weights + sum(batch[k].size for k in names))
  bounds = {
    "flops": counts.flops / most.flops,
    "bytes": moved / most.bytes,
    "exponentials": step_time.exponentials(model, size, dict(lengths))
    / most.exponentials,
  }
  bounds = {k: 1e3 * seeds * v for k, v in bounds.items()}
  floor = max(bounds.values())
  temporary = memory.temp_size_in_bytes
  return {
    "line": (
      f"{median:9.2f} ms [{low:.2f}, {high:.2f}]  {median / floor:6.1f} x floor  "
      f"compile {cold:.0f} s, warm {warm:.1f} s  {temporary / 1e6:.0f} MB"
    ),
    "ms": times[2:],
    "median_ms": median,
    "floor_ms": bounds,
    "compile_s": cold,
    "warm_s": warm,
    "temporary_bytes": temporary,
    "state_bytes": memory.argument_size_in_bytes,
    "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    "finite": bool(all(np.isfinite(x).all() for x in map(np.asarray, _floats(state)))),
  }


def _plain(model):
  """Operations are counted on the implementation that can be counted."""
  return {"attention": "auto"} if "attention" in model.__dataclass_fields__ else {}


def _compile(function, *arguments):
  began = time.perf_counter()
  compiled = function.lower(*arguments).compile()
  return time.perf_counter() - began, compiled


def _floats(state):
  return [
    x for x in jax.tree.leaves(state.params) if jax.numpy.issubdtype(x.dtype, float)
  ]
