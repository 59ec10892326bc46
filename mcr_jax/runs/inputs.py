"""From a config to the model and the data set that it names."""

import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import models
from mcr_jax.config import chosen
from mcr_jax.contract import Model, Spec
from mcr_jax.data import load, policies
from mcr_jax.data.load import is_synthetic
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import pooled
from mcr_jax.errors import choose


def read_data(config: ConfigDict) -> Dataset:
  """The checked data set of a config, with a vector a turn where it is of dialogues."""
  return as_samples(load(configs.plain(config.data)), unit_of(config))


def places_of(config: ConfigDict) -> dict[str, str]:
  """Where the files of a config are, seen from any folder; "" of what no file holds.

  `place` is the data, and `vectors` what `data.vectors` names.
  """
  path = config.data.path
  vectors = config.data.vectors
  found = {"place": "" if is_synthetic(path) else os.path.abspath(path)}
  return found | ({"vectors": os.path.abspath(vectors)} if vectors else {})


def with_data_of(config: ConfigDict, facts: Mapping[str, Any]) -> ConfigDict:
  """The config of a run with its data where the run found it, if it is still there.

  A relative path is relative to the folder in which the run was started.

  Args:
    config: of the run.
    facts: of its run.json.
  """
  fields = (("path", "place"), ("vectors", "vectors"))
  found = {field: facts["data"].get(key, "") for field, key in fields}
  found = {field: x for field, x in found.items() if x and os.path.exists(x)}
  if not found:
    return config
  changed = configs.plain(config)
  changed["data"] |= found
  return ConfigDict(changed).lock()


def as_samples(dataset: Dataset, unit: str) -> Dataset:
  """The data set as a unit needs it: the steps of a dialogue are vectors of turns."""
  return pooled(dataset) if unit == "dialogue" else dataset


def room_of(config: ConfigDict, dataset: Dataset) -> dict[str, int]:
  """`data.lengths`, without what the data does not have where that may be."""
  lengths = dict(config.data.lengths)
  if config.data.absent == "leave":
    return policies.applying(lengths, dataset)
  return lengths


def unit_of(config: ConfigDict) -> str:
  """The unit of a config: that of its model, which is all that it may say."""
  own = chosen.of(configs.plain(config.model)).card.unit
  choose(config.data.unit, ("auto", own), f"data.unit of {config.model.name}")
  return own


def columns_of(config: ConfigDict) -> tuple[str, ...]:
  """What a run depends on beside features and labels, of `Units.columns`."""
  card = chosen.of(configs.plain(config.model)).card
  columns = ("turn", "speaker") if unit_of(config) == "dialogue" else ()
  heads = ("label_text", "label_audio", "label_vision") if card.auxiliary else ()
  return columns + heads


def build_model(config: ConfigDict, spec: Spec) -> Model:
  """The model of a config for data of a spec."""
  given = configs.plain(config.model)
  own = {name: given[name] for name in given if name not in ("name", "file")}
  if config.data.absent == "leave":
    of_fields = chosen.domains(given)
    for name, value in own.items():
      if not of_fields[name].modalities:
        continue
      if isinstance(value, Mapping):
        own[name] = {m: x for m, x in value.items() if m in spec.lengths}
      elif isinstance(value, tuple):
        # Where none is left, (), which is all, is not what was asked for.
        own[name] = tuple(m for m in value if m in spec.lengths) or value
  return models.build(chosen.of(given), spec, **own)
