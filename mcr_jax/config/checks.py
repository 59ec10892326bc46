"""Whether a whole config makes sense, field by field and between fields."""

import re
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config.groups import Phase
from mcr_jax.config.plain import flatten
from mcr_jax.errors import UserError
from mcr_jax.field import Domain, domain

PHASE = {name: domain(f) for name, f in Phase.__dataclass_fields__.items()}


def validate(config: Mapping[str, Any], domains: Mapping[str, Domain]) -> None:
  """Refuses values that no run could use.

  Args:
    config: with every field, in plain values.
    domains: what each may be, by dotted path.
  """
  for path, found in domains.items():
    value = config
    for name in path.split("."):
      value = value[name]
    found.check(path, value)
  for path, value in flatten(config).items():
    if isinstance(value, str) and "\0" in value:
      raise UserError(f"{path}={value!r} holds a zero byte, which no name can have.")
  _seeds(config["seeds"])
  _mesh(config["mesh"])
  if not any(config["loss"]["weights"].values()):
    raise UserError(f"loss.weights={config['loss']['weights']} minimise nothing.")
  _folds(config["data"], len(config["seeds"]))
  _multipliers(config["optim"]["multipliers"])
  _phases(config["train"])


def epochs_are_fixed(config: Mapping | ConfigDict) -> str:
  """Why training cannot go on beyond the epochs of a config, or ""."""
  train, optim = config["train"], config["optim"]
  if optim["schedule"] == "cosine":
    return "optim.schedule=cosine divides the rate among all of them"
  phases = sum(phase["epochs"] for phase in train["phases"])
  if phases == train["epochs"]:
    return f"train.phases take all {phases} of them"
  return ""


def _seeds(seeds: tuple) -> None:
  if not seeds or len(set(seeds)) < len(seeds):
    raise UserError(f"seeds={seeds!r} must be one or more different integers.")


def _mesh(mesh: Mapping[str, int]) -> None:
  for axis, size in mesh.items():
    if size == 0:
      raise UserError(f"mesh.{axis}=0 must be 1 or more, or -1 for all devices.")
  if set(mesh.values()) == {-1}:
    raise UserError("mesh.seed=-1 and mesh.data=-1 cannot both take all devices.")


def _folds(data: Mapping[str, Any], seeds: int) -> None:
  folds, fold = data["folds"], data["fold"]
  if folds in (1, 2):
    raise UserError(
      f"data.folds={folds} must be 0, or 3 or more: one tests, one validates, and the "
      "rest trains."
    )
  if fold >= folds * data["fold_repeats"]:
    known = f"-1 to {folds * data['fold_repeats'] - 1}" if folds else "-1 without folds"
    raise UserError(f"data.fold={fold} must be {known}.")
  right = 1 if fold >= 0 else data["fold_repeats"]
  if folds and data["fold_seeds"] == "own" and seeds != right:
    raise UserError(
      f"data.fold_seeds='own' gives every repeat of the folds one seed: {seeds} seeds "
      f"do not fit data.fold={fold} and data.fold_repeats={data['fold_repeats']}."
    )


def _multipliers(multipliers: tuple) -> None:
  factor = Domain(low=0)
  for pair in multipliers:
    if not isinstance(pair, tuple) or [type(x) for x in pair] not in (
      [str, float],
      [str, int],
    ):
      raise UserError(
        f"optim.multipliers={multipliers!r} must be pairs of a pattern and a factor, "
        "such as (('encoder/.*', 0.1),)."
      )
    _pattern("optim.multipliers", pair[0])
    factor.check(f"optim.multipliers: the factor of {pair[0]!r}", pair[1])


def _phases(train: Mapping[str, Any]) -> None:
  for number, phase in enumerate(train["phases"]):
    path = f"train.phases.{number}"
    for name, found in PHASE.items():
      found.check(f"{path}.{name}", phase[name])
    if not phase["trainable"]:
      raise UserError(f"{path}.trainable=() trains nothing.")
    for pattern in phase["trainable"]:
      _pattern(f"{path}.trainable", pattern)
  total = sum(phase["epochs"] for phase in train["phases"])
  if total > train["epochs"]:
    raise UserError(
      f"train.phases take {total} epochs, and train.epochs={train['epochs']}: right is "
      f"{total} or more."
    )


def _pattern(path: str, pattern: str) -> None:
  try:
    re.compile(pattern)
  except re.error as error:
    raise UserError(f"{path}={pattern!r} is no regular expression: {error}.") from error
