"""A training step of recurrent systems here beside PyTorch: `benchmarks/sequences.py`.

MFN with its settings for MOSI, MISA with LSTMs for all modalities, and MCTN, at 50
aligned steps that are all real. Both sides have the same weights, and their predictions
and losses are compared first; then they take turns in one process: forward, backward
and Adam, without dropout. Times are of all cores together, so that a busy machine does
not move them. Needs `torch`.

  --systems mfn misa mctn
  --batch 32 64
  --steps 50
  --repeats 7
  --threads 1               of PyTorch
"""

import argparse
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

import numpy as np

FIELDS = {
  "mfn": dict(
    memory=400,
    widths=dict(text=256, audio=32, vision=256),
    **dict(attention_width=32, proposal_width=64, retain_width=256, update_width=32),
  ),
  "misa": dict(encoder="lstm", main_encoder="lstm", layer_dropout=0.0),
  "mctn": dict(order=("text", "vision", "audio")),
}


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--systems", nargs="*", choices=FIELDS, default=list(FIELDS))
  parser.add_argument("--batch", nargs="*", type=int, default=[32, 64])
  parser.add_argument("--steps", type=int, default=50)
  parser.add_argument("--repeats", type=int, default=7)
  parser.add_argument("--threads", type=int, default=1)
  asked = parser.parse_args()
  os.environ.setdefault("OMP_NUM_THREADS", str(asked.threads))
  from mcr_jax import allocator

  allocator.keep_freed_memory()
  import jax
  import torch

  from benchmarks import peaks, peers
  from benchmarks.dialogues import turns

  torch.set_num_threads(asked.threads)
  print(f"jax {jax.__version__}, torch {torch.__version__}, {peaks.machine()}, float32")
  for name in asked.systems:
    for size in asked.batch:
      sides = pair(name, size, asked.steps)
      title = f"{name}, B={size}, {asked.steps} steps, a training step, CPU time"
      peers.report(title, turns(sides, asked.repeats), "mcr_jax")


def pair(name, size, length):
  """Side -> a function that takes a step, after comparing what both compute."""
  import importlib

  import jax
  import torch

  from benchmarks import peers, shapes, steps
  from mcr_jax.contract import Batch

  arrays = shapes.batch(size, dict.fromkeys(shapes.MODALITIES, length))
  batch = Batch.of(arrays)
  ours = steps.Step.of({"name": name, **FIELDS[name]}, batch)
  # The last layer starts at zero, and would show nothing.
  last = ours.state.params["output"]["kernel"]
  drawn = 0.1 * np.random.default_rng(1).normal(size=last.shape)
  ours.state.params["output"]["kernel"] = jax.numpy.asarray(drawn, last.dtype)

  params = peers.tensors(jax.tree.map(np.array, ours.variables["params"]), grad=True)
  theirs = peers.tensors(arrays)
  network = importlib.import_module(f"benchmarks.torch_models.{name}")
  forward = lambda: getattr(network, name)(params, theirs, ours.model.modalities)
  run = jax.jit(lambda v, b: ours.model.apply(v, b, train=True))
  mine = run(ours.variables, batch)
  weights = ours.model.card.weights
  with torch.no_grad():
    found, losses = forward()
  check(found, mine.predictions, "predictions")
  for loss, value in losses.items():
    check(value, np.mean(mine.losses[loss]), loss)
  adam = torch.optim.Adam(peers.flat(params), lr=1e-3)

  def step():
    adam.zero_grad(set_to_none=True)
    found, losses = forward()
    total = (found[:, 0] - theirs["label"]).abs().mean()
    total = total + sum(weights[loss] * value for loss, value in losses.items())
    total.backward()
    adam.step()

  return {"mcr_jax": ours.take, "PyTorch": step}


def check(theirs, ours, what):
  """That both are equal up to rounding."""
  ours = np.asarray(ours)
  worst = np.abs(theirs.numpy() - ours).max() / np.abs(ours).max()
  assert worst < 1e-4, f"{what} differ by {worst:.1e}"


if __name__ == "__main__":
  main()
