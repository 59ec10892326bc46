"""What more devices cost: `python benchmarks/scaling.py`, on virtual CPU devices.

First, one epoch of a small MCR (shuffling, dropout, a short last batch, eight seeds) on
every (seed, data) mesh of up to eight devices: the metrics must be those of one.

Then weak scaling: every device has as many samples as the single one had, along the
data axis (a larger batch) and along the seed axis (more seeds). Virtual devices share
the cores of this machine, so time per sample cannot fall. The column "overhead" is the
time of a sample over that on one device: at 1.00 dividing the work costs nothing. It
holds what the divided program does more than once, waiting for one another, and copies
between devices (through memory here, through a network elsewhere).

Collectives are counted in the compiled program, loops multiplied out: how many a step
has, and how many bytes a device passes to them.

  --devices 1,2,4,8
  --batch 8        samples a device
  --repeats 10
  --skip-check
  --paper          only what bounds a step on 64 devices, from counts and data sheets
  --json FILE
"""

import argparse
import json
import math
import os
import re
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
os.environ["JAX_PLATFORMS"] = "cpu"
given = os.environ.get("XLA_FLAGS", "")
os.environ["XLA_FLAGS"] = f"{given} --xla_force_host_platform_device_count=8".strip()

from mcr_jax import allocator

allocator.keep_freed_memory()

import jax
import numpy as np

from benchmarks import peaks, shapes
from benchmarks import steps as trained
from mcr_jax import config, models
from mcr_jax.data import npz, synthetic
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs import writer
from mcr_jax.runs.fit import fit

SMALL = dict(
  name="mcr",
  width=8,
  heads=2,
  num_layers=1,
  targets=("text", "audio"),
  residual_dropout=0.1,
)
MESHES = [(s, d) for s in (1, 2, 4, 8) for d in (1, 2, 4, 8) if s * d <= 8]
TOLERANCE = 1e-5
BYTES = {
  "f64": 8,
  "s64": 8,
  "u64": 8,
  "f32": 4,
  "s32": 4,
  "u32": 4,
  "bf16": 2,
  "f16": 2,
}
# Bytes a second that a device sends: NVLink of an H100 (900 GB/s in both directions),
# 400 Gb/s InfiniBand a GPU, and the four links of a TPU v5e (1600 Gb/s).
NVLINK, INFINIBAND, ICI = 450e9, 50e9, 200e9
NODE, NODES = 8, 8
COLLECTIVES = (
  "all-reduce",
  "all-gather",
  "reduce-scatter",
  "all-to-all",
  "collective-permute",
)


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--devices", default="1,2,4,8")
  parser.add_argument("--batch", type=int, default=8)
  parser.add_argument("--repeats", type=int, default=10)
  parser.add_argument("--skip-check", action="store_true")
  parser.add_argument("--paper", action="store_true")
  parser.add_argument("--json")
  arguments = parser.parse_args()
  if arguments.paper:
    return paper()
  print(f"{peaks.machine()}, jaxlib {jax.lib.__version__}, float32", flush=True)
  if not arguments.skip_check:
    check()
  print(
    f"\nMCR aligned 50/50/50, {arguments.batch} samples a device, median of "
    f"{arguments.repeats} [p10, p90]"
  )
  print(
    f"{'mesh':<14}{'ms/step':>9}  {'[p10, p90]':<18}{'ms/sample':>10}{'overhead':>10}"
    f"{'collectives a step':>22}{'MB':>8}{'gradient MB':>13}"
  )
  counts = [int(n) for n in arguments.devices.split(",")]
  rows = []
  for axis in ("data", "seed"):
    for n in counts:
      if n > 1 or not rows:
        rows.append(measure({axis: n}, arguments, rows))
  if arguments.json:
    with open(arguments.json, "w") as file:
      json.dump({"machine": peaks.machine(), "rows": rows}, file, indent=1)


