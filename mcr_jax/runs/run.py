"""A trained run: what its workdir holds, and how to use it."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.contract import Batch, Spec, flatten
from mcr_jax.data import batches, policies
from mcr_jax.data.load import digest
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs import inputs, packed, shapes, workspace
from mcr_jax.runs import reading as readings
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.reading import Reading
from mcr_jax.training.programs import Programs
from mcr_jax.training.recipe import Recipe
from mcr_jax.training.samples import Samples

KINDS = ("best", "last")
AS_TRAINED = Reading()


def load_run(workdir: str | os.PathLike, *, checkpoint: str = "best") -> "Run":
  """The run of a workdir with the parameters of one of its checkpoints.

  Args:
    workdir: folder of the run, an unfinished one has a checkpoint too; or a model file,
      in which nothing is run, of `mcr_jax.export`.
    checkpoint: `best` (each seed at its best validation epoch) or `last`.

  Raises:
    UserError: the folder holds no run, or the checkpoint of another model.
    DamagedCheckpoint: the checkpoint is not what was written.
  """
  workdir = Path(workdir).expanduser()
  if checkpoint not in KINDS:
    raise UserError(f"checkpoint={checkpoint!r} is none of {', '.join(KINDS)}.")
  if workdir.is_file():
    return _of_file(workdir, checkpoint)
  facts = workspace.facts(workdir)
  if count := facts.get("folds"):
    raise UserError(
      f"{workdir} holds {count} folds, each a run in a folder of its own: "
      f"{workdir / workspace.FOLD}0 to {workspace.FOLD}{count - 1}."
    )
  try:
    config = configs.saved((workdir / "config.json").read_text("utf-8"), facts)
    config = inputs.with_data_of(config, facts)
    spec = Spec.from_json(facts["shape"])
  except FileNotFoundError as error:
    raise UserError(f"{workdir} holds no run: {error.filename} is missing.") from None
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{workdir} holds no readable run ({error}).") from error
  normalizer = Normalizer.load(workdir / "normalization.npz")
  files = Checkpoints(workdir)
  restored = files.restore_best() if checkpoint == "best" else files.restore_last()
  if restored is None:
    why = "the run stopped before its first"
    if files.steps("last"):
      why = (
        "the run stopped before its first validation, or in a phase without the loss "
        "of the task, and only has a `last` one"
      )
    raise UserError(f"{workdir} has no `{checkpoint}` checkpoint: {why}.")
  tree = restored.tree if checkpoint == "best" else restored.tree["state"]
  params = configs.parameters(tree["params"], config, facts)
  variables = (params, tree.get("stats", {}))
  seeds = tuple(facts["seeds"])
  shapes.check(variables, config, spec, seeds, workdir)
  return Run(
    workdir,
    config,
    spec,
    normalizer,
    jax.device_put(variables),
    seeds,
    checkpoint,
    facts["data"]["digest"],
    tuple(facts.get("chosen", ())),
    facts["data"].get("extract"),
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """All seeds of a trained model.

  Attributes:
    workdir: folder of the run, or its file.
    config: that it was trained with.
    spec: of the data that it accepts.
    normalizer: by the statistics of its training split.
    variables: (params, other collections), a leading seed axis on every array.
    seeds: their numbers.
    checkpoint: which checkpoint the variables are.
    digest: of the data that it was trained on.
    chosen: (S,) whether the validation split chose the epoch of a seed; () is all.
    extract: how the features were made, as their file says it; None if it does not.
  """

  workdir: Path
  config: ConfigDict
  spec: Spec
  normalizer: Normalizer
  variables: tuple[Any, Any]
  seeds: tuple[int, ...]
  checkpoint: str = "best"
  digest: str = ""
  chosen: tuple[bool, ...] = ()
  extract: Any = None

  def read(
    self, source: Any = None, *, labels: bool = False, reading: Reading = AS_TRAINED
  ) -> Dataset:
    """A data set as this run expects it.

    Args:
      source: None for the data of the run itself, a path, or a `Dataset`.
      labels: whether labels and splits are needed.
      reading: how other data is read, where not as the run's own.
    Raises:
      UserError: other features or labels, sequences longer than the model can read
        under the policy, or data of the run that is no longer what it was trained on.
    """
    if source is not None:
      return readings.other_data(
        source, self, self.tied, labels=labels, reading=reading
      )
    if reading:
      raise UserError(
        "The run's own data is read as it was trained; --overlong, --nonfinite, "
        "--skip-bad and --config.data are for other data, which --input names."
      )
    dataset = self._own_data()
    own = digest(dataset, inputs.columns_of(self.config))
    if self.digest not in ("", own):
      raise UserError(
        f"{dataset.source} has changed since {self.workdir} was trained on it. To "
        "use it all the same, give it as another data set (--input)."
      )
    self.check_features(dataset)
    policies.check_fits(dataset, self.spec.lengths)
    if not labels:
      return dataset
    return readings.with_labels(dataset, self.spec, self.workdir)

  def with_room(self, dataset: Dataset) -> "Run":
    """The same run for sequences of any length, as far as its parameters are."""
    longer = readings.longer(dataset, self.spec)
    if not longer:
      return self
    spec = self.spec.with_lengths(longer)
    return self._roomier.setdefault(spec, dataclasses.replace(self, spec=spec))

  def tied(self, longer: Mapping[str, int]) -> tuple[str, ...]:
    """Those modalities of more steps that the parameters cannot read."""
    names = tuple(longer)
    if names not in self._ties:
      self._ties[names] = shapes.tied(self.config, self.spec, longer)
    return self._ties[names]

  @functools.cached_property
  def _ties(self) -> dict[tuple, tuple]:
    return {}

  @functools.cached_property
  def _roomier(self) -> dict[Spec, "Run"]:
    return {}

  def _own_data(self) -> Dataset:
    try:
      return inputs.read_data(self.config)
    except UserError as error:
      if not self.workdir.is_file():
        raise
      raise UserError(
        f"{error} It is what {self.workdir} was trained on; --input says where it, or "
        "other data, lies here."
      ) from error

  def check_features(self, dataset: Dataset) -> None:
    """Raises UserError where modalities or widths are not those of the training."""
    readings.check_features(dataset, self)

  def predict(
    self, source: Any = None, *, batch_size: int = 0, reading: Reading = AS_TRAINED
  ) -> np.ndarray:
    """The predictions of every seed, (S, N, *outputs), in the order of the samples.

    Args:
      source: see `read`.
      batch_size: that of the evaluation where 0.
      reading: see `read`.
    """
    # Splits play no part: they may cut a dialogue where nothing is learned or scored.
    dataset = self.read(source, reading=reading)
    dataset = dataclasses.replace(dataset, splits=None)
    longer = [
      dataset.modalities[m].lengths > self.spec.lengths[m]
      for m in readings.longer(dataset, self.spec)
    ]
    if not longer:
      return self._predict(dataset, batch_size)
    # Apart, so that what is predicted of a sample does not depend on longer ones.
    parts = [np.flatnonzero(x) for x in (~np.any(longer, 0), np.any(longer, 0))]
    found = None
    for rows in filter(len, parts):
      part = dataset.select(rows)
      values = self.with_room(part)._predict(part, batch_size)
      if found is None:
        found = np.zeros((len(values), len(dataset), *values.shape[2:]), values.dtype)
      found[:, rows] = values
    return found

  def _predict(self, dataset: Dataset, batch_size: int) -> np.ndarray:
    samples = self._samples(dataset, batch_size)
    plan = samples.in_order(np.arange(len(samples.bucket)))
    program = self._programs.predict
    found = (
      np.asarray(program(self.variables, batch))
      for batch in self._batches(dataset, samples, plan)
    )
    return samples.by_utterance(plan, found, np.arange(len(dataset)))

  def _samples(self, dataset: Dataset, size: int = 0) -> Samples:
    units = Units.of(dataset, self.spec.unit)
    found = Samples.of(dataset.modalities, units, self.spec, self.config)
    size = min(size or found.eval_size, len(found.bucket))
    return dataclasses.replace(found, eval_size=size)

  def _batches(self, dataset, samples: Samples, plan) -> Iterator[Batch]:
    """The batches of a plan, in standard scores and without labels."""
    columns = batches.columns_of(dataset, samples.units, labels=False)
    source = batches.Host(dataset.modalities, columns, samples.units)
    for bucket, rows in zip(plan.bucket, plan.rows[0], strict=True):
      arrays = batches.assemble(source, rows, samples.buckets[bucket])
      arrays["x"] = {
        m: self.normalizer.apply(m, x, arrays["mask"][m])
        for m, x in arrays["x"].items()
      }
      yield Batch(**arrays)

  def outputs(self, source: Any = None, *, samples: int = 1) -> dict[str, np.ndarray]:
    """Every intermediate of the first samples by name, each with a seed axis."""
    dataset = self.read(source)
    if (run := self.with_room(dataset)) is not self:
      return run.outputs(dataset, samples=samples)
    whole = self._samples(dataset, samples)
    rows = np.arange(min(samples, len(whole.bucket)))
    bounds = dataclasses.replace(whole, buckets=whole.buckets[-1:], bucket=0 * rows)
    (batch,) = self._batches(dataset, bounds, bounds.in_order(rows))
    model = self._programs.recipe.model

    def one(params, stats, batch):
      output = model.apply({"params": params, **stats}, batch, train=False)
      return flatten(output.intermediates)

    program = jax.jit(jax.vmap(one, in_axes=(0, 0, None)))
    return jax.tree.map(np.asarray, program(*self.variables, batch))

  def evaluate(
    self,
    split: str = "test",
    source: Any = None,
    *,
    write: bool = True,
    reading: Reading = AS_TRAINED,
  ) -> evaluators.Results:
    """The metrics of one split, mean and deviation over the seeds.

    Args:
      split: `train`, `valid` or `test`.
      source: see `read`; another data set with the same features and labels.
      write: whether to leave the files in `eval/` of the workdir, those of the last
        checkpoint as `last_<split>`; never for another data set, whose results are not
        the run's, nor for a model file, which stays as it is.
      reading: see `read`.
    """
    found = self.evaluation(split, source, reading=reading)
    if write and source is None and not self.workdir.is_file():
      evaluators.write(
        self.workdir, split, found.results, found.ids, found.labels, found.predictions
      )
    return found.results

  def evaluation(
    self, split: str, source: Any = None, *, reading: Reading = AS_TRAINED
  ) -> evaluators.Evaluation:
    """Predictions and their results on one split; see `evaluate`."""
    dataset = self.read(source, labels=True, reading=reading)
    rows = dataset.indices(split)
    if dataset.label_mask is not None:
      rows = rows[dataset.label_mask[rows]]
    if not len(rows):
      raise UserError(f"{dataset.source} has no sample in the split {split!r}.")
    # With what else is of the split: turns without a label are context.
    part = dataset.select(dataset.indices(split))
    scored = np.isin(dataset.indices(split), rows)
    predictions = self.predict(part)[:, scored]
    ids, labels = part.ids[scored], part.labels[scored]
    results = self.summarise(labels, predictions)
    return evaluators.Evaluation(str(self.workdir), results, ids, labels, predictions)

  def summarise(self, labels: np.ndarray, predictions: np.ndarray):
    """The results of predictions (S, N, *outputs) against labels (N, ...)."""
    unchosen = [i for i, chosen in enumerate(self.chosen) if not chosen]
    return evaluators.summarise(
      self.spec.scheme,
      predictions,
      labels,
      self.spec.class_names,
      self.seeds,
      target_names=self.spec.target_names,
      checkpoint=self.checkpoint,
      unchosen=[seed for i, seed in enumerate(self.seeds) if i in unchosen],
    )

  @functools.cached_property
  def _programs(self) -> Programs:
    # Kept, so that a second call with the same shapes compiles nothing.
    model = inputs.build_model(self.config, self.spec)
    return Programs(Recipe.of(model, self.config), meshes.make(1, 1))


def evaluation_of(
  workdir: str | os.PathLike, name: str, source: Any = None
) -> evaluators.Evaluation:
  """What evaluating left in a folder, or what it finds now of a model file.

  Args:
    workdir: of a run, or its file.
    name: of the split; `last_<split>` of the last checkpoint.
    source: of a file, where its data lies; see `Run.read`.
  """
  if not Path(workdir).is_file():
    return evaluators.read(workdir, name)
  split = name.removeprefix("last_")
  run = load_run(workdir, checkpoint="best" if name == split else "last")
  return run.evaluation(split, source)


def _of_file(path: Path, checkpoint: str) -> Run:
  found = packed.unpack(path)
  if found.checkpoint != checkpoint:
    raise UserError(
      f"{path} holds the checkpoint {found.checkpoint!r}, not {checkpoint!r}: say "
      f"--checkpoint {found.checkpoint}."
    )
  return Run(
    path,
    found.config,
    found.spec,
    found.normalizer,
    jax.device_put(found.variables),
    found.seeds,
    checkpoint,
    found.digest,
    found.chosen,
    found.facts.get("recipe"),
  )
