"""Cross-validation: a run a fold, and the test predictions of all of them together.

Fold k tests, fold k + 1 validates, the rest trains. The runs share their compiled
programs; each is an ordinary run in a folder of its own. In each repeat of the folds
every utterance is tested once, and validated once, so that the pooled predictions are
scored as those of one split.
"""

import contextlib
import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators, metrics
from mcr_jax.config.old import FORMAT
from mcr_jax.contract import Spec
from mcr_jax.data import folds as assignments
from mcr_jax.data.load import digest
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import Interrupted, NonFiniteLoss, UserError, choose
from mcr_jax.evaluators import render
from mcr_jax.hosts import distributed
from mcr_jax.runs import inputs, workspace
from mcr_jax.runs.run import Run, load_run
from mcr_jax.runs.trainer import Trainer
from mcr_jax.runs.writer import Writer, describe

# The splits of which a fold has a part of its own.
POOLED = ("valid", "test")


@dataclasses.dataclass(frozen=True)
class Folds:
  """The finished folds of a run.

  Attributes:
    workdir: folder of all of them.
    results: of the pooled predictions; a member is a seed of a repeat.
    by_fold: results of every fold's own part, in order.
  """

  workdir: Path
  results: evaluators.Results
  by_fold: tuple[evaluators.Results, ...]

  def run(self, number: int) -> Run:
    """The run of one fold, counted from 0 over all repeats."""
    return load_run(folder(self.workdir, number))

  @property
  def spread(self) -> dict[str, tuple[float, float]]:
    """Metric -> mean and deviation over the folds of their means over seeds.

    Divided by their number minus 1. A fold where a metric is undefined is left out.
    """
    found = {}
    for name in self.results.metrics:
      values = np.array([fold.metrics[name].mean for fold in self.by_fold])
      values = values[~np.isnan(values)]
      mean = float(values.mean()) if len(values) else np.nan
      found[name] = mean, float(values.std(ddof=1)) if len(values) > 1 else np.nan
    return found


def wanted(config: ConfigDict) -> bool:
  """Whether a config asks for several runs, one a fold."""
  return config.data.folds > 0 and config.data.fold < 0


def there(workdir: Path) -> bool:
  """Whether a folder holds folds, finished or not."""
  return (workdir / "run.json").is_file() and "folds" in workspace.facts(workdir)


def folder(workdir: Path, number: int) -> Path:
  """Where a fold is trained; the folds of a further repeat count on."""
  return workdir / f"{workspace.FOLD}{number}"


