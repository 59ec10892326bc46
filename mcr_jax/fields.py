"""The fields of a config: each with its default, its type and its domain.

The model's own fields are those of its dataclass, checked here by their kind;
everything else is on this page.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

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
    "label": "label",  # another array of the file, such as label_T of CH-SIMS
    "split": "split",
    "align": "",  # .csd files: the modality whose intervals the others are pooled to
    "features": {},  # MERBench folders: modality -> feature folder
    "nonfinite": "error",
    "normalize": True,
    "clip": 5.0,  # in standard deviations; 0 = off
    "lengths": {},  # name -> longest length
    "overlong": "error",
    "buckets": 1,
    "trim": True,
    "placement": "auto",
    "pipeline": "auto",  # of data that streams: tf.data where it is installed
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
  "data.pipeline": ("auto", "tf.data", "threads"),
  "train.seeds_by": ("auto", "vmap", "map"),
  "train.only": ("all", "head"),
}

# Path -> (lower bound, whether it is allowed, upper bound, whether it is allowed).
_AT_LEAST_0 = (0, True, math.inf, False)
_AT_LEAST_1 = (1, True, math.inf, False)
_ABOVE_0 = (0, False, math.inf, False)
_DECAY = (0, True, 1, False)
_FINITE = (-math.inf, False, math.inf, False)
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

SPLITS = ("train", "valid", "test")
DTYPES = ("", "float32", "bfloat16", "float16", "float64")
# All other whole numbers of a model count something that it cannot do without.
MAY_BE_0 = ("concat.depth", "mult.self_layers", "tfn.width")

# Fields that name modalities, by group.
MODALITIES = (
  ("data", "modalities"),
  ("data", "lengths"),
  ("data", "features"),
  ("data", "align"),
  ("model", "targets"),
  ("model", "kernels"),
  ("model", "main"),
  ("model", "auxiliaries"),
  ("model", "made"),
)


def defaults(model: str) -> dict:
  """All groups with their defaults, and those of one model."""
  from mcr_jax import models  # flax takes seconds to import

  groups = plain(GROUPS)
  groups["model"] = {"name": model, **plain(models.fields(model))}
  return groups


def merge(known: dict, given: dict, path: str) -> dict:
  """`known` with the values of `given`; an unknown name or type is an error."""
  merged = dict(known)
  for key, value in given.items():
    if key not in known:
      raise UserError(unknown(list(known), path, str(key)))
    field = f"{path}.{key}" if path else key
    merged[key] = _fit(known[key], value, field)
  return merged


def validate(config: dict) -> None:
  """Refuses values that no run could use."""
  flat = flatten(config)
  for path, choices in CHOICES.items():
    _check_choice(path, flat[path], choices)
  for path, limits in RANGES.items():
    _check_range(path, flat[path], limits)
  seeds = flat["seeds"]
  if not seeds or any(type(s) is not int or not 0 <= s < 2**32 for s in seeds):
    raise UserError(
      f"seeds={seeds!r} must be one or more integers from 0 to 2**32 - 1."
    )
  if len(set(seeds)) < len(seeds):
    raise UserError(f"seeds={seeds!r} must differ from each other.")
  for axis, size in config["mesh"].items():
    if size != -1 and size < 1:
      raise UserError(f"mesh.{axis}={size} must be 1 or more, or -1 for all devices.")
  if set(config["mesh"].values()) == {-1}:
    raise UserError("mesh.seed and mesh.data cannot both be -1.")
  _check_names("data.modalities", config["data"]["modalities"])
  _check_counts("data.lengths", config["data"]["lengths"])
  for name, folder in config["data"]["features"].items():
    if not isinstance(folder, str):
      raise UserError(f"data.features.{name}={folder!r} must be the name of a folder.")
  _check_model(config["model"])
  splits = config["evals"]["splits"]
  if any(split not in SPLITS for split in splits) or len({*splits}) < len(splits):
    raise UserError(f"evals.splits={splits!r} must be taken from {SPLITS}, each once.")
  for path, value in flat.items():
    if isinstance(value, str) and "\0" in value:
      raise UserError(f"{path}={value!r} holds a zero byte, which no name can have.")


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


def unknown(known: Sequence[str], path: str, key: str) -> str:
  """The message for a field that its group `path` does not have."""
  where = f"config.{path}" if path else "config"
  homes = [f"{g}.{key}" for g, f in GROUPS.items() if isinstance(f, dict) and key in f]
  hint = f" Did you mean {' or '.join(homes)}?" if homes else nearest(key, known)
  return f'{where} has no field "{key}".{hint} Known fields: {", ".join(known)}.'


def nearest(name: str, known: Sequence[str]) -> str:
  """` Did you mean "x"?`, or nothing where no known name is similar."""
  close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
  return f' Did you mean "{close[0]}"?' if close else ""


def _check_model(model: Mapping[str, Any]) -> None:
  """What holds of every model's fields; the model itself knows how they go together."""
  for field, value in model.items():
    path = f"model.{field}"
    if field == "dtype":
      _check_choice(path, value, DTYPES)
    elif field.endswith("dropout"):
      _check_range(path, value, _DECAY)
    elif type(value) is int:
      may_be_0 = f"{model['name']}.{field}" in MAY_BE_0
      _check_range(path, value, _AT_LEAST_0 if may_be_0 else _AT_LEAST_1)
    elif isinstance(value, float):
      _check_range(path, value, _FINITE)
    elif isinstance(value, dict):
      _check_counts(path, value)
    elif isinstance(value, tuple):
      _check_names(path, value)


def _check_choice(path: str, value: Any, choices: Sequence[str]) -> None:
  if value not in choices:
    hint = nearest(value, choices)
    raise UserError(f"{path}={value!r} must be one of {choices}.{hint}")


def _check_range(path: str, value: float | int, limits: tuple) -> None:
  low, with_low, high, with_high = limits
  above = value >= low if with_low else value > low
  below = value <= high if with_high else value < high
  if not (above and below):
    left, right = "([" [with_low], ")]"[with_high]  # fmt: skip
    raise UserError(f"{path}={value!r} must lie in {left}{low}, {high}{right}.")


def _check_names(path: str, names: tuple) -> None:
  named = all(isinstance(name, str) and name for name in names)
  if not named or len(set(names)) < len(names):
    raise UserError(f"{path}={names!r} must be different names.")


def _check_counts(path: str, counts: Mapping[str, Any]) -> None:
  for name, count in counts.items():
    if type(count) is not int or not 1 <= count < 2**31:
      raise UserError(
        f"{path}.{name}={count!r} must be an integer from 1 to 2**31 - 1."
      )


def _fit(known: Any, value: Any, field: str) -> Any:
  """`value` as the type of the default `known`, where that loses nothing."""
  if isinstance(known, dict):
    if not isinstance(value, dict):
      raise UserError(_wrong_type(field, "a dict", value))
    # Below the groups, the keys of a dict are names of modalities: any will do.
    return merge(known, value, field) if field in GROUPS else value
  if type(value) is type(known):
    return value
  if isinstance(known, float) and type(value) is int:
    return float(value)
  raise UserError(_wrong_type(field, type(known).__name__, value, known))


def _wrong_type(field: str, expected: str, value: Any, known: Any = None) -> str:
  example = "" if known is None else f" (the default is {known!r})"
  return f"{field} must be {expected}{example}, not {type(value).__name__} {value!r}."