def check():
  """Every mesh gives the metrics of one device; says how far they are apart at most."""
  with tempfile.TemporaryDirectory() as folder:
    path = Path(folder) / "data.npz"
    npz.write(path, synthetic.make(samples=(112, 48, 16)))
    expected, worst = None, 0.0
    # Ten programs are compiled here: their speed does not matter.
    jax.config.update("jax_disable_most_optimizations", True)
    for seed, data in MESHES:
      found = epoch(path, Path(folder) / f"{seed}x{data}", seed, data)
      expected = found if expected is None else expected
      assert found.keys() == expected.keys()
      print(f"  {seed} x {data}", end="", flush=True)
      for name, values in expected.items():
        apart = np.abs(found[name] - values) / np.maximum(np.abs(values), 1e-6)
        worst = max(worst, float(np.nanmax(apart, initial=0.0)))
        np.testing.assert_allclose(
          found[name],
          values,
          rtol=TOLERANCE,
          atol=1e-7,
          err_msg=f"{seed}x{data} {name}",
        )
    jax.config.update("jax_disable_most_optimizations", False)
  print(
    f"\n{len(MESHES)} meshes from 1x1 to 8x1 and 1x8: the same metrics, at most "
    f"{worst:.1e} apart (allowed: {TOLERANCE:.0e})"
  )


def epoch(path, workdir, seed, data):
  """The metrics of one epoch."""
  settings = {
    "seeds": tuple(range(8)),
    "mesh": {"seed": seed, "data": data},
    "data": {"path": str(path), "modality_dropout": 0.1},
    "model": SMALL,
    # The slopes of L1 are +-1 and may cancel to rounding noise, which Adam blows up.
    "loss": {"name": "l2"},
    "train": {"epochs": 1, "batch_size": 24},
    "evals": {"splits": ("valid",)},
  }
  fit(config.complete(settings), workdir, verbose=False)
  (row,) = writer.read(workdir / "metrics.jsonl")
  skipped = ("seconds", "epoch", "reasons")
  return {k: np.array(v, float) for k, v in row.items() if k not in skipped}


def measure(axes, arguments, rows):
  """One row, printed and returned."""
  mesh = meshes.make(**{"seed": 1, "data": 1, **axes})
  seeds, shards = mesh.shape["seed"], mesh.shape["data"]
  size = arguments.batch * shards
  batch = trained.batch_of(shapes.ALIGNED, size)
  step = trained.Step.of(trained.MCR, batch, seeds=seeds, mesh=mesh)
  compiled = step.lower().compile()
  times = []
  for _ in range(arguments.repeats + 2):
    began = time.perf_counter()
    step.take(compiled)
    times.append(time.perf_counter() - began)
  times = np.array(times[2:]) * 1e3
  low, median, high = np.percentile(times, [10, 50, 90])
  found = collectives(compiled.as_text())
  moved = sum(size for _, size in found.values())
  gradients = 4 * step.work().weights
  each = median / (size * seeds)
  one = rows[0]["ms_per_sample"] if rows else each
  named = " ".join(f"{count} {kind}" for kind, (count, _) in found.items()) or "none"
  print(
    f"{f'{seeds} x {shards}':<14}{median:>9.1f}  {f'[{low:.1f}, {high:.1f}]':<18}"
    f"{each:>10.2f}{each / one:>10.2f}{named:>22}{moved / 1e6:>8.2f}"
    f"{gradients / 1e6:>13.2f}",
    flush=True,
  )
  return {
    "seed": seeds,
    "data": shards,
    "ms": times.tolist(),
    "ms_per_sample": each,
    "collectives": found,
    "gradient_bytes": gradients,
  }