def config_of(config: ConfigDict, number: int) -> ConfigDict:
  """The config of a fold; with `data.fold_seeds=own`, with its repeat's seed alone."""
  own = configs.plain(config)
  own["data"]["fold"] = number
  if own["data"]["fold_seeds"] == "own":
    own["seeds"] = (own["seeds"][number // config.data.folds],)
  return configs.complete(own)


def fit(
  config: ConfigDict,
  workdir: Path,
  *,
  attention_may_change: bool = False,
  verbose: bool = True,
) -> Folds:
  """Trains what is left of all folds, pools their test predictions and scores them.

  Raises:
    UserError: a mistake in the config, or a folder that holds something else.
    NonFiniteLoss, Interrupted: in a fold, which the message names.
  """
  if "test" not in config.evals.splits:
    raise UserError(
      f"evals.splits={config.evals.splits} leaves out what data.folds pools: 'test'."
    )
  dataset = inputs.read_data(config)
  parts = assignments.split(dataset, configs.plain(config.data))
  capacity, count = _capacity(config, parts), len(parts)
  each = [config_of(config, number) for number in range(count)]
  status = lambda number: workspace.status(
    folder(workdir, number),
    each[number],
    True,
    attention_may_change=attention_may_change,
  )
  left = [number for number in range(count) if status(number) != "finished"]

  def trainer(number: int, programs=None) -> Trainer:
    return Trainer(
      each[number],
      folder(workdir, number),
      lambda: parts[number],
      programs=programs,
      capacity=capacity,
      verbose=verbose,
    )

  _check_data(config, workdir, dataset)
  # Before there is a folder: a mistake leaves none.
  one = trainer(left[0]) if left else None
  programs = one.programs if left else None
  with workspace.claim(workdir):
    _begin(config, workdir, dataset, count)
    began = time.monotonic()
    for done, number in enumerate(left):
      if verbose and jax.process_index() == 0:
        print(_heading(number, count, done, len(left), began), flush=True)
      _train(one or trainer(number, programs), workdir)
      one = None  # its data leaves the device before that of the next comes
    found = _pool(workdir, dataset.ids, count, config.data.folds)
    Writer(workdir).write_facts(workspace.facts(workdir) | {"finished": True})
    distributed.wait("the files of the folds are whole")
  if verbose and jax.process_index() == 0:
    print(f"\n{table(found)}", flush=True)
  return found


def evaluate(workdir: Path, split: str = "test", *, checkpoint: str = "best") -> Folds:
  """Evaluates every fold of a finished workdir anew, and pools what they predict.

  Raises:
    UserError: there is no such part, or the folds are not finished.
  """
  choose(split, POOLED, "A split whose parts the folds divide among them")
  facts = workspace.facts(workdir)
  if not facts.get("finished"):
    raise UserError(
      f"{workdir} holds unfinished folds: go on with mcr_jax.train and --resume."
    )
  config = configs.saved((workdir / "config.json").read_text("utf-8"), facts)
  config = inputs.with_data_of(config, facts)
  for number in range(facts["folds"]):
    load_run(folder(workdir, number), checkpoint=checkpoint).evaluate(split)
  ids = inputs.read_data(config).ids
  name = evaluators.stem(split, checkpoint)
  return _pool(workdir, ids, facts["folds"], config.data.folds, name)


def read(workdir: Path) -> Folds:
  """The folds of a finished workdir."""
  count = workspace.facts(workdir)["folds"]
  each = [evaluators.read(folder(workdir, i), "test").results for i in range(count)]
  return Folds(workdir, evaluators.read(workdir, "test").results, tuple(each))


def table(found: Folds, split: str = "test", *, full: bool = False) -> str:
  """The pooled scores, and how far the folds lie apart; `full` as of a run's table."""
  rows = [[f"over the {len(found.by_fold)} folds", "mean", "std"]]
  for name, numbers in found.spread.items():
    if metrics.find(name).owner != "class":
      rows.append([name, *map(render.number, numbers)])
  pooled = evaluators.table(found.results, f"{split}, all folds pooled", full=full)
  return f"{pooled}\n\n{render.columns(rows)}"


def _train(trainer: Trainer, workdir: Path) -> None:
  """One fold; what stops it is said of all of them."""
  number = trainer.config.data.fold
  with workspace.claim(trainer.workdir), _said_of(workdir, number):
    begun = (trainer.workdir / "config.json").is_file()
    trainer.start(resume=begun)
    trainer.run()
    trainer.finish()


@contextlib.contextmanager
def _said_of(workdir: Path, number: int):
  try:
    yield
  except Interrupted as error:
    raise Interrupted(
      error.exit_code - 128,
      f"Stopped by {error.name} in fold {number}; go on with --resume and --workdir "
      f"{workdir}.",
    ) from None
  except NonFiniteLoss as error:
    raise NonFiniteLoss(f"Fold {number}: {error}") from error


def _check_data(config: ConfigDict, workdir: Path, dataset: Dataset) -> None:
  """Raises UserError where folds that have begun had other data."""
  if not (workdir / "config.json").is_file():
    return
  then = workspace.facts(workdir)["data"]["digest"]
  if then != (own := digest(dataset, inputs.columns_of(config))):
    raise UserError(
      f"The data of {workdir} has changed since it began (digest {then[:12]}, now "
      f"{own[:12]}): its folds would be of two."
    )


def _begin(config: ConfigDict, workdir: Path, dataset: Dataset, count: int) -> None:
  """Makes the folder that of a run; one that has begun notes that it goes on."""
  distributed.wait("all processes have read the workdir")
  writer = Writer(workdir)
  if (workdir / "config.json").is_file():
    facts = workspace.facts(workdir)
    facts["resumed"] = [*facts.get("resumed", []), describe()]
    writer.write_facts(facts | {"finished": False})
    writer.write_text("config.json", configs.to_json(config))
    return
  data = {"source": dataset.source, "notes": list(dataset.notes)}
  data["digest"] = digest(dataset, inputs.columns_of(config))
  data |= inputs.places_of(config)
  facts = {"data": data, "seeds": list(config.seeds), "folds": count, "shape": None}
  facts |= {"format": FORMAT}
  writer.write_facts(describe() | facts | {"finished": False})
  writer.write_text("config.json", configs.to_json(config))


def _capacity(config: ConfigDict, parts: Sequence[Dataset]) -> int:
  """Steps of an epoch of the largest fold: one program has room for all."""
  # The dialogues of a fold are whole, where those of the file's own splits need not be.
  units = Units.of(parts[0], inputs.unit_of(config))
  most = max((units.splits(part) == "train").sum() for part in parts)
  return -(-int(most) // min(config.train.batch_size, len(units)))


def _heading(number: int, count: int, done: int, left: int, began: float) -> str:
  text = f"\nfold {number + 1} of {count}"
  if not done:
    return text
  seconds = (time.monotonic() - began) / done * (left - done)
  return f"{text}, about {seconds / 60:.0f} min left for all"


def _pool(
  workdir: Path, ids: np.ndarray, count: int, folds: int, name: str = "test"
) -> Folds:
  """Writes what the folds' own evaluations come to together.

  Args:
    workdir: of all folds.
    ids: (N,) of the data set, in its order.
    count: of the folds of all repeats.
    folds: of a repeat.
    name: of the evaluation, see `evaluators.stem`.
  """
  runs = [evaluators.read(folder(workdir, i), name) for i in range(count)]
  repeats = [_repeat(runs[i : i + folds], ids) for i in range(0, count, folds)]
  (ids, labels, _), *_ = repeats
  predictions = np.concatenate([found for *_, found in repeats])
  seeds = [seed for run in runs[::folds] for seed in run.results.seeds]
  if len(set(seeds)) < len(seeds):  # every repeat has all of them
    seeds = list(range(len(seeds)))
  spec = Spec.from_json(workspace.facts(folder(workdir, 0))["shape"])
  results = evaluators.summarise(
    spec.scheme,
    predictions,
    labels,
    spec.class_names,
    seeds,
    target_names=spec.target_names,
    checkpoint=runs[0].results.checkpoint,
    unchosen=_unchosen(runs, folds, seeds),
  )
  split = name.removeprefix("last_")
  if jax.process_index() == 0:
    evaluators.write(workdir, split, results, ids, labels, predictions)
  distributed.wait("the folds are pooled")
  return Folds(workdir, results, tuple(run.results for run in runs))


def _unchosen(runs, folds: int, seeds: Sequence[int]) -> list[int]:
  """The pooled seeds whose epoch validation did not choose in some fold."""
  by_repeat = [runs[i : i + folds] for i in range(0, len(runs), folds)]
  lost = [
    any(seed in run.results.unchosen for run in repeat)
    for repeat in by_repeat
    for seed in repeat[0].results.seeds
  ]
  return [seed for seed, no in zip(seeds, lost, strict=True) if no]


def _repeat(
  runs: Sequence[evaluators.Evaluation], ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """(ids, labels, predictions) of a repeat's folds, in the order of `ids`."""
  place = {name: i for i, name in enumerate(ids.tolist())}
  own = np.concatenate([run.ids for run in runs])
  order = np.argsort([place[name] for name in own.tolist()], kind="stable")
  labels = np.concatenate([run.labels for run in runs])[order]
  predictions = np.concatenate([run.predictions for run in runs], 1)[:, order]
  return own[order], labels, predictions
