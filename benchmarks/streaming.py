"""Training from disk against training on data that lies on the device.

  python benchmarks/streaming.py [--samples 16326] [--model JSON] [--json FILE]

Builds a feature file of the shape of unaligned CMU-MOSEI (text 50 x 300, audio 500 x
74, vision 500 x 35; 4.5 GB), a piece at a time, and deletes it in the end. Then, each
in a process of its own:

- the pipeline alone: samples a second;
- some steps of training, resident and streamed in two ways, turn by turn in one
  process, so that what else runs on the machine meets all alike: the ratio counts;
- the same in a process each: the memory that it holds while it trains.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import zipfile

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

SHAPE = {"text": (50, 300), "audio": (500, 74), "vision": (500, 35)}
SAMPLES = 16_326
PIECE = 256
STREAMED = ("tf.data", "threads")


def build(path, samples):
  """Writes the file as `mcr_jax.data.npz` would, in memory for a few samples."""
  random = np.random.default_rng(0)
  # Noise is slow to draw: pieces start at different places of the same.
  noise = random.standard_normal(1 << 24, np.float32)
  splits = np.array(["train", "valid", "test"])
  small = {
    "id": np.arange(samples).astype(str),
    "split": splits[np.searchsorted([0.9, 0.95], np.linspace(0, 1, samples))],
    "label": random.normal(size=samples).astype(np.float32),
  }
  small |= {f"{m}_offsets": np.arange(samples + 1) * t for m, (t, _) in SHAPE.items()}
  with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
    for name, array in small.items():
      with archive.open(f"{name}.npy", "w") as file:
        np.lib.format.write_array(file, array)
    for name, (steps, width) in SHAPE.items():
      header = {"descr": "<f4", "fortran_order": False}
      with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
        np.lib.format.write_array_header_1_0(
          file, header | {"shape": (samples * steps, width)}
        )
        for start in range(0, samples, PIECE):
          size = min(PIECE, samples - start) * steps * width
          begin = random.integers(0, len(noise) - size)
          file.write(noise[begin : begin + size].tobytes())


def pipeline_alone(options):
  """Samples a second of one epoch, and the memory that it took."""
  from mcr_jax.data import batches, npz, schedule, stream
  from mcr_jax.data.units import Units

  dataset = npz.read(options.file)
  units = Units.of(dataset)
  columns = batches.columns_of(dataset, units, labels=True)
  bounds = (tuple((m, steps) for m, (steps, _) in SHAPE.items()),)
  rows = np.arange(len(dataset))
  plan = schedule.epoch_schedule(rows, 0 * rows, options.batch_size, [0], 1)
  host = batches.Host(dataset.modalities, columns, units)
  source = stream.batches(host, plan, bounds)
  next(source)  # It reads ahead.
  memory, clock, cpu = [], time.perf_counter(), time.process_time()
  for _ in source:
    memory.append(resident_bytes())
  seconds, cpu = time.perf_counter() - clock, time.process_time() - cpu
  return {
    "samples_per_second": options.batch_size * len(memory) / seconds,
    "samples_per_cpu_second": options.batch_size * len(memory) / cpu,
    "memory": max(memory),
  }


def loop_of(options, way):
  """The loop of a run at its first step, and the first steps of its first epoch."""
  from mcr_jax import config as configs
  from mcr_jax.runs.trainer import Trainer

  placement = {"placement": "device"}
  if way in STREAMED:
    placement = {"placement": "stream", "pipeline": way}
  config = configs.complete(
    {
      "seeds": (0,),
      "mesh": {"seed": 1, "data": 1},
      "data": {"path": options.file, **placement},
      "model": json.loads(options.model),
      "train": {"batch_size": options.batch_size},
    }
  )
  workdir = pathlib.Path(options.file).parent / "run"
  loop = Trainer(config, workdir, verbose=False).loop
  plan = loop.samples.epoch(loop.rows["train"], loop.seeds, 1, 1)
  loop.capacity = len(plan)  # so that a part of it is the same program
  cut = lambda n: dataclasses.replace(
    plan, bucket=plan.bucket[:n], rows=plan.rows[:, :n]
  )
  steps(loop, cut(10))
  return loop, cut(options.steps)


def steps(loop, plan):
  """Seconds, those of the CPUs, and the largest memory of the steps of a plan."""
  import jax

  memory, start, cpu = [], time.perf_counter(), time.process_time()
  calls = loop.feed.steps(loop.state, plan, 0, loop.constants, capacity=loop.capacity)
  for state, _ in calls:
    loop.state = state
    memory.append(resident_bytes())
  jax.block_until_ready(loop.state)
  return time.perf_counter() - start, time.process_time() - cpu, max(memory)


def turn_by_turn(options):
  """Seconds and CPU seconds of every round of both placements, in one process."""
  found = {}
  both = {name: loop_of(options, name) for name in ("device", *STREAMED)}
  for name in list(both) * options.rounds:
    found.setdefault(name, []).append(steps(*both[name])[:2])
  tallies = [loop.state.tally["losses"]["task"] for loop, _ in both.values()]
  first, *others = map(np.asarray, tallies)
  for other in others:
    np.testing.assert_allclose(other, first, rtol=1e-4)
  return found


def alone(options):
  """Memory while training in one placement, and what the data takes."""
  from benchmarks import peaks

  *_, memory = steps(*loop_of(options, options.part))
  return {"memory": memory, "peak": peaks.high_water()}


def resident_bytes():
  """What this process holds now."""
  with open("/proc/self/statm") as file:
    return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def child(options, part):
  """What a part finds out, in a process of its own."""
  arguments = [f"--{k}={v}" for k, v in vars(options).items() if v is not None]
  run = subprocess.run(
    [sys.executable, __file__, *arguments, f"--part={part}"],
    stdout=subprocess.PIPE,
    check=True,
    text=True,
  )
  return json.loads(run.stdout.splitlines()[-1])


PARTS = {
  "pipeline": pipeline_alone,
  "both": turn_by_turn,
  "device": alone,
  "tf.data": alone,
  "threads": alone,
}


def report(options):
  """Runs all parts and prints what they found."""
  found = {"options": vars(options) | {"file": None}}
  data = options.samples * sum(4 * t * d for t, d in SHAPE.values())
  print(
    f"{options.samples:,} samples, {data / 1e9:.2f} GB, batches of "
    f"{options.batch_size}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
  )
  for part in options.parts.split(","):
    found[part] = child(options, part)
    print(f"{part}: {json.dumps(found[part])}", flush=True)
  if "pipeline" in found:
    rate, cpu = (found["pipeline"][f"samples_per_{x}second"] for x in ("", "cpu_"))
    print(f"pipeline alone: {rate:,.0f} samples/s, {cpu:,.0f} per second of CPU")
  if "both" in found:
    times = {way: np.array(x) for way, x in found["both"].items()}
    print(f"{options.steps} steps of {options.model}")
    for way, seconds in times.items():
      # Each round against its own: the machine is not the same in all of them.
      more = np.median(seconds[:, 0] / times["device"][:, 0]) - 1
      wall, cpu = np.median(seconds, 0)
      print(f"  {way}: {wall:.2f} s, {cpu:.2f} s of CPU, {more:+.1%}")
  for way in ("device", *STREAMED):
    if way in found:
      held, peak = (found[way][x] / 1e9 for x in ("memory", "peak"))
      line = f"{way}: {held:.2f} GB while training, {peak:.2f} GB at most"
      if way in STREAMED and "device" in found:
        rest = found["device"]["memory"] / 1e9 - data / 1e9
        line += f", {held - rest:+.2f} GB beyond resident without its data"
      print(line)
  if options.json:
    pathlib.Path(options.json).write_text(json.dumps(found, indent=1))


def main():
  """Parses the arguments; a child runs its part only."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--samples", type=int, default=SAMPLES)
  parser.add_argument("--batch_size", type=int, default=64)
  parser.add_argument("--steps", type=int, default=200)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--model", default='{"name": "mia_net"}')
  parser.add_argument("--parts", default=",".join(PARTS))
  parser.add_argument("--json", help="also write the numbers to this file")
  parser.add_argument("--folder", help="where the file is built (the temporary one)")
  parser.add_argument("--file", help=argparse.SUPPRESS)
  parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
  options = parser.parse_args()
  if options.part:
    from mcr_jax import cli

    cli.prepare()
    print(json.dumps(PARTS[options.part](options)))
    return
  with tempfile.TemporaryDirectory(dir=options.folder) as folder:
    options.file = os.path.join(folder, "features.npz")
    build(options.file, options.samples)
    report(options)


if __name__ == "__main__":
  main()
