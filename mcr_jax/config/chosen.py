"""What the chosen model adds to a config: fields of its own, losses, phases.

`model` is always the group of that name, of which `name` and `file` are read.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcr_jax.field import Domain


def of(model: Mapping[str, Any]) -> type:
  """The class of the chosen model.

  Raises:
    UserError: there is none of this name, or the file has none.
  """
  from mcr_jax import models  # flax takes seconds to import

  if model.get("file"):
    return models.load_file(model["file"])
  return models.load(model["name"])


def name_and_file(model: Mapping[str, Any]) -> dict[str, str]:
  """Both, as a config keeps them: a file by its whole path, and named as it is."""
  if not model["file"]:
    return {"name": model["name"], "file": ""}
  path = Path(model["file"]).expanduser().absolute()
  return {"name": path.stem, "file": str(path)}


def defaults(model: Mapping[str, Any]) -> dict[str, Any]:
  """The fields that only this model has, with their defaults."""
  from mcr_jax import models

  return models.fields(of(model))


def domains(model: Mapping[str, Any]) -> dict[str, Domain]:
  """What the values of these fields may be."""
  from mcr_jax import models

  return models.domains(of(model))


def loss(model: Mapping[str, Any]) -> dict[str, Any]:
  """Defaults of the group `loss` that depend on the model's losses."""
  card = of(model).card
  # What joins no loss to the task shares nothing with it.
  return {"weights": card.weights} | ({} if card.joint else {"gamma": 0.0})


def phases(model: Mapping[str, Any]) -> tuple:
  """The schedule that the model comes with."""
  return of(model).card.phases
