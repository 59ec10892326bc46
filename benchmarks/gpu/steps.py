"""A training step of every config: one seed and five, as a multiple of its floor."""

import time
from typing import NamedTuple

import jax
import numpy as np

from benchmarks import peaks
from benchmarks import steps as trained
from benchmarks.gpu import launches, together

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
# One short modality: a model of three compiles five times as long.
QUICK = {
  "mcr quick": (
    dict(name="mcr", width=8, heads=2, num_layers=1),
    {"text": 5},
    4,
  )
}


def run(ledger):
  """A row a config, number of seeds and variant."""
  most = peaks.measure(repeats=1 if ledger.quick else 15)
  cases = QUICK if ledger.quick else {n: trained.CASES[n] for n in CASES}
  wanted = [(name, "float32", {}) for name in cases] * (not ledger.quick)
  if ledger.quick:
    wanted += [(name, "pallas", VARIANTS["pallas"]) for name in cases]
  elif jax.default_backend() == "gpu":
    wanted += [(name, v, VARIANTS[v]) for name in VARIED for v in VARIANTS]
  jobs = {}
  for name, variant, extra in wanted:
    for seeds in (1, 2 if ledger.quick else 5):
      label = f"{name}, {variant}, {seeds} seeds"
      if ledger.due(label):
        jobs[label] = cases[name][0] | extra, *cases[name][1:], seeds
  prepared = {}
  programs = together.compile_all(lowered(jobs, prepared, ledger))
  repeats = 2 if ledger.quick else 20
  for label in programs:
    work = lambda *a: lambda: timed(*a)
    arguments = programs[label], prepared.pop(label, None), jobs[label], repeats, most
    ledger.measure(label, work(*arguments), seconds=2)


def lowered(jobs, prepared, ledger):
  """Traces the steps while there is time to measure them."""
  for label, job in jobs.items():
    if not ledger.due(label, seconds=60 * (not ledger.quick)):
      return
    try:
      prepared[label] = prepare(*job)
    except Exception as error:  # of this row, which will say so
      yield label, error
      continue
    yield label, prepared[label].lowered


class Prepared(NamedTuple):
  """A step of all seeds, its program as traced, and what it has to do."""

  lowered: jax.stages.Lowered
  step: trained.Step
  work: trained.Work


def prepare(fields, longest, size, seeds):
  """The step of one config."""
  step = trained.Step.of(fields, trained.batch_of(longest, size), seeds=seeds)
  return Prepared(step.lower(), step, step.work())


def timed(program, prepared, job, repeats, most):
  """Milliseconds, memory and floor of one step of all seeds."""
  compiled, step = together.ready(program), prepared.step
  times = []
  for _ in range(repeats + 2):
    began = time.perf_counter()
    step.take(compiled)
    times.append(1e3 * (time.perf_counter() - began))
  low, median, high = np.percentile(times[2:], [10, 50, 90])
  bounds = {name: 1e3 * x for name, x in prepared.work.bounds(most).items()}
  floor = max(bounds.values())
  memory = compiled.memory_analysis()
  temporary = memory.temp_size_in_bytes
  kinds = launches.count(compiled.as_text())
  return {
    "line": (
      f"{median:9.2f} ms [{low:.2f}, {high:.2f}]  {median / floor:6.1f} x floor  "
      f"{temporary / 1e6:.0f} MB  {sum(kinds.values())} launches"
    ),
    "launches": kinds,
    "ms": times[2:],
    "median_ms": median,
    "floor_ms": bounds,
    "seeds": job[-1],
    "weights": prepared.work.weights,
    "temporary_bytes": temporary,
    "argument_bytes": memory.argument_size_in_bytes,
    "peak_bytes": (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use"),
    "finite": all(np.isfinite(x).all() for x in jax.tree.leaves(step.state.params)),
  }
