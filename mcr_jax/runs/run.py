"""A trained run: what its workdir holds, and how to use it."""

import dataclasses
import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.contract import Batch, Spec, flatten
from mcr_jax.data import batches, classes, load
from mcr_jax.data.checks import validate
from mcr_jax.data.labels import as_task
from mcr_jax.data.load import check_fits, digest, impute_nonfinite
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs import inputs, workspace
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.training.programs import Programs
from mcr_jax.training.recipe import Recipe
from mcr_jax.training.samples import Samples

KINDS = ("best", "last")


def load_run(workdir: str | os.PathLike, *, checkpoint: str = "best") -> "Run":
  """The run of a workdir with the parameters of one of its checkpoints.

  Args:
    workdir: folder of the run; an unfinished one has a checkpoint too.
    checkpoint: `best` (each seed at its best validation epoch) or `last`.

  Raises:
    UserError: the folder holds no run, or the checkpoint of another model.
    DamagedCheckpoint: the checkpoint is not what was written.
  """
  workdir = Path(workdir)
  if checkpoint not in KINDS:
    raise UserError(f"checkpoint={checkpoint!r} is none of {', '.join(KINDS)}.")
  facts = workspace.facts(workdir)
  if count := facts.get("folds"):
    raise UserError(
      f"{workdir} holds {count} folds, each a run in a folder of its own: "
      f"{workdir / workspace.FOLD}0 to {workspace.FOLD}{count - 1}."
    )
  try:
    config = configs.saved((workdir / "config.json").read_text("utf-8"), facts)
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
      why = "the run stopped before its first validation, and only has a `last` one"
    raise UserError(f"{workdir} has no `{checkpoint}` checkpoint: {why}.")
  tree = restored.tree if checkpoint == "best" else restored.tree["state"]
  params = configs.parameters(tree["params"], config, facts)
  variables = (params, tree.get("stats", {}))
  seeds = tuple(facts["seeds"])
  _check_model(variables, config, spec, seeds, workdir)
  return Run(
    workdir,
    config,
    spec,
    normalizer,
    jax.device_put(variables),
    seeds,
    checkpoint,
    facts["data"]["digest"],
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """All seeds of a trained model.

  Attributes:
    workdir: folder of the run.
    config: that it was trained with.
    spec: of the data that it accepts.
    normalizer: by the statistics of its training split.
    variables: (params, other collections), a leading seed axis on every array.
    seeds: their numbers.
    checkpoint: which checkpoint the variables are.
    digest: of the data that it was trained on.
  """

  workdir: Path
  config: ConfigDict
  spec: Spec
  normalizer: Normalizer
  variables: tuple[Any, Any]
  seeds: tuple[int, ...]
  checkpoint: str = "best"
  digest: str = ""

  def read(self, source: Any = None, *, labels: bool = False) -> Dataset:
    """A data set as this run expects it.

    Args:
      source: None for the data of the run itself, a path, or a `Dataset`.
      labels: whether labels and splits are needed.
    Raises:
      UserError: other features or labels, sequences longer than the model was built
        for, or data of the run that is no longer what it was trained on.
    """
    if isinstance(source, Dataset):
      numbers = self.spec.task == "regression"
      dataset = as_task(source, "regression") if numbers else source
      dataset = impute_nonfinite(
        validate(dataset, labels, ()), self.config.data.nonfinite
      )
    elif source is None:
      dataset = inputs.read_data(self.config)
      own = digest(dataset, inputs.columns_of(self.config))
      if self.digest not in ("", own):
        raise UserError(
          f"{dataset.source} has changed since {self.workdir} was trained on it. To "
          "use it all the same, give it as another data set (--input)."
        )
    else:
      group = configs.plain(self.config.data) | {"path": os.fspath(source)}
      group["modalities"] = tuple(self.spec.lengths)
      dataset = load(group, for_training=labels, splits=(), widths=self.spec.widths)
    if source is not None:
      dataset = inputs.as_samples(dataset, self.spec.unit)
    self.check_features(dataset)
    check_fits(dataset, self.spec.lengths)
    return self._with_its_labels(dataset) if labels else dataset

  def check_features(self, dataset: Dataset) -> None:
    """Raises UserError where modalities or widths are not those of the training."""
    widths = {m: x.width for m, x in dataset.modalities.items()}
    if widths != dict(self.spec.widths):
      raise UserError(
        f"{dataset.source} has features {widths}; the run {self.workdir} was trained "
        f"on {dict(self.spec.widths)}."
      )

  def _with_its_labels(self, dataset: Dataset) -> Dataset:
    dataset = as_task(dataset, self.spec.task)
    known, found = self.spec.class_names, dataset.class_names
    if self.spec.task == "multiclass" and not known:
      known = tuple(map(str, range(self.spec.outputs[0])))
    if known and self.spec.task in ("multiclass", "multitask"):
      dataset = classes.as_named(dataset, known)
    elif known and found and known != found:
      dataset = None
    if dataset is None:
      # A name, or those of one of several labels.
      theirs = ", ".join(map(str, found)) or "0 and above"
      own = ", ".join(map(str, known))
      raise UserError(
        f"The data has the classes {theirs}; the run {self.workdir} was trained on "
        f"{own}, and knows no others."
      )
    known, found = self.spec.target_names, dataset.target_names
    if known and found and known != found:
      raise UserError(
        f"{dataset.source} has the targets {', '.join(found)}; the run {self.workdir} "
        f"was trained on {', '.join(known)}, in this order."
      )
    return dataset

  def predict(self, source: Any = None, *, batch_size: int = 0) -> np.ndarray:
    """The predictions of every seed, (S, N, *outputs), in the order of the samples.

    Args:
      source: see `read`.
      batch_size: that of the evaluation where 0.
    """
    # Splits play no part: they may cut a dialogue where nothing is learned or scored.
    dataset = dataclasses.replace(self.read(source), splits=None)
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
    self, split: str = "test", source: Any = None, *, write: bool = True
  ) -> evaluators.Results:
    """The metrics of one split, mean and deviation over the seeds.

    Args:
      split: `train`, `valid` or `test`.
      source: see `read`; another data set with the same features and labels.
      write: whether to leave the files in `eval/` of the workdir, those of the last
        checkpoint as `last_<split>`; never for another data set, whose results are not
        the run's.
    """
    dataset = self.read(source, labels=True)
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
    if write and source is None:
      evaluators.write(self.workdir, split, results, ids, labels, predictions)
    return results

  def summarise(self, labels: np.ndarray, predictions: np.ndarray):
    """The results of predictions (S, N, *outputs) against labels (N, ...)."""
    return evaluators.summarise(
      self.spec.scheme,
      predictions,
      labels,
      self.spec.class_names,
      self.seeds,
      target_names=self.spec.target_names,
      checkpoint=self.checkpoint,
    )

  @functools.cached_property
  def _programs(self) -> Programs:
    # Kept, so that a second call with the same shapes compiles nothing.
    model = inputs.build_model(self.config, self.spec)
    return Programs(Recipe.of(model, self.config), meshes.make(1, 1))


