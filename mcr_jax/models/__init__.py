"""The models by name: every module of this package, each with one class `Model`."""

import dataclasses
import functools
import importlib
import pkgutil
from typing import Any

from mcr_jax.contract import Model, Spec
from mcr_jax.errors import UserError, choose, nearest

# What the data decides, and what Flax adds; everything else is a field of config.model.
GIVEN = ("spec", "parent", "name")


@functools.cache
def names() -> tuple[str, ...]:
  """All models, in alphabetical order: the modules that lie here."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return tuple(sorted(name for name in found if not name.startswith("_")))


def load(name: str) -> type[Model]:
  """The class of a model; an unknown name is answered with the nearest one."""
  choose(name, names(), "model.name")
  return importlib.import_module(f"mcr_jax.models.{name}").Model


def fields(name: str) -> dict[str, Any]:
  """The fields of a model that a config may set, with their defaults."""
  return {field.name: field.default for field in _fields(name)}


def build(name: str, spec: Spec, **values: Any) -> Model:
  """A model for data of a `spec`.

  Args:
    name: one of `names()`.
    spec: what the data decides.
    **values: fields of its `Model`; lists become tuples.

  Raises:
    UserError: the model has no such field; the message has the nearest one.
  """
  known = fields(name)
  for field in values:
    if field not in known:
      raise UserError(
        f"The model {name!r} has no field {field!r}.{nearest(field, known)} "
        f"Known: {', '.join(known)}."
      )
  values = {field: _frozen(value) for field, value in values.items()}
  return load(name)(spec, **values)


def _fields(name: str) -> list[dataclasses.Field]:
  return [field for field in dataclasses.fields(load(name)) if field.name not in GIVEN]


def _frozen(value: Any) -> Any:
  return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
