"""Training the models of the library on a protocol's splits."""

import hashlib
import json
import pathlib
import time

import jax
import numpy as np

from mcr_jax import config as configs
from mcr_jax.data import load
from mcr_jax.training.loop import train
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
  # Sequences as long as in all samples, so that every fold has the same programs.
  config.data.lengths = load.lengths_of(corpus.dataset)
  digest = hashlib.sha256(configs.to_json(config).encode()).hexdigest()[:8]
  count = len(corpus.splits) // corpus.repeats
  per_split, began, epochs = [], time.monotonic(), []
  for number, split in enumerate(corpus.splits):
    one = config.copy_and_resolve_references()
    one.data.split = split
    if corpus.repeats > 1:
      one.seeds = (number // count,)
    workdir = folder / f"{label.replace(' ', '_')}-{digest}" / split
    run = train(one, workdir, resume=True, verbose=verbose)
    per_split.append(run.predict())
    epochs.append(_seconds(workdir))
    parameters = sum(
      x.size // len(run.seeds) for x in jax.tree.leaves(run.variables[0])
    )
  facts = {
    "trained": True,
    "parameters": int(parameters),
    "seconds": time.monotonic() - began,
    "seconds_an_epoch_and_seed": float(np.median(np.concatenate(epochs))),
    "config": json.loads(configs.to_json(config)),
  }
  return tables.pool(label, corpus, per_split, **facts)


def _seconds(workdir):
  """Seconds a seed of every epoch in which all seeds still trained, but the first."""
  lines = (workdir / "metrics.jsonl").read_text().splitlines()
  found = []
  for entry in map(json.loads, lines[1:]):
    losses = np.atleast_1d(np.array(entry["train/loss"], float))
    if np.isfinite(losses).all():
      found.append(entry["seconds"] / len(losses))
  return found or [np.nan]
