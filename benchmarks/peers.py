"""MCR here beside PyTorch, in one process: `python benchmarks/peers.py`.

Every row is a training step (forward, backward, Adam; no dropout) or a training epoch;
the two sides of a ratio take turns, with the same threads and the same allocator. The
answer is compared before a time is printed: MCR of both libraries on the same weights,
and MulT by its published parameter count. Needs `torch`.

  --rows aligned unaligned epoch    which comparisons (all)
  --repeats 5                       turns of each side
  --threads 2
"""

import argparse
import json
import os
import subprocess
import sys
import time

import numpy as np

PARAMETERS = 1_073_731  # MulT at 300/74/35, width 30, 5 heads, 5 layers, as published


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument(
    "--rows", nargs="*", default=[r for r in ROWS if r[0] != "_"], choices=list(ROWS)
  )
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--threads", type=int, default=2)
  parser.add_argument("--json")
  arguments = parser.parse_args()
  os.environ.setdefault("OMP_NUM_THREADS", str(arguments.threads))
  from mcr_jax import allocator

  allocator.keep_freed_memory()
  import jax
  import torch

  from benchmarks import peaks

  torch.set_num_threads(arguments.threads)
  print(
    f"jax {jax.__version__}, torch {torch.__version__}, {peaks.machine()}, "
    f"{arguments.threads} threads, float32, median [min, max] of {arguments.repeats}"
  )
  results = []
  for name in arguments.rows:
    results += ROWS[name](arguments.repeats)
  if arguments.json:
    with open(arguments.json, "w") as file:
      json.dump(results, file, indent=1)


def ours_of(longest, **fields):
  """Training steps of MCR of this library, as the trainer runs them."""
  from benchmarks import steps

  fields = dict(name="mcr", width=40, num_layers=3) | fields
  return steps.Step.of(fields, steps.batch_of(longest, 2))


class Theirs:
  """Training steps of a PyTorch model."""

  def __init__(self, parameters, forward):
    import torch

    self.forward = forward
    self.adam = torch.optim.Adam(parameters, lr=1e-3)

  def step(self, batch):
    self.adam.zero_grad(set_to_none=True)
    loss = (self.forward(batch)[:, 0] - batch["label"]).abs().mean()
    loss.backward()
    self.adam.step()


def tensors(tree, grad=False):
  """A tree of arrays as tensors."""
  import torch

  if isinstance(tree, dict):
    return {k: tensors(v, grad) for k, v in tree.items()}
  tensor = torch.from_numpy(np.array(tree))
  return tensor.requires_grad_(True) if grad else tensor


def flat(tree):
  """The tensors of a tree."""
  return [x for v in tree.values() for x in (flat(v) if isinstance(v, dict) else [v])]


def mcr_pair(longest, heads=10, literal=False):
  """(ours, theirs) with the same weights, after comparing their predictions."""
  import jax
  import torch

  from benchmarks import shapes
  from benchmarks.torch_models.mcr import mcr
  from mcr_jax.contract import Batch

  ours = ours_of(longest, heads=heads, remat=_long(longest))
  host = jax.tree.map(np.array, ours.variables["params"])
  params = tensors(host, grad=True)
  forward = lambda b: mcr(
    params, b, modalities=shapes.MODALITIES, heads=heads, literal=literal
  )
  steps = shapes.lengths(4, longest)
  check = shapes.batch(4, longest, steps)
  mine = np.asarray(ours.model.apply({"params": host}, Batch.of(check)).predictions)
  with torch.no_grad():
    other = forward(tensors(check)).numpy()
  worst = np.abs(mine - other).max() / np.abs(mine).max()
  assert worst < 1e-3, f"the two MCRs differ by {worst:.1e}"
  return ours, Theirs(flat(params), forward)


def mult():
  """MulT as published, in PyTorch."""
  from benchmarks import shapes
  from benchmarks.torch_models.mult import MulT

  model = MulT(shapes.WIDTHS)
  count = sum(p.numel() for p in model.parameters())
  assert count == PARAMETERS, f"MulT has {count} parameters, not {PARAMETERS}"
  return Theirs(model.parameters(), model)


def turns(sides, repeats):
  """Seconds of every side, which take turns; each is called once before."""
  from mcr_jax import allocator

  for run in sides.values():
    run()
  allocator.release_fragments()
  times = {name: [] for name in sides}
  for _ in range(repeats):
    for name, run in sides.items():
      began = time.perf_counter()
      run()
      times[name].append(time.perf_counter() - began)
  return times


def report(title, times, ours):
  """Prints a block of rows; each side's ratio to ours, turn by turn."""
  print(f"\n{title}")
  base, rows = np.array(times[ours]), []
  for name, seconds in times.items():
    seconds = np.array(seconds)
    ratios = seconds / base
    median = np.median(seconds)
    print(
      f"  {name:<34} {median * 1e3:9.1f} ms [{seconds.min() * 1e3:.1f}, "
      f"{seconds.max() * 1e3:.1f}]   {np.median(ratios):6.2f} x ours "
      f"[{ratios.min():.2f}, {ratios.max():.2f}]"
    )
    rows.append(
      {"row": title, "side": name, "seconds": seconds.tolist(), "x": ratios.tolist()}
    )
  return rows


