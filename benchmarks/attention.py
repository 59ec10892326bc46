"""Forward and backward of one attention, implementation by implementation.

  python benchmarks/attention.py [--shapes unaligned,real] [--json FILE]

The shapes are those of MCR at width 40. The implementations take turns in one process,
in an order drawn anew for every turn: what else runs on the machine, and what memory
the one before has left, meets all of them alike. The answer of each is compared with
double precision before it is timed. "native" is the best instruction set of the
processor; AVX2 is timed beside it where there is more.

benchmarks/results/attention_cpu.json holds every timing of two quiet cores; the tests
ask that "auto" is right by it. --json keeps what FILE has of shapes not measured again.
"""

import argparse
import json
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import peaks
from mcr_jax import native
from mcr_jax.ops.attention import attend, choose, fused
from mcr_jax.ops.dropout import Dropout

# group: name: (batch, queries, keys, heads, features a head)
SHAPES = {
  "aligned": {
    "CMU": (64, 50, 50, 1, 40),
    "SCU self": (64, 50, 50, 10, 4),
    "SCU cross": (64, 50, 100, 10, 4),
    "SCU cross, 8 heads": (64, 50, 100, 8, 5),
    "encoder": (64, 150, 150, 10, 4),
  },
  "unaligned": {
    "CMU vision<-audio": (16, 500, 375, 1, 40),
    "CMU text<-vision": (16, 50, 500, 1, 40),
    "CMU audio<-text": (16, 375, 50, 1, 40),
    "SCU text cross": (16, 50, 875, 10, 4),
    "SCU vision cross": (16, 500, 425, 10, 4),
    "SCU audio cross": (16, 375, 550, 10, 4),
    "SCU vision self": (16, 500, 500, 10, 4),
    "encoder": (16, 925, 925, 10, 4),
  },
  "large": {
    "SCU vision cross": (64, 500, 425, 10, 4),
    "encoder": (64, 925, 925, 10, 4),
  },
  "real": {
    "CMU text<-vision": (64, 16, 80, 1, 40),
    "SCU text cross": (64, 16, 144, 10, 4),
    "SCU vision self": (64, 80, 80, 10, 4),
    "encoder": (64, 160, 160, 10, 4),
  },
  "heads": {
    "4 heads of 16": (64, 50, 100, 4, 16),
    "2 heads of 32": (64, 50, 100, 2, 32),
    "one head of 64": (64, 50, 100, 1, 64),
    "6 steps": (32, 6, 6, 2, 64),
    "12 steps": (32, 12, 12, 2, 64),
    "24 steps": (32, 24, 24, 2, 64),
    "6 steps of 4": (32, 6, 6, 10, 4),
    "12 steps of 4": (32, 12, 12, 10, 4),
    "one head of 128": (64, 50, 100, 1, 128),
    "one head of 256": (64, 50, 100, 1, 256),
  },
  "long": {f"{n} steps": (8, n, n, 10, 4) for n in (500, 1000, 2000, 4000)},
}
# Beyond this the weights of a dense implementation are not even tried.
MOST_BYTES = 1 << 31


def library(query, key, value, mask, *, scale, dropout):
  """JAX's own; it has no dropout."""
  del dropout
  mask = mask[:, None, None, :]
  return jax.nn.dot_product_attention(query, key, value, mask=mask, scale=scale)


def ours(implementation):
  """One of the implementations behind `attend`."""

  def function(query, key, value, mask, *, scale, dropout):
    options = dict(scale=scale, dropout=dropout, implementation=implementation)
    return attend(query, key, value, mask, **options)

  return function


def kernels(instructions):
  """The native kernels for an instruction set."""

  def function(*inputs, **options):
    native.use(instructions)
    read = attend(*inputs, **options, implementation="native")
    native.use(None)
    return read

  return function


