"""The config of a run: a file on top of the defaults, the command line on top of both.

Whatever a run used is in the one locked ConfigDict that `load` returns; a field that
nobody knows, a value of another type and a value that makes no sense (`fields.py`) are
each one clear error.
"""

import ast
import importlib.util
import json
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from mcr_jax import fields
from mcr_jax.data.schema import canonical
from mcr_jax.errors import UserError


def default(model: str = "mcr") -> ConfigDict:
  """Every field that the trainer knows, with those of one model, unlocked."""
  return ConfigDict(fields.defaults(model))


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """The locked config of a file with the command line's overrides on top.

  Args:
    path: `configs/X.py`, or `configs/X.py:arg` for `get_config("arg")`.
    overrides: `--config.group.field=value` each, later ones win.
  """
  plain = fields.plain(_run_file(path))
  if not isinstance(plain, dict):
    raise UserError(f"{path}: get_config must return a ConfigDict, not {plain!r}.")
  names = [o for o in overrides if o.startswith("--config.model.name=")]
  if names and isinstance(plain.setdefault("model", {}), dict):
    plain["model"] = _other_model(plain["model"], names[-1].split("=", 1)[1], path)
  try:
    config = complete(plain)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  return override(config, overrides)


def complete(config: Mapping | ConfigDict) -> ConfigDict:
  """The locked config with `config`'s fields, checked, and defaults for the rest."""
  plain = fields.plain(config)
  model = plain.get("model", {})
  name = model.get("name", "mcr") if isinstance(model, dict) else "mcr"
  if not isinstance(name, str):
    raise UserError(f"model.name must be str, not {type(name).__name__} {name!r}.")
  merged = _canonical(fields.merge(fields.defaults(name), plain, ""))
  fields.validate(merged)
  return ConfigDict(merged).lock()


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A locked copy of a whole config with `--config.group.field=value` applied."""
  if not overrides:
    return complete(config)
  config = ConfigDict(fields.plain(config))
  # The last one wins, also of tuples, whose flags would add up.
  last = {argument.split("=", 1)[0]: argument for argument in overrides}
  arguments = [_prepare(config, argument) for argument in last.values()]
  values = flags.FlagValues()
  argv = ["mcr_jax", *arguments]
  try:
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    rest = values(argv)[1:]
  except (flags.Error, TypeError, ValueError, LookupError, AttributeError) as error:
    reason = str(error).strip().splitlines()[0] if str(error) else repr(error)
    raise UserError(_wrong_value(config, list(last.values()), reason)) from error
  if rest:
    raise UserError(f"{rest[0]} is not of the form --config.group.field=value.")
  return complete(config)


def to_json(config: Mapping | ConfigDict) -> str:
  """The config as JSON text, one field a line; tuples become lists."""
  return json.dumps(fields.plain(config), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
  """The locked config that `to_json` wrote, equal in every value and type."""
  try:
    values = json.loads(text)
  except ValueError as error:
    raise UserError(f"This is not the JSON text of a config: {error}.") from error
  if not isinstance(values, dict):
    raise UserError(f"A config is a JSON object, not {text.strip()[:40]!r}.")
  return ConfigDict(fields.plain(values)).lock()


def difference(a: Mapping | ConfigDict, b: Mapping | ConfigDict) -> list[str]:
  """One line for each field that differs: `train.epochs: 40 -> 50`."""
  a, b = fields.flatten(a), fields.flatten(b)
  show = lambda values, path: repr(values[path]) if path in values else "absent"
  paths = [*a, *(path for path in b if path not in a)]
  # repr, because 1 == 1.0 == True and because NaN differs from itself.
  return [
    f"{path}: {show(a, path)} -> {show(b, path)}"
    for path in paths
    if show(a, path) != show(b, path)
  ]


def _other_model(group: dict, name: str, path: str) -> dict:
  """The model fields of a file for another model, without those that it lacks."""
  known = fields.defaults(name)["model"]
  theirs = fields.defaults(group.get("name", "mcr"))["model"]
  # What neither model has is a typo, and stays to be found as one.
  foreign = [field for field in group if field in theirs and field not in known]
  if foreign:
    print(
      f"note: {name} has no model field {', '.join(foreign)}: what {path} sets for "
      f"{group.get('name', 'mcr')} does not apply.",
      file=sys.stderr,
    )
  kept = {field: value for field, value in group.items() if field not in foreign}
  return kept | {"name": name}


def _canonical(config: dict) -> dict:
  """The config with the names that mcr_jax uses for modalities, wherever they stand."""

  def rename(value, path):
    if isinstance(value, dict):
      renamed = {canonical(key): item for key, item in value.items()}
      if len(renamed) < len(value):
        raise UserError(f"{path} names a modality twice: {', '.join(value)}.")
      return renamed
    if isinstance(value, tuple):
      return tuple(rename(item, path) for item in value)
    return canonical(value) if isinstance(value, str) else value

  groups = {group: dict(config[group]) for group, _ in fields.MODALITIES}
  for group, field in fields.MODALITIES:
    if field in groups[group]:
      groups[group][field] = rename(groups[group][field], f"{group}.{field}")
  return config | groups


def _prepare(config: ConfigDict, argument: str) -> str:
  """One override as config_flags takes it; its path must exist in `config`."""
  match = re.fullmatch(r"--?(no)?config\.([^=]+)(=.*)?", argument, re.DOTALL)
  if not match:
    raise UserError(f"{argument} is not of the form --config.group.field=value.")
  negated, path, text = match.groups()
  if negated and text is not None:
    raise UserError(f"{argument}: what is switched off has no value.")
  parts = path.split(".")
  if tuple(parts[:2]) in fields.MODALITIES:
    parts[2:] = map(canonical, parts[2:])
    path = ".".join(parts)
    argument = f"--{negated or ''}config.{path}{text or ''}"
  group, where = config, ""
  for name in path.split("."):
    if not isinstance(group, ConfigDict):
      raise UserError(f"--config.{path}: {where} is a value, not a group of fields.")
    if name not in group:
      if where in ("", *fields.GROUPS):
        known = list(group)
        raise UserError(f"--config.{path}: {fields.unknown(known, where, name)}")
      group[name] = config_dict.placeholder(object)  # a dict by modality name
    group, where = group.get(name), f"{where}.{name}" if where else name
  if isinstance(group, ConfigDict) and where in fields.GROUPS:
    raise UserError(
      f"--config.{path} is a group: set one of its fields, {', '.join(group)}."
    )
  if negated and not isinstance(group, bool):
    kind = type(group).__name__
    raise UserError(
      f"{argument}: only what is True or False can be switched off, and {path} is "
      f"{kind}: write --config.{path}=VALUE."
    )
  if text is None and not negated and not isinstance(group, bool):
    raise UserError(f"{argument} has no value: write {argument}=VALUE.")
  if isinstance(group, tuple) and text is not None:
    return f"--config.{path}={_tuple(path, text[1:])!r}"
  return argument


def _tuple(path: str, text: str) -> tuple:
  """`(0, 1)`, `[0, 1]`, `0,1`, `0`, `text,audio` and nothing, each as a tuple."""
  text = text.strip()
  try:
    value = ast.literal_eval(text) if text else ()
  except (SyntaxError, ValueError):
    inner = text
    if text[:1] + text[-1:] in ("()", "[]"):
      inner = text[1:-1]
    value = tuple(part.strip(" '\"") for part in inner.split(",") if part.strip())
    if re.search(r"[()\[\]]", inner):
      raise UserError(
        f"--config.{path}={text}: brackets do not match; right are text,audio and "
        "(text,audio)."
      ) from None
  return tuple(value) if isinstance(value, list | tuple) else (value,)


def _wrong_value(config: ConfigDict, overrides: Sequence[str], reason: str) -> str:
  """Which override the parser disliked, with the value it would replace."""
  for argument in reversed(overrides):
    path, _, text = argument.partition("=")
    path = re.sub("^--?(no)?config[.]", "", path)
    if f"config.{path}=" in reason or len(overrides) == 1:
      value = config
      for name in path.split("."):
        value = value.get(name)
      value = fields.plain(value)
      kind = type(value).__name__
      return f"{path} must be {kind} (it is {value!r}), not {text!r}."
  return f"The config cannot be overridden: {reason}"


def _run_file(path: str) -> Any:
  """What `get_config` of a config file returns."""
  name, argument = path, None
  if not Path(path).is_file() and ":" in path:
    name, argument = path.rsplit(":", 1)
  file = Path(name)
  if not file.is_file():
    kind = "is a folder" if file.is_dir() else "does not exist"
    hint = fields.nearest(file.name, [p.name for p in file.parent.glob("*.py")])
    raise UserError(f"The config file {name} {kind}.{hint}")
  path_before = list(sys.path)
  # `configs.common` must be found from any folder, and from a copy of configs/.
  sys.path += [str(file.resolve().parent.parent), str(Path(__file__).parent.parent)]
  try:
    spec = importlib.util.spec_from_file_location("mcr_jax_config_file", file)
    if spec is None or spec.loader is None:
      raise UserError(f"The config file {name} must be a Python file, X.py.")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, "get_config", None)):
      raise UserError(f"The config file {name} has no function get_config(arg).")
    return module.get_config() if argument is None else module.get_config(argument)
  except UserError:
    raise
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f"{name}, line {line}" if line else name
    reason = " ".join(str(error).split()) or "no message"
    raise UserError(f"{where}: {type(error).__name__}: {reason}") from error
  finally:
    sys.path[:] = path_before
