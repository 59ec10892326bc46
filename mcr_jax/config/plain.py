"""A config as plain values, as dotted paths, as text, and beside another one."""

import json
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.errors import UserError


def plain(value: Any) -> Any:
  """The value in dicts, tuples and Python scalars only."""
  if isinstance(value, ConfigDict):
    value = value.copy_and_resolve_references().to_dict()
  if isinstance(value, Mapping):
    return {key: plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return tuple(plain(item) for item in value)
  # NumPy's scalars, without importing NumPy for it.
  if hasattr(value, "item") and getattr(value, "shape", None) == ():
    return value.item()
  return value


def flatten(config: Mapping | ConfigDict) -> dict[str, Any]:
  """The values of a config by dotted path, in its order."""
  flat = {}
  for key, value in plain(config).items():
    if isinstance(value, dict) and value:
      flat |= {f"{key}.{path}": leaf for path, leaf in flatten(value).items()}
    else:
      flat[key] = value
  return flat


def to_json(config: Mapping | ConfigDict) -> str:
  """The config as JSON text, one field a line; tuples become lists."""
  return json.dumps(plain(config), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
  """The locked config that `to_json` wrote, equal in every value and type."""
  try:
    values = json.loads(text)
  except ValueError as error:
    raise UserError(f"This is not the JSON text of a config: {error}.") from error
  if not isinstance(values, dict):
    raise UserError(f"A config is a JSON object, not {text.strip()[:40]!r}.")
  return ConfigDict(plain(values)).lock()


def difference(a: Mapping | ConfigDict, b: Mapping | ConfigDict) -> list[str]:
  """One line for each field that differs: `train.epochs: 40 -> 50`."""
  a, b = flatten(a), flatten(b)
  show = lambda values, path: repr(values[path]) if path in values else "absent"
  paths = [*a, *(path for path in b if path not in a)]
  # repr, because 1 == 1.0 == True and because NaN differs from itself.
  return [
    f"{path}: {show(a, path)} -> {show(b, path)}"
    for path in paths
    if show(a, path) != show(b, path)
  ]
