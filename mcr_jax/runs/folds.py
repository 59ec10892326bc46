"""Cross-validation: a run a fold, and the test predictions of all of them together.

Fold k tests, fold k + 1 validates, the rest trains. The runs share their compiled
programs; each is an ordinary run in a folder of its own. Every utterance is tested once
in each repeat, so that the pooled predictions are scored as those of one test split.
"""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.config.old import FORMAT
from mcr_jax.data import folds as assignments
from mcr_jax.data.load import digest
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.hosts import distributed
from mcr_jax.runs import inputs, workspace
from mcr_jax.runs.run import Run, load_run
from mcr_jax.runs.trainer import Trainer
from mcr_jax.runs.writer import Writer, describe


@dataclasses.dataclass(frozen=True)
class Folds:
  """The finished folds of a run.

  Attributes:
    workdir: folder of all of them.
    results: of the pooled test predictions; a member is a seed of a repeat.
    by_fold: results of every fold's own test part, in order.
  """

  workdir: Path
  results: evaluators.Results
  by_fold: tuple[evaluators.Results, ...]

  def run(self, number: int) -> Run:
    """The run of one fold, counted from 0 over all repeats."""
    return load_run(folder(self.workdir, number))


def folder(workdir: Path, number: int) -> Path:
  """Where a fold is trained; the folds of a further repeat count on."""
  return workdir / f"fold_{number}"


def config_of(config: ConfigDict, number: int) -> ConfigDict:
  """The config of a fold; with `data.fold_seeds=own`, with its repeat's seed alone."""
  own = configs.plain(config)
  own["data"]["fold"] = number
  if own["data"]["fold_seeds"] == "own":
    own["seeds"] = (own["seeds"][number // config.data.folds],)
  return configs.complete(own)


def fit(config: ConfigDict, workdir: Path, *, verbose: bool = True) -> Folds:
  """Trains what is left of all folds, pools their test predictions and scores them."""
  dataset = inputs.read_data(config)
  parts = assignments.split(dataset, configs.plain(config.data))
  capacity = _capacity(config, parts)
  left = [i for i in range(len(parts)) if not _is_finished(config, workdir, i)]

  def trainer(number, programs=None):
    return Trainer(
      config_of(config, number),
      folder(workdir, number),
      lambda: parts[number],
      programs=programs,
      capacity=capacity,
      verbose=verbose,
    )

  # Before there is a folder: a mistake leaves none.
  one = trainer(left[0]) if left else None
  with workspace.claim(workdir):
    _begin(workdir, config, dataset)
    began = time.monotonic()
    for done, number in enumerate(left):
      if verbose and jax.process_index() == 0:
        print(_heading(number, len(parts), done, len(left), began), flush=True)
      one = trainer(number, one.programs) if done else one
      _train(one)
    found = _pool(config, workdir, dataset, len(parts))
    Writer(workdir).write_facts(workspace.facts(workdir) | {"finished": True})
    distributed.wait("the files of the folds are whole")
  if verbose and jax.process_index() == 0:
    print(f"\n{table(found)}", flush=True)
  return found


def _train(trainer: Trainer) -> None:
  with workspace.claim(trainer.workdir):
    begun = (trainer.workdir / "config.json").is_file()
    trainer.start(resume=begun)
    trainer.run()
    trainer.finish()


def _is_finished(config: ConfigDict, workdir: Path, number: int) -> bool:
  """Raises UserError where the folder of a fold holds another run."""
  status = workspace.status(folder(workdir, number), config_of(config, number), True)
  return status == "finished"


def read(workdir: Path) -> Folds:
  """The folds of a finished workdir."""
  count = workspace.facts(workdir)["folds"]
  each = [evaluators.read(folder(workdir, i), "test").results for i in range(count)]
  return Folds(workdir, evaluators.read(workdir, "test").results, tuple(each))


def table(found: Folds) -> str:
  """The pooled scores, and how far the folds lie apart."""
  lines = [evaluators.table(found.results, "test, all folds pooled"), ""]
  lines.append(f"mean and deviation over the {len(found.by_fold)} folds:")
  for name in found.results.metrics:
    values = np.array([fold.metrics[name].mean for fold in found.by_fold])
    spread = values.std(ddof=1) if len(values) > 1 else np.nan
    lines.append(f"  {name:24} {values.mean():8.4f} +- {spread:.4f}")
  return "\n".join(lines)


def _begin(workdir: Path, config: ConfigDict, dataset: Dataset) -> None:
  """Makes the folder that of a run; one that has begun keeps what it says."""
  distributed.wait("all processes have read the workdir")
  if (workdir / "config.json").is_file():
    return
  writer = Writer(workdir)
  data = {"source": dataset.source, "notes": list(dataset.notes)}
  data["digest"] = digest(dataset, inputs.columns_of(config))
  count = config.data.folds * config.data.fold_repeats
  facts = {"data": data, "seeds": list(config.seeds), "folds": count, "shape": None}
  facts |= {"format": FORMAT}
  writer.write_facts(describe() | facts | {"finished": False})
  writer.write_text("config.json", configs.to_json(config))


def _capacity(config: ConfigDict, parts: Sequence[Dataset]) -> int:
  """Steps of an epoch of the largest fold: one program has room for all."""
  units = Units.of(parts[0], inputs.unit_of(config))
  most = max((units.splits(part) == "train").sum() for part in parts)
  return -(-int(most) // min(config.train.batch_size, len(units)))


def _heading(number: int, count: int, done: int, left: int, began: float) -> str:
  text = f"\nfold {number + 1} of {count}"
  if not done:
    return text
  seconds = (time.monotonic() - began) / done * (left - done)
  return f"{text}, about {seconds / 60:.0f} min left for all"


def _pool(config: ConfigDict, workdir: Path, dataset: Dataset, count: int) -> Folds:
  """Writes eval/test.* of the folder from the folds' own, and reads it back."""
  runs = [evaluators.read(folder(workdir, i), "test") for i in range(count)]
  place = {name: i for i, name in enumerate(dataset.ids.tolist())}
  repeats = []
  for start in range(0, count, config.data.folds):
    part = runs[start : start + config.data.folds]
    ids = np.concatenate([run.ids for run in part])
    order = np.argsort([place[name] for name in ids.tolist()], kind="stable")
    found = np.concatenate([run.predictions for run in part], 1)[:, order]
    labels = np.concatenate([run.labels for run in part])[order]
    repeats.append((ids[order], labels, found, part[0].results.seeds))
  ids, labels = repeats[0][:2]
  predictions = np.concatenate([found for *_, found, _ in repeats])
  seeds = [seed for *_, own in repeats for seed in own]
  if len(set(seeds)) < len(seeds):  # every repeat has all of them
    seeds = list(range(len(seeds)))
  spec = load_run(folder(workdir, 0)).spec
  results = evaluators.summarise(
    spec.scheme,
    predictions,
    labels,
    spec.class_names,
    seeds,
    target_names=spec.target_names,
  )
  if jax.process_index() == 0:
    evaluators.write(workdir, "test", results, ids, labels, predictions)
  distributed.wait("the folds are pooled")
  return Folds(workdir, results, tuple(run.results for run in runs))
