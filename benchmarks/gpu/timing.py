"""Forward and backward of one attention, implementation by implementation."""

import jax
import numpy as np

from benchmarks import attention

GROUPS = ("aligned", "unaligned", "real", "large")
QUICK = {"odd": (2, 9, 17, 2, 4)}


def run(ledger):
  """A row a shape; `auto` is compared with the best of the others."""
  shapes = {f"{g} {n}": s for g in GROUPS for n, s in attention.SHAPES[g].items()}
  on_gpu = jax.default_backend() == "gpu"
  for rate in (0.0, 0.2):
    for dtype in ("float32", "bfloat16") if on_gpu and not rate else ("float32",):
      for title, shape in (QUICK if ledger.quick else shapes).items():
        work = lambda *a: lambda: compare(*a)
        label = f"{title} {dtype} {'dropout' if rate else ''}".strip()
        repeats = 2 if ledger.quick else 20
        ledger.measure(label, work(shape, rate, dtype, repeats), seconds=15)


def compare(shape, rate, dtype, repeats):
  """Milliseconds of every implementation, taking turns."""
  inputs = attention.draw(shape, dtype)
  compiled, failed = {}, {}
  for name, function in attention.candidates(shape, rate, dtype).items():
    try:
      compiled[name] = jax.jit(attention.step(function, rate)).lower(*inputs).compile()
      jax.block_until_ready(compiled[name](*inputs))
    except Exception as error:  # one that fails must not hide the others
      failed[name] = f"{type(error).__name__}: {error}".splitlines()[0][:200]
      compiled.pop(name, None)
  times = attention.take_turns(compiled, inputs, repeats)
  middle = {name: float(np.median(x)) for name, x in times.items()}
  best = min(middle, key=middle.get)
  line = "  ".join(f"{name} {ms:.3f}" for name, ms in middle.items())
  auto = middle[attention.chosen(shape)] / middle[best]
  line += f"  (auto {auto:.2f} x the best, {best})"
  line += "".join(f"  {name} FAILED" for name in failed)
  return {"line": line, "ms": times, "failed_ones": failed, "sizes": shape}
