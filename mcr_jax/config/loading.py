"""From a config file and the command line to the config of a run."""

import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config import files
from mcr_jax.config.completion import complete, defaults
from mcr_jax.config.overrides import override
from mcr_jax.config.plain import plain
from mcr_jax.errors import UserError

OF_MODELS = ("model", "loss", "train")  # groups with defaults that a model decides


def load(path: str, overrides: Sequence[str] = ()) -> ConfigDict:
  """The locked config of a file with the command line's overrides on top.

  Args:
    path: `X.py` or the name of a shipped config, such as `mcr_mosi`; `:ARG` behind
      either is the argument of its `get_config`.
    overrides: see `override`. Another model takes what it has fields for.
  """
  found = plain(files.call(path, "get_config"))
  if not isinstance(found, dict):
    raise UserError(f"{path}: get_config must return a ConfigDict, not {found!r}.")
  pattern = r"--?config\.model\.(name|file)=(.*)"
  which = dict(m.groups() for m in (re.fullmatch(pattern, o) for o in overrides) if m)
  try:
    if which and all(isinstance(found.get(g, {}), dict) for g in OF_MODELS):
      found, foreign = for_model(found, which)
      if foreign:
        print(
          f"note: what {path} sets does not apply to {[*which.values()][-1]}: "
          f"{', '.join(foreign)}.",
          file=sys.stderr,
        )
    config = complete(found)
  except UserError as error:
    raise UserError(f"{path}: {error}") from error
  return override(config, overrides)


def for_model(
  config: Mapping[str, Any], which: Mapping[str, str]
) -> tuple[dict[str, Any], list[str]]:
  """A config for another model, and the paths of what that one does not have.

  What neither of the two has is a typo, and stays to be found as one.

  Args:
    config: plain values, whole or not.
    which: `name` or `file` of the other model.
  """
  config = {"model": {}, "loss": {}, "train": {}, **config}
  before, after = defaults(config["model"]), defaults({**config["model"], **which})
  loss, train, foreign = dict(config["loss"]), dict(config["train"]), []

  def fitting(path, given, known, new):
    lacking = [name for name in given if name in known and name not in new]
    foreign.extend(f"{path}.{name}" for name in lacking)
    return {name: value for name, value in given.items() if name not in lacking}

  model = fitting("model", config["model"], before["model"], after["model"])
  # What is still as the former model has it, the other one has in its own way.
  if train.get("phases") == before["train"]["phases"]:
    del train["phases"]
  if loss.get("gamma") == before["loss"]["gamma"]:
    del loss["gamma"]
  elif "gamma" in loss and not after["loss"]["gamma"]:
    foreign.append("loss.gamma")
    del loss["gamma"]
  if "weights" in loss:
    known, new = before["loss"]["weights"], after["loss"]["weights"]
    own = {k: w for k, w in loss["weights"].items() if w != known.get(k)}
    loss["weights"] = fitting("loss.weights", own, known, new)
  model |= which
  return {**config, "model": model, "loss": loss, "train": train}, foreign
