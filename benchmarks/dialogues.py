"""A training step of DialogueRNN here beside PyTorch: `python benchmarks/dialogues.py`.

Both have the same weights, whose predictions are compared first, and take turns in one
process; forward, backward and Adam, without dropout. Dialogues are full. Times are of
all cores together, so that a busy machine does not move them. Needs `torch`.

  --batch 32 64     dialogues
  --turns 50        of each
  --repeats 5
  --threads 1       of PyTorch
"""

import argparse
import os
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(__file__), ".."))

import numpy as np

WIDTHS = {"text": 600, "audio": 300}
CLASSES, SPEAKERS = 7, 3


def main():
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--batch", nargs="*", type=int, default=[32, 64])
  parser.add_argument("--turns", type=int, default=50)
  parser.add_argument("--repeats", type=int, default=5)
  parser.add_argument("--threads", type=int, default=1)
  asked = parser.parse_args()
  os.environ.setdefault("OMP_NUM_THREADS", str(asked.threads))
  from mcr_jax import allocator

  allocator.keep_freed_memory()
  import jax
  import torch

  from benchmarks import peaks, peers

  torch.set_num_threads(asked.threads)
  print(f"jax {jax.__version__}, torch {torch.__version__}, {peaks.machine()}, float32")
  for size in asked.batch:
    sides = pair(size, asked.turns)
    title = f"DialogueRNN, B={size}, {asked.turns} turns, a step, CPU time"
    peers.report(title, turns(sides, asked.repeats), "mcr_jax")


def turns(sides, repeats):
  """CPU seconds of every side, which take turns; each is called twice before."""
  for run in sides.values():
    run()
    run()
  times = {name: [] for name in sides}
  for _ in range(repeats):
    for name, run in sides.items():
      began = time.process_time()
      run()
      times[name].append(time.process_time() - began)
  return times


def dialogues(size, length):
  """The arrays of a batch of full dialogues."""
  random = np.random.default_rng(0)
  real = np.ones((size, length), bool)
  speaker = random.integers(0, SPEAKERS, real.shape).astype(np.int32)
  arrays = {m: random.normal(size=(*real.shape, d)) for m, d in WIDTHS.items()}
  arrays = {m: x.astype(np.float32) for m, x in arrays.items()}
  label = random.integers(0, CLASSES, real.shape).astype(np.int32)
  return arrays | {"turn": real, "speaker": speaker, "label": label}


def pair(size, length):
  """Name -> a function that takes a step, after comparing what both predict."""
  import jax
  import torch

  from benchmarks import peers, steps
  from benchmarks.torch_models.dialogue_rnn import dialogue_rnn
  from mcr_jax import config
  from mcr_jax.contract import Batch, Spec
  from mcr_jax.hosts import mesh as meshes
  from mcr_jax.runs import inputs
  from mcr_jax.training.programs import Programs
  from mcr_jax.training.recipe import Recipe

  arrays = dialogues(size, length)
  spec = Spec(
    dict.fromkeys(WIDTHS, 1),
    WIDTHS,
    (CLASSES,),
    "multiclass",
    unit="dialogue",
    turns=length,
    columns=("turn", "speaker"),
  )
  real = arrays["turn"]
  batch = Batch(
    {m: arrays[m] for m in WIDTHS},
    dict.fromkeys(WIDTHS, real),
    real.astype(np.float32),
    arrays["label"],
    {"turn": real, "speaker": arrays["speaker"]},
  )
  settings = config.complete(
    {"seeds": (0,), "model": {"name": "dialogue_rnn"}, "optim": {"clip": 0.0}}
  )
  recipe = Recipe.of(inputs.build_model(settings, spec), settings)
  programs = Programs(recipe, meshes.make(1, 1))
  numbers = {k: np.full(1, v, np.float32) for k, v in recipe.numbers().items()}
  few = jax.tree.map(lambda x: x[:2], batch)
  state = programs.create(few, np.zeros(1, np.uint32), numbers)
  # The last layer starts at zero, and would show nothing.
  random = np.random.default_rng(1)
  last = state.params["output"]["kernel"]
  last = 0.1 * random.normal(size=last.shape).astype(np.float32)
  state.params["output"]["kernel"] = jax.numpy.asarray(last)
  ours = steps.Step(programs, state, batch)

  params = peers.tensors(jax.tree.map(np.array, ours.variables["params"]), grad=True)
  theirs = peers.tensors(arrays)
  forward = lambda: dialogue_rnn(params, theirs, list(WIDTHS))
  mine = np.asarray(jax.jit(ours.model.apply)(ours.variables, batch).predictions)
  with torch.no_grad():
    worst = np.abs(forward().numpy() - mine).max() / np.abs(mine).max()
  assert worst < 1e-4, f"the two differ by {worst:.1e}"
  adam = torch.optim.Adam(peers.flat(params), lr=1e-3)

  def step():
    adam.zero_grad(set_to_none=True)
    found = forward().flatten(0, 1)
    torch.nn.functional.cross_entropy(
      found, theirs["label"].flatten().long()
    ).backward()
    adam.step()

  return {"mcr_jax": ours.take, "PyTorch": step}


if __name__ == "__main__":
  main()