def paper():
  """What bounds a step on 64 devices, by arithmetic."""
  gpu, tpu = peaks.datasheet("H100"), peaks.datasheet("TPU v5 lite", "bfloat16")
  print(
    f"{'case (B a device)':<22}{'params':>10}{'grad MB':>9}{'GFLOP':>8}{'G exp':>7}"
    f"{'in MB':>7} |{'H100: FLOP':>11}{'bytes':>7}{'exp':>7}{'NVLink':>8}{'IB':>6}"
    f" |{'v5e: FLOP':>10}{'bytes':>7}{'ICI':>6}   (microseconds)"
  )
  for name in ("mcr aligned full", "mcr unaligned full", "mia_net 18", "mia_net 512"):
    fields, longest, size = trained.CASES[name]
    batch = trained.batch_of(longest, size)
    own = {k: v for k, v in fields.items() if k != "name"}
    model = models.build(fields["name"], trained.spec_of(batch), **own)
    variables = jax.eval_shape(model.init, jax.random.key(0), model.spec.example())
    params, flop, moved, exponentials = trained.count(model, variables, batch)
    read = sum(x.nbytes for x in batch.x.values())
    gradient, chips = 4 * params, NODE * NODES
    # Inside a node everything is summed and handed out again, each GPU having an eighth
    # of the sum; between nodes the GPUs of a rank exchange that eighth.
    inside = 2 * (NODE - 1) / NODE * gradient / NVLINK
    between = 2 * (NODES - 1) / NODES * gradient / NODE / INFINIBAND
    torus = 2 * (chips - 1) / chips * gradient / ICI
    us = lambda seconds: f"{seconds * 1e6:.0f}"
    print(
      f"{name:<22}{params:>10,}{gradient / 1e6:>9.2f}{flop / 1e9:>8.1f}"
      f"{exponentials / 1e9:>7.2f}{read / 1e6:>7.1f} |{us(flop / gpu.flops):>11}"
      f"{us(moved / gpu.bytes):>7}{us(exponentials / gpu.exponentials):>7}"
      f"{us(inside):>8}{us(between):>6} |{us(flop / tpu.flops):>10}"
      f"{us(moved / tpu.bytes):>7}{us(torus):>6}",
      flush=True,
    )


def collectives(text: str) -> dict[str, tuple[int, int]]:
  """kind -> (how many a run of a compiled program, bytes a device passes to them).

  What a loop with a known number of turns does counts as often.
  """
  bodies, entry = _computations(text)
  found: dict[str, tuple[int, int]] = {}

  def visit(name, times):
    for line in bodies.get(name, ()):
      operation = re.match(r"(?:ROOT )?%?[\w.-]+ = (.*?) ([\w-]+)\(", line)
      if not operation:
        continue
      shape, kind = operation.groups()
      kind = kind.removesuffix("-start")
      if kind in COLLECTIVES:
        count, size = found.get(kind, (0, 0))
        found[kind] = (count + times, size + times * _size(shape))
      turns = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
      inner = times * (int(turns[1]) if kind == "while" and turns else 1)
      called = re.findall(r"(?:body|to_apply|calls|true_computation)=%?([\w.-]+)", line)
      branches = re.search(r"branch_computations=\{([^}]*)\}", line)
      called += [x.strip(" %") for x in branches[1].split(",")] if branches else []
      for other in called:
        visit(other, inner)

  visit(entry, 1)
  return found


def _computations(text):
  """Lines by computation, and the name of the first to run."""
  bodies, entry, name = {}, None, None
  for line in text.splitlines():
    header = re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line)
    if header and not line.startswith(" "):
      name = header[2]
      bodies[name] = []
      entry = name if header[1] else entry
    elif name and line.startswith(" "):
      bodies[name].append(line.strip())
  return bodies, entry


def _size(shape: str) -> int:
  sizes = re.findall(r"(\w+)\[([\d,]*)\]", shape)
  return sum(
    BYTES.get(kind, 1) * math.prod(int(n) for n in dims.split(",") if n)
    for kind, dims in sizes
  )


if __name__ == "__main__":
  main()