def _check_model(variables, config, spec, seeds, workdir) -> None:
  """Raises UserError where the variables are not those of the config's model."""
  wanted = _shapes_of_model(config, spec)
  wanted = {path: (len(seeds), *size) for path, size in wanted.items()}
  found = _shapes(variables)
  differing = [
    f"{path}: {found.get(path, 'absent')} saved, {wanted.get(path, 'absent')} expected"
    for path in sorted({*wanted, *found})
    if wanted.get(path) != found.get(path)
  ]
  if differing:
    more = f"; and {len(differing) - 3} more" if len(differing) > 3 else ""
    raise UserError(
      f"{workdir} has a checkpoint of another model: {'; '.join(differing[:3])}{more}."
    )


def _shapes_of_model(config: ConfigDict, spec: Spec) -> dict[str, tuple[int, ...]]:
  """The shape of every variable of one seed of a run, by path."""
  model = inputs.build_model(config, spec)
  init = lambda batch: model.init(jax.random.key(0), batch, train=False)
  variables = jax.eval_shape(init, spec.example())
  params = variables.pop("params")
  return _shapes((params, variables))


def _shapes(variables) -> dict[str, tuple[int, ...]]:
  """The shape of every array of (params, other collections), by path."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return {jax.tree_util.keystr(path[1:]): leaf.shape for path, leaf in leaves}
