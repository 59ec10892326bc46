"""The rules of a workdir: one run a folder, and what an older one there means."""

import json
from pathlib import Path

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.errors import UserError

# Where a run computes is not what it computes: these may change at a resume.
FREE = ("mesh.", "train.steps_per_call", "train.checkpoint_seconds", "train.cache_dir")


def status(workdir: Path, config: ConfigDict, resume: bool) -> str:
  """`new`, `resume` or `finished`; anything else is the user's mistake.

  Raises:
    UserError: the folder holds another run, an unfinished one without `resume`, or
      files that are no run's.
  """
  if workdir.exists() and not workdir.is_dir():
    raise UserError(f"--workdir {workdir} is a file; it must be a folder.")
  saved = workdir / "config.json"
  if not saved.is_file():
    if workdir.is_dir() and any(workdir.iterdir()):
      raise UserError(
        f"--workdir {workdir} is not empty and holds no run: choose a new folder."
      )
    return "new"
  try:
    before = configs.from_json(saved.read_text())
  except (ValueError, OSError) as error:
    raise UserError(f"{saved} cannot be read ({error}).") from error
  changes = configs.difference(before, config)
  changes = [line for line in changes if not line.startswith(FREE)]
  if changes:
    raise UserError(
      f"{workdir} holds a run with another config ({'; '.join(changes)}): choose "
      "another --workdir, or set the fields back."
    )
  if finished(workdir):
    return "finished"
  if not resume:
    raise UserError(
      f"{workdir} holds an unfinished run of this config: go on with --resume, or "
      "choose another --workdir."
    )
  return "resume"


def finished(workdir: Path) -> bool:
  """Whether the run of a folder came to its end."""
  try:
    return bool(json.loads((workdir / "run.json").read_text()).get("finished"))
  except (OSError, ValueError):
    return False
