"""Training the models of the library by a protocol."""

import hashlib
import json
import pathlib
import time

import jax
import numpy as np

from mcr_jax import config as configs
from mcr_jax import evaluators, metrics
from mcr_jax.runs import folds, writer
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import load_run
from protocols import tables
from protocols.corpora import Corpus

ROOT = pathlib.Path(__file__).resolve().parents[2]


def settings(
  name: str, path: pathlib.Path, corpus: Corpus, overrides: tuple[str, ...] = ()
):
  """The config `configs/NAME[:variant]` on the feature file `path`, in its folds."""
  given = {"path": path} | corpus.folding
  given = [f"--config.data.{field}={value}" for field, value in given.items()]
  file, _, variant = name.partition(":")
  file = f"{ROOT / 'configs' / file}.py"
  return configs.load(f"{file}:{variant}" if variant else file, [*given, *overrides])


def model(
  label: str, corpus: Corpus, config, folder: pathlib.Path, *, verbose: bool = False
) -> tables.Row:
  """Trains a config in all its folds; finished runs are read again."""
  digest = hashlib.sha256(configs.to_json(config).encode()).hexdigest()[:8]
  workdir, began = folder / f"{label.replace(' ', '_')}-{digest}", time.monotonic()
  fit(config, workdir, resume=True, verbose=verbose)
  runs = [workdir]
  if folds.wanted(config):
    runs = [folds.folder(workdir, k) for k in range(len(corpus.splits))]
  first = load_run(runs[0])
  size = sum(x.size for x in jax.tree.leaves(first.variables[0]))
  facts = {
    "trained": True,
    "parameters": int(size / len(first.seeds)),
    "seconds": time.monotonic() - began,
    "seconds_an_epoch_and_seed": float(np.median([s for r in runs for s in _times(r)])),
    "valid": float(np.mean([_best(run, config.train.monitor) for run in runs])),
    "config": json.loads(configs.to_json(config)),
  }
  found = evaluators.read(workdir, "test")
  rows = tables.pooled_rows(corpus)
  assert np.array_equal(found.ids, corpus.dataset.ids[rows]), workdir
  by_fold = None
  if corpus.dataset.class_names and len(runs) > 1:
    results = [evaluators.read(run, "test").results for run in runs]
    by_fold = np.transpose([x.metrics["weighted_f1"].seeds for x in results])
  return tables.Row(label, found.predictions, by_fold, facts)


def _best(workdir, monitor):
  """The validation value by which the epoch was chosen, mean over seeds."""
  values = [
    entry[f"valid/{monitor}"] for entry in writer.read(workdir / "metrics.jsonl")
  ]
  values = np.array(values, float).reshape(len(values), -1)
  best = np.nanmax if metrics.higher_is_better(monitor) else np.nanmin
  return float(best(values, 0).mean())


def _times(workdir):
  """Seconds a seed of every epoch in which all seeds still trained, but the first."""
  found = []
  for entry in writer.read(workdir / "metrics.jsonl")[1:]:
    losses = np.atleast_1d(np.array(entry["train/loss"], float))
    if np.isfinite(losses).all():
      found.append(entry["seconds"] / len(losses))
  return found or [float("nan")]
