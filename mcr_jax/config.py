"""The config of a run: every field with its default, its type and its domain.

A config file sets some fields, `--config.group.field=value` sets some more, and the
rest are the defaults of this page and of the model's own dataclass. Whatever a run
used is in the one locked ConfigDict that `load` returns; a field that nobody knows, a
value of another type and a value that makes no sense are each one clear error.
"""

import ast
import difflib
import importlib.util
import json
import math
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_dict, config_flags

from mcr_jax.errors import UserError

GROUPS = {
  "seeds": (0, 1, 2, 3, 4),
  # -1 takes all devices that the other axis leaves.
  "mesh": {"seed": 1, "data": -1},
  "data": {
    "path": "",
    "name": "synthetic",
    "task": "auto",
    "aligned": False,
    "modalities": (),  # () = all, in the file's order
    "split": "split",
    "nonfinite": "error",
    "normalize": True,
    "clip": 5.0,  # in standard deviations; 0 = off
    "lengths": {},  # name -> longest length
    "overlong": "error",
    "buckets": 1,
    "trim": True,
    "placement": "auto",
    "modality_dropout": 0.0,
    "seed": 0,
  },
  "model": {"name": "mcr"},
  "loss": {"name": "auto", "gamma": 0.3, "class_weights": "none"},
  "optim": {
    "name": "adam",
    "lr": 1e-3,
    "b1": 0.9,
    "b2": 0.999,
    "eps": 1e-8,
    "weight_decay": 0.0,
    "clip": 1.0,  # of the global gradient norm; 0 = off
    "schedule": "constant",
    "warmup_steps": 0,
    "plateau_factor": 0.1,
    "plateau_patience": 10,
    "accumulate": 1,
  },
  "train": {
    "epochs": 40,
    "batch_size": 32,
    "eval_batch_size": 0,  # 0 = batch_size
    "patience": 0,  # epochs without a better validation value; 0 = never stop
    "monitor": "loss",
    "steps_per_call": 0,  # 0 = as many as fit the time bound
    "checkpoint_seconds": 30.0,
    "seeds_by": "auto",
    "remat": "auto",
    "init_from": "",
    "only": "all",
    "cache_dir": "",
  },
  "evals": {"metrics": "auto", "splits": ("valid", "test")},
}

CHOICES = {
  "data.task": ("auto", "regression", "multiclass", "binary"),
  "data.nonfinite": ("error", "zero"),
  "data.overlong": ("error", "truncate"),
  "data.placement": ("auto", "device", "stream"),
  "loss.class_weights": ("none", "balanced"),
  "optim.name": ("adam", "adamw"),
  "optim.schedule": ("constant", "cosine", "plateau"),
  "train.seeds_by": ("auto", "vmap", "map"),
  "train.remat": ("auto", "on", "off"),
  "train.only": ("all", "head"),
}

# Path -> (lower bound, whether it is allowed, upper bound, whether it is allowed).
_AT_LEAST_0 = (0, True, math.inf, False)
_AT_LEAST_1 = (1, True, math.inf, False)
_ABOVE_0 = (0, False, math.inf, False)
_DECAY = (0, True, 1, False)
RANGES = {
  "data.clip": _AT_LEAST_0,
  "data.buckets": _AT_LEAST_1,
  "data.modality_dropout": _DECAY,
  "data.seed": _AT_LEAST_0,
  "loss.gamma": (0, True, 1, True),
  "optim.lr": _ABOVE_0,
  "optim.b1": _DECAY,
  "optim.b2": _DECAY,
  "optim.eps": _ABOVE_0,
  "optim.weight_decay": _AT_LEAST_0,
  "optim.clip": _AT_LEAST_0,
  "optim.warmup_steps": _AT_LEAST_0,
  "optim.plateau_factor": (0, False, 1, False),
  "optim.plateau_patience": _AT_LEAST_1,
  "optim.accumulate": _AT_LEAST_1,
  "train.epochs": _AT_LEAST_1,
  "train.batch_size": _AT_LEAST_1,
  "train.eval_batch_size": _AT_LEAST_0,
  "train.patience": _AT_LEAST_0,
  "train.steps_per_call": _AT_LEAST_0,
  "train.checkpoint_seconds": _AT_LEAST_0,
}

_SPLITS = ("train", "valid", "test")


def default(model: str = "mcr") -> ConfigDict:
  """Every field that the trainer knows, with those of one model, unlocked."""
  return ConfigDict(_defaults(model))


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """The locked config of a file with the command line's overrides on top.

  Args:
    path: `configs/X.py`, or `configs/X.py:arg` for `get_config("arg")`.
    overrides: `--config.group.field=value` each, later ones win.
  """
  plain = _plain(_run_file(path))
  if not isinstance(plain, dict):
    raise UserError(f"{path}: get_config must return a ConfigDict, not {plain!r}.")
  # A file for one model with the name of another on the command line: only the
  # other's fields are then known.
  name = [o.split("=", 1)[1] for o in overrides if o.startswith(_MODEL_NAME)][-1:]
  if name and isinstance(plain.setdefault("model", {}), dict):
    _defaults(name[0])
    plain["model"]["name"] = name[0]
  try:
    config = complete(plain)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  return override(config, overrides)


