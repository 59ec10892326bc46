"""Where a run comes from: the data alone, another run, or its own folder."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config.old import FORMAT
from mcr_jax.contract import Spec
from mcr_jax.data.load import digest
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.policies import check_fits
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError
from mcr_jax.metrics import scale
from mcr_jax.runs import workspace
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.inputs import columns_of, places_of, room_of, unit_of
from mcr_jax.runs.run import Run, load_run
from mcr_jax.runs.spec import spec_of
from mcr_jax.runs.writer import describe


@dataclasses.dataclass
class Origin:
  """What is settled before a model is built.

  Attributes:
    spec: of the data that the model accepts.
    normalizer: of the features.
    facts: of run.json.
    pretrained: the run whose weights this one starts from.
  """

  spec: Spec
  normalizer: Normalizer
  facts: dict[str, Any]
  pretrained: Run | None


def find(config: ConfigDict, workdir: Path, dataset: Dataset, seeds: tuple) -> Origin:
  """The origin of the run in a workdir, which may have begun there.

  Weights go with the features that they were trained on, so the statistics of the run
  to start from are taken over, and the config must ask for what these do.

  Raises:
    UserError: the data, or what is done to its features, is not what the folder's run,
      or the run to start from, had.
  """
  own = digest(dataset, columns_of(config))
  begun = (workdir / "config.json").is_file()
  pretrained = None
  # A run that has a checkpoint does not need the one that it started from.
  if config.train.init_from and not (begun and Checkpoints(workdir).steps("last")):
    pretrained = load_run(config.train.init_from)
  if begun:
    facts = workspace.facts(workdir)
    if (then := facts["data"]["digest"]) != own:
      raise UserError(
        f"The data of {workdir} has changed since it began (digest {then[:12]}, now "
        f"{own[:12]}): a resumed run would mix two."
      )
    normalizer = Normalizer.load(workdir / "normalization.npz")
    return Origin(Spec.from_json(facts["shape"]), normalizer, facts, pretrained)
  room = room_of(config, dataset)
  if pretrained is not None:
    pretrained.check_features(dataset)
    _check_normalization(config, pretrained)
    room = {**pretrained.spec.lengths, **room}
  units = Units.of(dataset, unit_of(config))
  spec = spec_of(dataset, units, room, config.evals.metrics)
  check_fits(dataset, spec.lengths)
  normalizer = (
    pretrained.normalizer if pretrained else Normalizer.of(config.data, dataset)
  )
  notes = [*dataset.notes, *normalizer.notes]
  if config.evals.metrics == "auto" and dataset.task == "regression":
    notes.append(scale.note(dataset.labels[dataset.labelled], spec.scheme))
  if pretrained and config.data.normalize:
    notes.append(f"Features are normalised by the statistics of {pretrained.workdir}.")
  facts = {
    "format": FORMAT,
    **describe(),
    "data": {
      "digest": own,
      "source": dataset.source,
      **places_of(config),
      "notes": notes,
      **_recipe(dataset),
    },
    "shape": spec.to_json(),
    "seeds": list(seeds),
  }
  return Origin(spec, normalizer, facts, pretrained)


def _recipe(dataset: Dataset) -> dict[str, Any]:
  """How the features were extracted, where their file says it."""
  text = dataset.extras.get("extract")
  return {} if text is None else {"extract": json.loads(str(text))}


def _check_normalization(config: ConfigDict, pretrained: Run) -> None:
  fields = ["normalize", "clip"] if config.data.normalize else ["normalize"]
  for field in fields:
    here, there = config.data[field], pretrained.config.data[field]
    if here != there:
      raise UserError(
        f"data.{field}={here} here and {there} in train.init_from="
        f"{pretrained.workdir}, whose weights are for features as it made them: set "
        f"--config.data.{field}={there}."
      )
