"""A whole config from a part of one: defaults, types, names of modalities, checks."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config import checks, chosen
from mcr_jax.config.groups import GROUPS, Config, Phase
from mcr_jax.config.plain import plain
from mcr_jax.data.schema import canonical
from mcr_jax.errors import UserError, choose, nearest
from mcr_jax.field import Domain, domain

WHICH = ("name", "file")  # of a `model` group: what chooses the model
# Fields that hold the path of a file or folder.
PATHS = (
  ("data", "path"),
  ("data", "vectors"),
  ("train", "init_from"),
  ("train", "cache_dir"),
)


def default(model: str = "mcr") -> ConfigDict:
  """Every field that the trainer knows, with those of one model, unlocked."""
  return ConfigDict(defaults({"name": model}))


def complete(config: Mapping | ConfigDict) -> ConfigDict:
  """The locked config with `config`'s fields, checked, and defaults for the rest.

  Raises:
    UserError: names the field that nobody knows, or that cannot have its value.
  """
  given = plain(config)
  model = given.get("model", {})
  known = defaults(model if isinstance(model, dict) else {})
  merged = merge(known, given, "")
  merged["model"] |= chosen.name_and_file(merged["model"])
  for group, name in PATHS:
    merged[group][name] = os.path.expanduser(merged[group][name])
  merged["train"]["phases"] = _phases(merged["train"]["phases"])
  of_fields = domains(merged["model"])
  for path, found in of_fields.items():
    if found.modalities:
      group, name = path.split(".")
      merged[group][name] = _canonical(merged[group][name], path)
  checks.validate(merged, of_fields)
  if merged["loss"]["gamma"] and not known["loss"]["gamma"]:
    raise UserError(
      f"loss.gamma={merged['loss']['gamma']!r}: {merged['model']['name']} joins no "
      "loss to that of the task; right is 0."
    )
  return ConfigDict(merged).lock()


def defaults(model: Mapping[str, Any]) -> dict[str, Any]:
  """Every group with its defaults, for the model that a `model` group chooses."""
  groups = plain(dataclasses.asdict(Config()))
  which = merge(
    groups["model"], {k: v for k, v in model.items() if k in WHICH}, "model"
  )
  groups["model"] = which | plain(chosen.defaults(which))
  groups["loss"] |= plain(chosen.loss(which))
  groups["train"]["phases"] = plain(chosen.phases(which))
  return groups


def domains(model: Mapping[str, Any]) -> dict[str, Domain]:
  """What every field of a config with this `model` group may be, by dotted path."""
  found = {
    f.name: domain(f) for f in dataclasses.fields(Config) if f.name not in GROUPS
  }
  for group, of in GROUPS.items():
    found |= {f"{group}.{f.name}": domain(f) for f in dataclasses.fields(of)}
  return found | {f"model.{k}": v for k, v in chosen.domains(model).items()}


def merge(known: Mapping, given: Mapping, path: str) -> dict[str, Any]:
  """`known` with the values of `given`; an unknown name or type is an error."""
  merged = dict(known)
  for key, value in given.items():
    if key not in known:
      raise UserError(unknown(list(known), path, str(key)))
    field = f"{path}.{key}" if path else key
    merged[key] = _fit(known[key], value, field)
  return merged


def unknown(known: Sequence[str], path: str, key: str) -> str:
  """The message for a field that its group `path` does not have."""
  where = f"config.{path}" if path else "config"
  homes = [f"{g}.{key}" for g, of in GROUPS.items() if key in of.__dataclass_fields__]
  close = get_close_matches(key, known, n=1, cutoff=0.8)
  homes = close + homes if homes else []  # `seed` may be `seeds`, too
  hint = f" Did you mean {' or '.join(homes)}?" if homes else nearest(key, known)
  return f'{where} has no field "{key}".{hint} Known fields: {", ".join(known)}.'


def _fit(known: Any, value: Any, field: str) -> Any:
  """`value` as the type of the default `known`, where that loses nothing."""
  if isinstance(known, dict):
    if not isinstance(value, dict):
      raise UserError(f"{field}={value!r} must be a dict.")
    if field == "loss.weights":
      for name in value:
        choose(name, known, "A loss of loss.weights")
      return known | {k: float(w) if type(w) is int else w for k, w in value.items()}
    # Below the groups, the keys of a dict are names of modalities: any will do.
    return merge(known, value, field) if field in GROUPS else value
  if type(value) is type(known):
    return value
  if isinstance(known, float) and type(value) is int:
    return float(value)
  kind = type(known).__name__
  raise UserError(f"{field}={value!r} must be {kind} (the default is {known!r}).")


def _phases(given: tuple) -> tuple:
  """The dicts of `train.phases` with all their fields."""
  known, found = plain(dataclasses.asdict(Phase())), []
  for number, phase in enumerate(given):
    path = f"train.phases.{number}"
    if not isinstance(phase, dict) or "epochs" not in phase:
      raise UserError(f"{path}={phase!r} must be a dict with `epochs` in it.")
    found.append(merge(known, phase, path))
  return tuple(found)


def _canonical(value: Any, path: str) -> Any:
  """The value with the names that mcr_jax uses for modalities."""
  if isinstance(value, dict):
    renamed = {canonical(key): item for key, item in value.items()}
    if len(renamed) < len(value):
      raise UserError(f"{path} names a modality twice: {', '.join(value)}.")
    return renamed
  if isinstance(value, tuple):
    return tuple(_canonical(item, path) for item in value)
  return canonical(value) if isinstance(value, str) else value
