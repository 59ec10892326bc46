"""Which version of the program made a run, beside what run.json says of it."""

import functools
import subprocess
from pathlib import Path
from typing import Any

import mcr_jax
from mcr_jax.runs.writer import describe

ORIGIN = "reproduce.json"


def origin() -> dict[str, Any]:
  """Versions, machine, command and commit, for `reproduce.json` of a run's folder."""
  return describe() | {"commit": commit()}


@functools.cache
def commit() -> str:
  """The commit of the checkout that runs, `+` where files differ; "" of a wheel."""
  root = Path(mcr_jax.__file__).parents[1]
  if not (root / ".git").exists():
    return ""

  def git(*arguments):
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout

  try:
    changed = git("status", "--porcelain", "--untracked-files=no", "mcr_jax", "configs")
    return git("rev-parse", "--short=12", "HEAD").strip() + "+" * bool(changed.strip())
  except (OSError, subprocess.TimeoutExpired):
    return ""
