"""A trained run: what its workdir holds, and how to use it."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators, fields
from mcr_jax.data import batches, load, schedule
from mcr_jax.data.load import check_fits
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError
from mcr_jax.training import mesh as meshes
from mcr_jax.training import setup
from mcr_jax.training.checkpoint import Checkpoints
from mcr_jax.training.programs import Programs

KINDS = ("best", "last")


def load_run(workdir: str | os.PathLike, *, checkpoint: str = "best") -> "Run":
  """The run of a workdir with the parameters of one of its checkpoints.

  Args:
    workdir: folder of the run; an unfinished one has a checkpoint too.
    checkpoint: `best` (each seed at its best validation epoch) or `last`.

  Raises:
    UserError: the folder holds no run.
    DamagedCheckpoint: the checkpoint is not what was written.
  """
  workdir = Path(workdir)
  if checkpoint not in KINDS:
    raise UserError(f"checkpoint={checkpoint!r} is none of {', '.join(KINDS)}.")
  try:
    config = configs.from_json((workdir / "config.json").read_text())
    facts = json.loads((workdir / "run.json").read_text())
    shape = setup.Shape.from_json(facts["shape"])
  except FileNotFoundError as error:
    raise UserError(f"{workdir} holds no run: {error.filename} is missing.") from None
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{workdir} holds no readable run ({error}).") from error
  normalizer = Normalizer.load(workdir / "normalization.npz")
  files = Checkpoints(workdir)
  restored = files.restore_best() if checkpoint == "best" else files.restore_last()
  if restored is None:
    raise UserError(f"{workdir} has no checkpoint: the run stopped before its first.")
  tree = restored.tree if checkpoint == "best" else restored.tree["state"]
  variables = jax.device_put((tree["params"], tree.get("stats", {})))
  return Run(
    workdir, config, shape, normalizer, variables, tuple(facts["seeds"]), checkpoint
  )


@dataclasses.dataclass(frozen=True)
class Run:
  """All seeds of a trained model.

  Attributes:
    workdir: folder of the run.
    config: that it was trained with.
    shape: of the data that it accepts.
    normalizer: by the statistics of its training split.
    variables: (params, other collections), a leading seed axis on every array.
    seeds: their numbers.
    checkpoint: which checkpoint the variables are.
  """

  workdir: Path
  config: ConfigDict
  shape: setup.Shape
  normalizer: Normalizer
  variables: tuple[Any, Any]
  seeds: tuple[int, ...]
  checkpoint: str = "best"

  def read(self, source: Any = None, *, labels: bool = False) -> Dataset:
    """A data set as this run expects it.

    Args:
      source: None for the data of the run itself, a path, or a `Dataset`.
      labels: whether labels and splits are needed.
    Raises:
      UserError: other features, or sequences longer than the model was built for.
    """
    if isinstance(source, Dataset):
      dataset = source
    elif source is None:
      dataset = setup.read_data(self.config)
    else:
      group = fields.plain(self.config.data) | {"path": os.fspath(source)}
      group["modalities"] = tuple(self.shape.lengths)
      dataset = load(group, for_training=labels, splits=(), widths=self.shape.widths)
    self.check_features(dataset)
    check_fits(dataset, self.shape.lengths)
    return dataset

  def check_features(self, dataset: Dataset) -> None:
    """Raises UserError where modalities or widths are not those of the training."""
    widths = {m: x.width for m, x in dataset.modalities.items()}
    if widths != dict(self.shape.widths):
      raise UserError(
        f"{dataset.source} has features {widths}; the run {self.workdir} was trained "
        f"on {dict(self.shape.widths)}."
      )

  def predict(self, source: Any = None, *, batch_size: int = 0) -> np.ndarray:
    """The predictions of every seed, (S, N, *outputs), in the order of the samples.

    Args:
      source: see `read`.
      batch_size: that of the evaluation where 0.
    """
    dataset = self.read(source)
    lengths = {m: dataset.modalities[m].lengths for m in self.shape.lengths}
    count = max(self.config.data.buckets, 4)
    buckets = schedule.make_buckets(lengths, self.shape.lengths, count)
    rows = np.arange(len(dataset))
    size = batch_size or self.config.train.eval_batch_size
    plan = schedule.fixed_schedule(
      rows, schedule.assign(lengths, buckets), size or self.config.train.batch_size
    )
    programs = self._programs()
    parts = [
      np.asarray(programs.predict(self.variables, batch))
      for batch in _host_batches(dataset, plan, buckets, self.normalizer)
    ]
    return plan.in_order(np.concatenate(parts, 1), rows)

  def outputs(self, source: Any = None, *, samples: int = 1) -> dict[str, np.ndarray]:
    """Every intermediate of the first samples by name, each with a seed axis."""
    dataset = self.read(source)
    rows = np.arange(min(samples, len(dataset)))
    bounds = tuple(self.shape.lengths.items())
    batch = batches.arrays(dataset, rows, bounds, self.normalizer)
    batch.pop("label", None)
    model = setup.build_model(self.config, self.shape)
    one = lambda params, stats: model.apply({"params": params, **stats}, batch)[1]
    return jax.tree.map(np.asarray, jax.jit(jax.vmap(one))(*self.variables))

  def evaluate(
    self, split: str = "test", source: Any = None, *, write: bool = True
  ) -> evaluators.Results:
    """The metrics of one split, mean and deviation over the seeds.

    Args:
      split: `train`, `valid` or `test`.
      source: see `read`; another data set with the same features and labels.
      write: whether to leave the files in `eval/` of the workdir; never for another
        data set, whose results are not the run's.
    """
    dataset = self.read(source, labels=True)
    rows = dataset.indices(split)
    if not len(rows):
      raise UserError(f"{dataset.source} has no sample in the split {split!r}.")
    part = dataset.select(rows)
    predictions = self.predict(part)
    results = self.summarise(part.labels, predictions)
    if write and source is None:
      evaluators.write(self.workdir, split, results, part.ids, part.labels, predictions)
    return results

  def summarise(self, labels: np.ndarray, predictions: np.ndarray):
    """The results of predictions (S, N, *outputs) against labels (N, ...)."""
    results = evaluators.summarise(
      self.shape.scheme,
      predictions,
      labels,
      self.shape.class_names,
      self.seeds,
    )
    return results | ({"checkpoint": "last"} if self.checkpoint == "last" else {})

  def _programs(self) -> Programs:
    mesh = meshes.make(1, 1)
    return Programs(setup.build_model(self.config, self.shape), self.config, mesh)


def _host_batches(dataset, plan, buckets, normalizer) -> Iterator[Mapping]:
  for bucket, rows in zip(plan.bucket, plan.rows[0], strict=True):
    batch = batches.arrays(dataset, rows, buckets[bucket], normalizer)
    batch.pop("label", None)
    yield batch
