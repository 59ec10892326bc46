"""Whether data can serve a row: read once, and held against what the row needs."""

import functools
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import files, metrics
from mcr_jax.contract import Spec
from mcr_jax.data.policies import check_fits
from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError
from mcr_jax.papers.definition import Column
from mcr_jax.runs import inputs
from mcr_jax.runs.spec import spec_of
from mcr_jax.training.recipe import Recipe

# Of the group `data`, what says how a batch is made of what was read.
OF_BATCHES = ("buckets", "trim", "placement", "pipeline", "modality_dropout", "clip")


def check(config: ConfigDict, columns: Sequence[Column]) -> tuple[Spec, dict[str, int]]:
  """The spec of a run, and how many samples of its model each split has.

  Raises:
    UserError: the data cannot serve these columns: it cannot be read, lacks a modality
      or a split, is too long for the model, or its labels have none of the metrics.
  """
  dataset = _read(config)
  units = Units.of(dataset, inputs.unit_of(config))
  lengths = inputs.room_of(config, dataset)
  spec = spec_of(dataset, units, lengths, config.evals.metrics)
  check_fits(dataset, spec.lengths)
  known = metric_names(spec)
  if columns and not any(column.metric in known for column in columns):
    wanted = ", ".join(column.title for column in columns[:3])
    raise UserError(
      f"{dataset.source} has labels of the task {spec.task} ({spec.scheme} metrics), "
      f"which have no {wanted}"
    )
  Recipe.of(inputs.build_model(config, spec), config)
  return spec, _sizes(config, dataset, units)


def facts(config: ConfigDict) -> dict[str, Any]:
  """Digest and samples by split of the data of a config.

  The digest is of the files, not of what one system reads of them.
  """
  dataset = _read(config)
  splits = [] if dataset.splits is None else dataset.splits.tolist()
  samples = {split: splits.count(split) for split in SPLITS if splits}
  found = {"digest": digest_of(config.data.path)}
  return found | {"samples": samples or {"all": len(dataset)}}


def digest_of(path: str) -> str:
  """SHA-256 of a file, of all files of a folder with their names, or of a name."""
  root = Path(path)
  if not root.exists():
    return files.digest([path.encode()])
  each = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.is_file())
  names = [file.relative_to(root).as_posix() for file in each]
  whole = hashlib.sha256()
  for name, file in zip(names, each, strict=True):
    with file.open("rb") as opened:
      own = hashlib.file_digest(opened, "sha256").hexdigest()
    whole.update(f"{name} {own}\n".encode())
  return whole.hexdigest()


def metric_names(spec: Spec) -> set[str]:
  """The names of all metrics that predictions of a spec are scored with."""
  names = spec.target_names or spec.class_names
  owners = {
    "class": spec.class_names,
    "label": names,
    "target": spec.target_names,
    "": ("",),
  }
  return {
    metric.named(str(owner).lower())
    for metric in metrics.definitions(spec.scheme)
    for owner in owners[metric.owner]
  }


def forget() -> None:
  """Gives back the memory of what was read."""
  _cached.cache_clear()


def _sizes(config: ConfigDict, dataset: Dataset, units: Units) -> dict[str, int]:
  if dataset.splits is not None:
    splits = units.splits(dataset).tolist()
    return {split: splits.count(split) for split in SPLITS}
  # Of all folds together: one tests, one validates.
  parts, runs = config.data.folds, config.data.fold_repeats * len(units)
  return {"train": (parts - 2) * runs, "valid": runs, "test": runs}


def _read(config: ConfigDict) -> Dataset:
  group = {k: v for k, v in configs.plain(config.data).items() if k not in OF_BATCHES}
  return _cached(json.dumps(group), inputs.unit_of(config))


@functools.lru_cache(maxsize=2)
def _cached(group: str, unit: str) -> Dataset:
  from mcr_jax.data import load

  given = configs.plain(json.loads(group))
  return inputs.as_samples(load(given), unit)