def draw(shape, dtype):
  """Inputs whose last keys are padding, and a cotangent."""
  batch, queries, keys, heads, features = shape
  random = np.random.default_rng(0)
  normal = lambda *s: jnp.asarray(random.normal(size=s), dtype)
  mask = np.arange(keys) < np.linspace(keys // 2 + 1, keys, batch)[:, None]
  return (
    normal(batch, queries, heads, features),
    normal(batch, keys, heads, features),
    normal(batch, keys, heads, features),
    jnp.asarray(mask),
    normal(batch, queries, heads, features),
  )


def step(function, rate):
  """The value and all gradients of one attention."""

  def run(query, key, value, mask, do):
    dropout = Dropout(rate, jnp.uint32(1)) if rate else None
    scale = query.shape[-1] ** -0.5
    read = lambda *x: function(*x, mask, scale=scale, dropout=dropout)
    read, back = jax.vjp(read, query, key, value)
    return read, *back(do)

  return run


def check(name, compiled, inputs, rate):
  """Raises where the first sample is not what double precision says."""
  with jax.enable_x64(True):
    exact = [x if x.dtype == bool else np.asarray(x[:1], np.float64) for x in inputs]
    exact = [jnp.asarray(x[:1]) for x in exact]
    expected = jax.jit(step(ours("literal"), rate))(*exact)
  tolerance = 2e-4 if inputs[0].dtype == jnp.float32 else 5e-2
  for number, right in zip(compiled(*inputs), expected, strict=True):
    wrong = np.abs(np.asarray(number[:1], np.float64) - np.asarray(right)).max()
    if not wrong <= tolerance * max(1.0, np.abs(right).max()):
      raise SystemExit(f"{name} is wrong by {wrong}; nothing was timed.")


def take_turns(compiled, inputs, repeats, seconds=float("inf")):
  """Milliseconds of every run of every implementation, interleaved.

  Ends after so many seconds, but not before the fifth turn.
  """
  turns = take_turns_by_both_clocks(compiled, inputs, repeats, seconds)
  return {name: [wall for wall, _ in taken] for name, taken in turns.items()}


def take_turns_by_both_clocks(compiled, inputs, repeats, seconds):
  """The same, and beside each the milliseconds of all threads of this process.

  Those are what counts where others compute on the machine at the same time.
  """
  times = {name: [] for name in compiled}
  random = np.random.default_rng(1)
  began = time.perf_counter()
  for turn in range(repeats):
    if turn >= 5 and time.perf_counter() - began > seconds:
      break
    for name in random.permutation(list(compiled)):
      start, busy = time.perf_counter(), time.process_time()
      jax.block_until_ready(compiled[name](*inputs))
      wall, busy = time.perf_counter() - start, time.process_time() - busy
      times[name].append((1e3 * wall, 1e3 * busy))
  return times


def candidates(shape, rate, dtype):
  """What can compute this shape on this machine."""
  batch, queries, keys, heads, features = shape
  on_gpu = jax.default_backend() == "gpu"
  found = {"blocked": ours("blocked")}
  if 4 * batch * queries * keys * heads <= MOST_BYTES:
    found["dense"] = ours("dense")
    if on_gpu:
      found["literal"] = ours("literal")
    if not rate:
      found["jax.nn"] = library
  if not on_gpu and native.status().available:
    best, *others = native.instructions()
    found["native"] = kernels(best)
    found |= {f"native {name}": kernels(name) for name in others if name == "avx2"}
  if on_gpu and features <= fused.MAX_FEATURES:
    found["pallas"] = ours("pallas")
  if on_gpu and dtype == "bfloat16" and not rate:
    found["cudnn"] = ours("cudnn")
  return found


def chosen(shape, rate):
  """What `auto` is at this shape."""
  return choose(jax.default_backend(), *shape[:4], dropped=rate > 0)


def measure(name, shape, options):
  """Prints and returns the rows of one shape."""
  inputs, compiled, built = draw(shape, options.dtype), {}, {}
  for label, function in candidates(shape, options.dropout, options.dtype).items():
    if options.only and label.split()[0] not in options.only.split(","):
      continue
    start = time.perf_counter()
    run = jax.jit(step(function, options.dropout))
    compiled[label] = run.lower(*inputs).compile()
    built[label] = time.perf_counter() - start
    check(label, compiled[label], inputs, options.dropout)
  times = take_turns_by_both_clocks(compiled, inputs, options.repeats, options.seconds)
  rows = []
  for label, turns in times.items():
    taken, busy = zip(*turns, strict=True)
    memory = compiled[label].memory_analysis().temp_size_in_bytes / 1e6
    middle, low, high = np.percentile(taken, (50, 10, 90))
    spread = f"[{low:.2f}, {high:.2f}]"
    mark = "*" if label == chosen(shape, options.dropout) else ""
    sets = native.instructions()[:1] if label == "native" else label.split()[1:]
    print(
      f"{name:<28} {'x'.join(map(str, shape)):<22} {label + mark:<14} "
      f"{middle:9.2f} {spread:>20} {np.median(busy):9.2f} {memory:8.1f} "
      f"{built[label]:9.2f}",
      flush=True,
    )
    rows.append(
      {
        "shape": name,
        "sizes": shape,
        "dtype": options.dtype,
        "dropout": options.dropout,
        "implementation": label,
        **({"instructions": sets[0]} if sets else {}),
        "ms": [float(f"{x:.4g}") for x in taken],
        "cpu_ms": [float(f"{x:.4g}") for x in busy],
        "temporary_mb": round(memory, 2),
        "compile_s": round(built[label], 2),
      }
    )
  return rows


def save(path, rows):
  """Writes the rows over those of the same shape, dtype and dropout."""
  known = []
  if os.path.exists(path):
    with open(path) as file:
      known = json.load(file)["rows"]
  place = lambda row: (row["shape"], row["dtype"], row["dropout"])
  new = {place(row) for row in rows}
  rows = [row for row in known if place(row) not in new] + rows
  with open(path, "w") as file:
    lines = ",\n".join(json.dumps(row) for row in rows)
    file.write(f'{{"machine": {json.dumps(peaks.machine())}, "rows": [\n{lines}\n]}}\n')


def main():
  """Prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--shapes", default="aligned,unaligned,large,real,long")
  parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
  parser.add_argument("--dropout", type=float, default=0.0)
  parser.add_argument("--repeats", type=int, default=15)
  parser.add_argument("--seconds", type=float, default=20.0, help="a shape, about")
  parser.add_argument("--only", help="implementations, with commas between")
  parser.add_argument("--json", help="also write every timing to this file")
  options = parser.parse_args()
  print(
    f"{peaks.machine()}  {options.dtype}  dropout {options.dropout}  "
    f"median of {options.repeats} or fewer, [p10, p90]; * is what auto chooses"
  )
  print(
    f"{'shape':<28} {'B x Q x K x H x D':<22} {'':<14} {'ms':>9} {'[p10, p90]':>20} "
    f"{'CPU ms':>9} "
    f"{'temp MB':>8} {'compile s':>9}"
  )
  rows = []
  for group in options.shapes.split(","):
    for name, shape in SHAPES[group].items():
      rows += measure(f"{group} {name}", shape, options)
      if options.json:
        save(options.json, rows)


if __name__ == "__main__":
  main()
