"""Programs that runs hand to each other where they differ in their data alone."""

import json

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.runs import inputs
from mcr_jax.training.programs import Programs
from mcr_jax.training.recipe import Recipe

# What says where data comes from, and nothing of what is compiled for it.
OF_DATA = ("data.path", "data.label", "data.split", "data.features", "data.fold")


class Shared:
  """The programs of the last run, for the next one if it can use them.

  Only the last: what is compiled takes memory, and runs that share stand together.
  """

  def __init__(self):
    self._key, self._programs = None, None

  def of(self, config: ConfigDict, spec: Spec, mesh) -> Programs:
    """The programs of a run, those of the run before where they are the same."""
    key = (_text(config), spec, mesh)
    if key != self._key:
      model = inputs.build_model(config, spec)
      self._key, self._programs = key, Programs(Recipe.of(model, config), mesh)
    return self._programs


def _text(config: ConfigDict) -> str:
  flat = configs.flatten(config)
  return json.dumps({name: v for name, v in flat.items() if not _of_data(name)})


def _of_data(name: str) -> bool:
  return any(name == path or name.startswith(f"{path}.") for path in OF_DATA)
