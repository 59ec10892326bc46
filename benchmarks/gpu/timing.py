"""Forward and backward of one attention, implementation by implementation."""

import jax
import numpy as np

from benchmarks import attention
from benchmarks.gpu import together

GROUPS = ("aligned", "unaligned", "real", "large")
# In half precision and with dropout, only these.
FEW = ("aligned SCU self", "unaligned SCU vision cross", "unaligned encoder")
QUICK = {"odd": (2, 9, 17, 2, 4)}


def run(ledger):
  """A row a shape; `auto` is compared with the best of the others."""
  shapes = {f"{g} {n}": s for g in GROUPS for n, s in attention.SHAPES[g].items()}
  few = {name: shapes[name] for name in FEW}
  groups = [(QUICK if ledger.quick else shapes, "float32", 0.0)]
  groups += [(QUICK if ledger.quick else few, "float32", 0.2)]
  if jax.default_backend() == "gpu":
    groups += [(few, "bfloat16", 0.0)]
  wanted = {}
  for group, dtype, rate in groups:
    for title, shape in group.items():
      label = f"{title} {dtype}{' dropout' * bool(rate)}"
      if ledger.due(label):
        wanted[label] = shape, dtype, rate
  programs = together.compile_all(lowered(wanted))
  for label, (shape, dtype, rate) in wanted.items():
    named = {n[1]: p for n, p in programs.items() if n[0] == label}
    compare = lambda *x: lambda: compare_all(*x)
    repeats = 2 if ledger.quick else 20
    ledger.measure(label, compare(named, shape, dtype, rate, repeats), seconds=5)


def lowered(wanted):
  """Traces every implementation of every shape."""
  for label, (shape, dtype, rate) in wanted.items():
    inputs = attention.draw(shape, dtype)
    for name, function in attention.candidates(shape, rate, dtype).items():
      yield (label, name), together.lower(attention.step(function, rate), *inputs)


def compare_all(programs, shape, dtype, rate, repeats):
  """Milliseconds of every implementation, taking turns."""
  inputs, works, failed = attention.draw(shape, dtype), {}, {}
  for name, program in programs.items():
    try:
      jax.block_until_ready(together.ready(program)(*inputs))
      works[name] = program
    except Exception as error:  # one that fails must not hide the others
      failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
  times = attention.take_turns(works, inputs, repeats)
  middle = {name: float(np.median(x)) for name, x in times.items()}
  best = min(middle, key=middle.get)
  line = "  ".join(f"{name} {ms:.3f}" for name, ms in middle.items())
  auto = middle[attention.chosen(shape, rate)] / middle[best]
  line += f"  (auto {auto:.2f} x the best, {best})"
  line += "".join(f"  {name} FAILED" for name in failed)
  return {"line": line, "ms": times, "failed_ones": failed, "sizes": shape}
