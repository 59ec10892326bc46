"""Training the models of the library on a protocol's splits."""

import contextlib
import hashlib
import json
import pathlib
import time

import jax
import numpy as np

from mcr_jax import config as configs
from mcr_jax import evaluators, metrics
from mcr_jax.data.load import lengths_of
from mcr_jax.runs import writer
from mcr_jax.training import loop
from protocols import tables
from protocols.corpora import Corpus

ROOT = pathlib.Path(__file__).resolve().parents[2]


def settings(name: str, path: pathlib.Path, overrides: tuple[str, ...] = ()):
  """The config `configs/NAME[:variant]` on the feature file `path`."""
  given = [f"--config.data.path={path}", *overrides]
  file, _, variant = name.partition(":")
  file = f"{ROOT / 'configs' / file}.py"
  return configs.load(f"{file}:{variant}" if variant else file, given)


def model(
  label: str, corpus: Corpus, config, folder: pathlib.Path, *, verbose: bool = False
) -> tables.Row:
  """Trains a config on every split of a corpus; finished runs are read again.

  With several repeats of the folds, repeat r is trained with seed r alone; else every
  split is trained with all seeds.
  """
  config = config.copy_and_resolve_references()
  # Room for the longest of all, so that every fold has the same programs.
  config.data.lengths = lengths_of(corpus.dataset)
  digest = hashlib.sha256(configs.to_json(config).encode()).hexdigest()[:8]
  count = len(corpus.splits) // corpus.repeats
  began, per_split, epochs, valid = time.monotonic(), [], [], []
  with shared_programs():
    for number, split in enumerate(corpus.splits):
      one = config.copy_and_resolve_references()
      one.data.split = split
      if corpus.repeats > 1:
        one.seeds = (number // count,)
      workdir = folder / f"{label.replace(' ', '_')}-{digest}" / split
      run = loop.train(one, workdir, resume=True, verbose=verbose)
      per_split.append(_tested(workdir, corpus))
      epochs += _seconds(workdir)
      valid.append(_best(workdir, config.train.monitor))
  leaves = jax.tree.leaves(run.variables[0])
  facts = {
    "trained": True,
    "parameters": int(sum(x.size for x in leaves) / len(run.seeds)),
    "seconds": time.monotonic() - began,
    "seconds_an_epoch_and_seed": float(np.median(epochs)),
    "valid": float(np.mean(valid)),
    "config": json.loads(configs.to_json(config)),
  }
  return tables.pool(label, corpus, per_split, **facts)


@contextlib.contextmanager
def shared_programs():
  """Inside it, runs that differ in their data and seeds alone compile once."""
  made, original = {}, loop.Programs

  def make(model, config, mesh, **others):
    plain = json.loads(configs.to_json(config))
    plain["data"].pop("split")
    plain.pop("seeds")
    if others["class_weights"] is not None or plain["optim"]["schedule"] == "cosine":
      return original(model, config, mesh, **others)
    key = json.dumps([plain, others["loss"]], sort_keys=True)
    if key not in made:
      made[key] = original(model, config, mesh, **others)
    return made[key]

  loop.Programs = make
  try:
    yield
  finally:
    loop.Programs = original


def _tested(workdir, corpus):
  """(S, N, *outputs) the predictions of the test samples, NaN for all others."""
  found = evaluators.read(workdir, "test")
  place = {name: i for i, name in enumerate(corpus.dataset.ids)}
  rows = [place[name] for name in found.ids]
  shape = found.predictions.shape
  whole = np.full((shape[0], len(place), *shape[2:]), np.nan)
  whole[:, rows] = found.predictions
  return whole


def _best(workdir, monitor):
  """The validation value by which the epoch was chosen, mean over seeds."""
  values = [
    entry[f"valid/{monitor}"] for entry in writer.read(workdir / "metrics.jsonl")
  ]
  values = np.array(values, float).reshape(len(values), -1)
  best = np.nanmax if metrics.higher_is_better(monitor) else np.nanmin
  return float(best(values, 0).mean())


def _seconds(workdir):
  """Seconds a seed of every epoch in which all seeds still trained, but the first."""
  found = []
  for entry in writer.read(workdir / "metrics.jsonl")[1:]:
    losses = np.atleast_1d(np.array(entry["train/loss"], float))
    if np.isfinite(losses).all():
      found.append(entry["seconds"] / len(losses))
  return found or [float("nan")]
