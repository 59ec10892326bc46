"""The models by name: one module a paper, each with one `Model`."""

import dataclasses
import difflib
import importlib

import flax.linen as nn

from mcr_jax.errors import UserError

NAMES = (
  "mcr",
  "mia_net",
  "mult",
  "concat",
  "tfn",
  "lmf",
  "cim",
  "mha",
  "transformer",
  "ct",
)
# What the data decides; everything else is a field of config.model.
GIVEN = ("modalities", "lengths", "outputs", "parent", "name")


def load(name: str) -> type[nn.Module]:
  """The class of a model; an unknown name is answered with the nearest one."""
  if name not in NAMES:
    near = difflib.get_close_matches(str(name), NAMES, n=1, cutoff=0.0)[0]
    raise UserError(
      f"There is no model {name!r}; the nearest is {near!r}. Known: {', '.join(NAMES)}."
    )
  return importlib.import_module(f"mcr_jax.models.{name}").Model


def fields(name: str) -> dict[str, object]:
  """The fields of a model that a config may set, with their defaults."""
  default = lambda field: (
    field.default
    if field.default is not dataclasses.MISSING
    else field.default_factory()
  )
  return {
    field.name: default(field)
    for field in dataclasses.fields(load(name))
    if field.name not in GIVEN
  }


def build(name: str, **values) -> nn.Module:
  """A model; an unknown field is answered with the nearest one.

  Args:
    name: one of `NAMES`.
    **values: fields of its `Model`; lists become tuples.
  """
  known = [f.name for f in dataclasses.fields(load(name)) if f.name not in GIVEN[3:]]
  for field in values:
    if field not in known:
      near = difflib.get_close_matches(field, known, n=1, cutoff=0.0)[0]
      raise UserError(
        f"The model {name!r} has no field {field!r}; the nearest is {near!r}. "
        f"Known: {', '.join(known)}."
      )
  freeze = lambda v: tuple(map(freeze, v)) if isinstance(v, list | tuple) else v
  return load(name)(**{field: freeze(value) for field, value in values.items()})