def complete(config: Mapping | ConfigDict) -> ConfigDict:
  """The locked config with `config`'s fields, checked, and defaults for the rest."""
  plain = _plain(config)
  model = plain.get("model", {})
  name = model.get("name", "mcr") if isinstance(model, dict) else "mcr"
  merged = _merge(_defaults(name), plain, "")
  _validate(merged)
  return ConfigDict(merged).lock()


def override(config: ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A locked copy of a whole config with `--config.group.field=value` applied."""
  if not overrides:
    return complete(config)
  config = ConfigDict(_plain(config))
  arguments = [_prepare(config, argument) for argument in overrides]
  values = flags.FlagValues()
  argv = ["mcr_jax", *arguments]
  try:
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=argv)
    rest = values(argv)[1:]
  except (flags.Error, TypeError, ValueError, LookupError, AttributeError) as error:
    reason = str(error).strip().splitlines()[0] if str(error) else repr(error)
    raise UserError(_wrong_value(config, overrides, reason)) from error
  if rest:
    raise UserError(f"{rest[0]} is not of the form --config.group.field=value.")
  return complete(config)


def to_json(config: Mapping | ConfigDict) -> str:
  """The config as JSON text, one field a line; tuples become lists."""
  return json.dumps(_plain(config), indent=2) + "\n"


def from_json(text: str) -> ConfigDict:
  """The locked config that `to_json` wrote, equal in every value and type."""
  try:
    values = json.loads(text)
  except ValueError as error:
    raise UserError(f"This is not the JSON text of a config: {error}.") from error
  if not isinstance(values, dict):
    raise UserError(f"A config is a JSON object, not {text.strip()[:40]!r}.")
  return ConfigDict(_plain(values)).lock()


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


def flatten(config: Mapping | ConfigDict) -> dict[str, Any]:
  """The values of a config by dotted path, in its order."""
  flat = {}
  for key, value in _plain(config).items():
    if isinstance(value, dict) and value:
      flat |= {f"{key}.{path}": leaf for path, leaf in flatten(value).items()}
    else:
      flat[key] = value
  return flat


def nearest(name: str, known: Sequence[str]) -> str:
  """` Did you mean "x"?`, or nothing where no known name is similar."""
  close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f' Did you mean "{close[0]}"?' if close else ""


_MODEL_NAME = "--config.model.name="
_FREE = "data.lengths"  # a dict with keys of the user's; models may have more


def _defaults(model: str) -> dict:
  from mcr_jax import models  # flax takes seconds to import

  if not isinstance(model, str):
    raise UserError(f"model.name must be a str, not {type(model).__name__} {model!r}.")
  groups = _plain(GROUPS)
  groups["model"] = {"name": model, **_plain(models.fields(model))}
  return groups


def _plain(value: Any) -> Any:
  """The value in dicts, tuples and Python scalars only."""
  if isinstance(value, ConfigDict):
    value = value.copy_and_resolve_references().to_dict()
  if isinstance(value, Mapping):
    return {key: _plain(item) for key, item in value.items()}
  if isinstance(value, list | tuple):
    return tuple(_plain(item) for item in value)
  # NumPy's scalars, without importing NumPy for it.
  if hasattr(value, "item") and getattr(value, "shape", None) == ():
    return value.item()
  return value


def _merge(known: dict, given: dict, path: str) -> dict:
  """`known` with the values of `given`; an unknown name or type is an error."""
  merged = dict(known)
  for key, value in given.items():
    if key not in known:
      raise UserError(_unknown(known, path, key))
    field = f"{path}.{key}" if path else key
    merged[key] = _fit(known[key], value, field)
  return merged


def _fit(known: Any, value: Any, field: str) -> Any:
  """`value` as the type of the default `known`, where that loses nothing."""
  if isinstance(known, dict):
    if not isinstance(value, dict):
      raise UserError(_wrong_type(field, "a dict", value))
    # An empty dict is open: its keys are modality names.
    free = field in GROUPS or field == ""
    return _merge(known, value, field) if free else value
  if known is None or type(value) is type(known):
    return value
  if isinstance(known, float) and type(value) is int:
    return float(value)
  raise UserError(_wrong_type(field, type(known).__name__, value, known))


def _wrong_type(field: str, expected: str, value: Any, known: Any = None) -> str:
  example = "" if known is None else f" (the default is {known!r})"
  return f"{field} must be {expected}{example}, not {type(value).__name__} {value!r}."


def _unknown(known: dict, path: str, key: Any) -> str:
  where = f"config.{path}" if path else "config"
  hint = nearest(str(key), list(known))
  homes = [
    f"{group}.{key}" for group, f in GROUPS.items() if group != path and key in f
  ]
  homes = [home for home in homes if isinstance(GROUPS[home.split(".")[0]], dict)]
  if homes:
    hint = f' Did you mean "{homes[0]}"?'
  return f'{where} has no field "{key}".{hint} Known fields: {", ".join(known)}.'


def _prepare(config: ConfigDict, argument: str) -> str:
  """One override as config_flags takes it; its path must exist in `config`."""
  match = re.fullmatch(r"--?(no)?config\.([^=]+)(=.*)?", argument, re.DOTALL)
  if not match:
    raise UserError(f"{argument} is not of the form --config.group.field=value.")
  negated, path, text = match.groups()
  group, where = config, ""
  for name in path.split("."):
    if not isinstance(group, ConfigDict):
      raise UserError(f"--config.{path}: {where} is a value, not a group of fields.")
    if name not in group and where in (_FREE, *_open_fields(config)):
      group[name] = config_dict.placeholder(object)
    if name not in group:
      raise UserError(f"--config.{path}: {_unknown(group.to_dict(), where, name)}")
    group, where = group.get(name), f"{where}.{name}" if where else name
  if isinstance(group, ConfigDict) and where in GROUPS:
    raise UserError(
      f"--config.{path} is a group: set one of its fields, {', '.join(group)}."
    )
  if text is None and not negated and not isinstance(group, bool):
    raise UserError(f"{argument} has no value: write {argument}=VALUE.")
  if isinstance(group, tuple) and text is not None:
    return f"--config.{path}={_tuple(text[1:])!r}"
  return argument


def _open_fields(config: ConfigDict) -> list[str]:
  """The dict fields of the model, whose keys are modality names."""
  model = config.model
  return [f"model.{key}" for key in model if isinstance(model[key], ConfigDict)]


def _tuple(text: str) -> tuple:
  """`(0, 1)`, `[0, 1]`, `0,1`, `0`, `text,audio` and nothing, each as a tuple."""
  try:
    value = ast.literal_eval(text) if text.strip() else ()
  except (SyntaxError, ValueError):
    value = tuple(part.strip(" ()[]'\"") for part in text.split(",") if part.strip())
  return tuple(value) if isinstance(value, list | tuple) else (value,)


def _wrong_value(config: ConfigDict, overrides: Sequence[str], reason: str) -> str:
  """Which override the parser disliked, with the value it would replace."""
  for argument in reversed(overrides):
    path, _, text = argument.partition("=")
    path = path.removeprefix("--config.")
    if f"config.{path}=" in reason or len(overrides) == 1:
      value = config
      for name in path.split("."):
        value = value.get(name)
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
    there = (
      sorted(p.name for p in file.parent.glob("*.py")) if not file.is_dir() else []
    )
    raise UserError(f"The config file {name} {kind}.{nearest(file.name, there)}")
  # `configs.common` must be found from any folder, and from a copy of configs/.
  roots = [str(file.resolve().parent.parent), str(Path(__file__).parent.parent)]
  sys.path.extend(roots)
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
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__)
             if f.filename == str(file)]  # fmt: skip
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f"{name}, line {line}" if line else name
    reason = " ".join(str(error).split()) or "no message"
    raise UserError(f"{where}: {type(error).__name__}: {reason}") from error
  finally:
    for root in roots:
      sys.path.reverse()
      sys.path.remove(root)
      sys.path.reverse()


def _validate(config: dict) -> None:
  """Refuses values that no run could use."""
  flat = flatten(config)
  for path, choices in CHOICES.items():
    if flat[path] not in choices:
      hint = nearest(flat[path], choices)
      raise UserError(f"{path}={flat[path]!r} must be one of {choices}.{hint}")
  for path, (low, with_low, high, with_high) in RANGES.items():
    value = flat[path]
    above = value >= low if with_low else value > low
    below = value <= high if with_high else value < high
    if not (above and below):
      left, right = "([" [with_low], ")]"[with_high]  # fmt: skip
      raise UserError(f"{path}={value!r} must lie in {left}{low}, {high}{right}.")
  seeds = flat["seeds"]
  if not seeds or any(type(s) is not int or s < 0 for s in seeds):
    raise UserError(f"seeds={seeds!r} must be one or more integers of 0 or above.")
  if len(set(seeds)) < len(seeds):
    raise UserError(f"seeds={seeds!r} must differ from each other.")
  for axis, size in config["mesh"].items():
    if size != -1 and size < 1:
      raise UserError(f"mesh.{axis}={size} must be 1 or more, or -1 for all devices.")
  if set(config["mesh"].values()) == {-1}:
    raise UserError("mesh.seed and mesh.data cannot both be -1.")
  names = config["data"]["modalities"]
  if any(not isinstance(n, str) or not n for n in names) or len(set(names)) < len(
    names
  ):
    raise UserError(f"data.modalities={names!r} must be different names.")
  for name, length in config["data"]["lengths"].items():
    if type(length) is not int or length < 1:
      raise UserError(f"data.lengths.{name}={length!r} must be an integer above 0.")
  splits = config["evals"]["splits"]
  for split in splits:
    if split not in _SPLITS:
      raise UserError(f"evals.splits={splits!r} must be taken from {_SPLITS}.")