def steps_of(ours, sides, batch):
  """Functions that run and wait for one step of each side on one batch."""
  from mcr_jax.contract import Batch

  mine, theirs = ours.place(Batch.of(batch)), tensors(batch)
  return {"MCR, mcr_jax": lambda: ours.take(batch=mine)} | {
    name: (lambda side=side: side.step(theirs)) for name, side in sides.items()
  }


def aligned(repeats):
  """B = 64, 50/50/50, every step real."""
  from benchmarks import shapes

  ours, same = mcr_pair(shapes.ALIGNED)
  _, literal = mcr_pair(shapes.ALIGNED, literal=True)
  sides = {
    "MCR, PyTorch, same identities": same,
    "MCR, PyTorch, literal scores": literal,
    "MulT, PyTorch": mult(),
  }
  runs = steps_of(ours, sides, shapes.batch(64, shapes.ALIGNED))
  return report("aligned, B=64, full, a step", turns(runs, repeats), "MCR, mcr_jax")


def unaligned(repeats):
  """B = 16, 50/500/375, every step real."""
  from benchmarks import shapes

  ours, same = mcr_pair(shapes.UNALIGNED)
  sides = {"MCR, PyTorch, same identities": same, "MulT, PyTorch": mult()}
  runs = steps_of(ours, sides, shapes.batch(16, shapes.UNALIGNED))
  return report("unaligned, B=16, full, a step", turns(runs, repeats), "MCR, mcr_jax")


def epoch(repeats, samples=256):
  """A training epoch at MOSI's lengths: ours in buckets, theirs padded or in them."""
  import jax

  from benchmarks import shapes
  from mcr_jax.contract import Batch
  from mcr_jax.data import schedule

  rows = []
  for title, longest, size in (
    ("unaligned, B=16", shapes.UNALIGNED, 16),
    ("aligned, B=64", shapes.ALIGNED, 64),
  ):
    steps = shapes.lengths(samples, longest)
    whole = shapes.batch(samples, longest, steps)
    buckets = schedule.make_buckets(steps, longest, 6)
    plan = schedule.epoch_schedule(
      np.arange(samples), schedule.assign(steps, buckets), size, (0,), 1
    )

    def cut(index, trim, whole=whole, plan=plan, buckets=buckets, longest=longest):
      taken = {k: v[plan.rows[0, index]] for k, v in whole.items()}
      bounds = dict(buckets[plan.bucket[index]]) if trim else longest
      trimmed = lambda k, v: v[:, : bounds.get(k.removesuffix("_mask"), None)]
      return {k: trimmed(k, v) if v.ndim > 1 else v for k, v in taken.items()}

    ours, same = mcr_pair(longest)
    tight = [cut(i, True) for i in range(len(plan))]
    wide = [cut(i, False) for i in range(len(plan))]
    mine = [ours.place(Batch.of(b)) for b in tight]

    def run_ours(ours=ours, mine=mine):
      for b in mine:
        ours.send(batch=b)
      jax.block_until_ready(ours.state)

    def run(side, parts):
      parts = [tensors(b) for b in parts]
      return lambda: [side.step(b) for b in parts]

    sides = {
      "MCR, mcr_jax, buckets": run_ours,
      "MCR, PyTorch, buckets": run(same, tight),
      "MCR, PyTorch, padded": run(same, wide),
      "MulT, PyTorch, buckets": run(mult(), tight),
      "MulT, PyTorch, padded": run(mult(), wide),
    }
    times = turns(sides, max(repeats // 2, 1))
    rows += report(
      f"{title}, {samples} samples of MOSI's lengths, {len(buckets)} buckets, an epoch",
      times,
      "MCR, mcr_jax, buckets",
    )
  return rows


def memory(repeats):
  """Peak memory of one side alone in a process of its own."""
  del repeats
  rows = []
  print("\npeak memory of a process that runs three unaligned full steps")
  for size in (16, 64):
    done = subprocess.run(
      [sys.executable, __file__, "--rows", "_alone", "--repeats", str(size)],
      capture_output=True,
      text=True,
    )
    line = (done.stdout.strip().splitlines() or [done.stderr[-200:]])[-1]
    print(f"  B={size}: {line}")
    rows.append({"row": f"memory, B={size}", "peak": line})
  return rows


def alone(size):
  """Three unaligned full steps of ours, after one that compiles."""
  import jax

  from benchmarks import peaks, shapes, steps
  from mcr_jax import allocator

  ours = ours_of(shapes.UNALIGNED, heads=10, remat=True)
  batch = ours.place(steps.batch_of(shapes.UNALIGNED, size))
  ours.take(batch=batch)
  compiling = peaks.high_water() / 1e9
  allocator.release_fragments()
  with open("/proc/self/clear_refs", "w") as file:
    file.write("5")  # the mark falls to what is held now
  for _ in range(3):
    ours.send(batch=batch)
  jax.block_until_ready(ours.state)
  print(f"{peaks.high_water() / 1e9:.2f} GB; {compiling:.2f} GB with compiling")
  return []


def _long(longest):
  return max(longest.values()) > 100


ROWS = {
  "aligned": aligned,
  "unaligned": unaligned,
  "epoch": epoch,
  "memory": memory,
  "_alone": alone,
}

if __name__ == "__main__":
  sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))
  main()
