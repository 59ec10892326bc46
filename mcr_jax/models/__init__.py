"""The models by name: every module of this package, each with one class `Model`."""

import dataclasses
import functools
import hashlib
import importlib
import importlib.util
import os
import pkgutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcr_jax import contract
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError, choose, nearest
from mcr_jax.field import Domain, domain

# What the data decides, and what Flax adds; everything else is a field of config.model.
NOT_CONFIGURED = ("spec", "parent", "name")


@functools.cache
def names() -> tuple[str, ...]:
  """All models, in alphabetical order: the modules that lie here."""
  found = (module.name for module in pkgutil.iter_modules(__path__))
  return tuple(sorted(name for name in found if not name.startswith("_")))


def load(name: str) -> type[contract.Model]:
  """The class of a model; an unknown name is answered with the nearest one."""
  choose(name, names(), "model.name")
  return importlib.import_module(f"mcr_jax.models.{name}").Model


def load_file(path: str | os.PathLike) -> type[contract.Model]:
  """The class `Model` of a file of one's own; the same class while the file stays.

  Raises:
    UserError: there is no such file, it does not run, or what it has is no model.
  """
  path = Path(path).expanduser().absolute()
  try:
    text = path.read_bytes()
  except OSError as error:
    raise UserError(f"model.file={path}: {error.strerror}.") from None
  return _load_text(path, hashlib.sha256(text).hexdigest())


def fields(model: str | type[contract.Model]) -> dict[str, Any]:
  """The fields of a model that a config may set, with their defaults."""
  absent = dataclasses.MISSING
  return {
    f.name: f.default_factory() if f.default_factory is not absent else f.default
    for f in _fields(model)
  }


def domains(model: str | type[contract.Model]) -> dict[str, Domain]:
  """What the values of these fields may be."""
  return {f.name: domain(f) for f in _fields(model)}


def build(
  name: str | type[contract.Model], spec: Spec, **values: Any
) -> contract.Model:
  """A model for data of a `spec`.

  Args:
    name: one of `names()`, or a class as `load_file` gives it.
    spec: what the data decides.
    **values: fields of the model; lists become tuples.

  Raises:
    UserError: the model is not for such data, or has no such field or value.
  """
  kind = _kind(name)
  _check_data(kind.card, spec)
  known = domains(kind)
  for field, value in values.items():
    if field not in known:
      raise UserError(
        f"{kind.card.title} has no field {field!r}.{nearest(field, known)} Known: "
        f"{', '.join(known) or 'none'}."
      )
    values[field] = value = _frozen(value)
    known[field].check(f"model.{field}", value)
    if known[field].modalities:
      for modality in (value,) if isinstance(value, str) else value:
        if modality:  # no name is none of them
          choose(modality, spec.modalities, f"A modality of model.{field}")
  return kind(spec, **values)


def _check_data(card: contract.Card, spec: Spec) -> None:
  fewest, most = card.modalities
  count = len(spec.modalities)
  if count < fewest or most is not None and count > most:
    right = f"{fewest} to {most}" if most is not None else f"at least {fewest}"
    right = f"{fewest}" if fewest == most else right
    raise UserError(
      f"{card.title} takes {right} modalities; the data has {count}: "
      f"{', '.join(spec.modalities) or 'none'}. data.modalities chooses among them."
    )
  if spec.unit != card.unit:
    raise UserError(
      f"A sample of {card.title} is a {card.unit}; that of the data is a {spec.unit}."
    )


def _kind(model: str | type[contract.Model]) -> type[contract.Model]:
  return load(model) if isinstance(model, str) else model


def _fields(model: str | type[contract.Model]) -> list[dataclasses.Field]:
  return [f for f in dataclasses.fields(_kind(model)) if f.name not in NOT_CONFIGURED]


@functools.cache
def _load_text(path: Path, digest: str) -> type[contract.Model]:
  # Known by what it holds: two versions of a file are two modules.
  name = f"mcr_jax_model_{digest[:16]}"
  spec = importlib.util.spec_from_file_location(name, path)
  if spec is None:
    raise UserError(f"model.file={path} must be a file of Python, such as model.py.")
  module = importlib.util.module_from_spec(spec)
  sys.modules[name] = module  # dataclasses look up their annotations there
  try:
    spec.loader.exec_module(module)
    return _checked(module, path)
  except UserError:
    del sys.modules[name]
    raise
  except (Exception, SystemExit) as error:
    del sys.modules[name]
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    raise UserError(f"model.file={path} does not import: {what}.") from error


def _checked(module: Any, path: Path) -> type[contract.Model]:
  kind = getattr(module, "Model", None)
  if not (isinstance(kind, type) and issubclass(kind, contract.Model)):
    raise UserError(f"model.file={path} has no `class Model(mcr_jax.contract.Model)`.")
  if not isinstance(getattr(kind, "card", None), contract.Card):
    raise UserError(f"model.file={path}: its Model has no `card = Card(title)`.")
  for name, known in contract.STATED.items():
    choose(getattr(kind.card, name), known, f"model.file={path}: card.{name}")
  absent = dataclasses.MISSING
  for field in _fields(kind):
    if field.name == "file":
      raise UserError(f"model.file={path}: its Model has a field 'file', a name taken.")
    if field.default is absent and field.default_factory is absent:
      raise UserError(
        f"model.file={path}: the field {field.name!r} of its Model has no default, "
        "which a config needs."
      )
  return kind


def _frozen(value: Any) -> Any:
  if isinstance(value, Mapping):
    return {name: _frozen(item) for name, item in value.items()}
  return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
