"""The rules of a workdir: one run a folder, and what an older one there means."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import files, native
from mcr_jax.errors import UserError
from mcr_jax.hosts import distributed
from mcr_jax.ops.attention import MAY_BE_NATIVE

# Where a run computes is not what it computes: these may change at a resume.
MUTABLE_ON_RESUME = (
  "mesh.",
  "data.placement",
  "data.pipeline",
  "train.steps_per_call",
  "train.checkpoint_seconds",
  "train.seeds_by",
  "train.cache_dir",
  "model.scan_layers",
)
# A folder of folds has one of this name and a number for each.
FOLD = "fold_"
# What a run writes before config.json, which makes its folder a run's.
WRITTEN_BEFORE_CONFIG = ("run.json", "normalization.npz")


def status(
  workdir: Path,
  config: ConfigDict,
  resume: bool,
  *,
  attention_may_change: bool = False,
) -> str:
  """`new`, `resume` or `finished`; anything else is the user's mistake.

  A run that is resumed goes on with the native kernels that it began with, or without,
  unless its attention may change.

  Raises:
    UserError: the folder holds another run, an unfinished one without `resume` or by
      kernels that are not to be had here, or files that are no run's.
  """
  try:
    str(workdir.absolute()).encode()
  except UnicodeEncodeError:
    raise UserError(
      f"--workdir {str(workdir)!a} is not UTF-8, which checkpoints need; use other "
      "letters, or a UTF-8 locale."
    ) from None
  if workdir.exists() and not workdir.is_dir():
    raise UserError(f"--workdir {workdir} is a file; it must be a folder.")
  saved = workdir / "config.json"
  if not saved.is_file():
    strange = [path.name for path in _entries(workdir) if not _begun(path.name)]
    if strange:
      raise UserError(
        f"--workdir {workdir} holds no run, but other files ({min(strange)!r}): choose "
        "a new folder."
      )
    _check_writable(workdir)
    return "new"
  known = facts(workdir)
  if not known.get("finished"):
    configs.check_unfinished(workdir, known)
  try:
    before = configs.saved(saved.read_text("utf-8"), known)
  except (ValueError, OSError) as error:
    raise UserError(f"{saved} cannot be read ({error}).") from error
  changes = configs.difference(before, config)
  changes = [line for line in changes if not line.startswith(MUTABLE_ON_RESUME)]
  if longer := _longer(changes, before, config):
    configs.check_unfinished(workdir, known)
    if why := configs.epochs_are_fixed(before):
      raise UserError(
        f"{workdir} holds a run of {before.train.epochs} epochs, and {why}: more of "
        "them are another run. Choose another --workdir, and to start from the weights "
        f"of this one set --config.train.init_from={workdir}."
      )
  elif changes:
    raise UserError(
      f"{workdir} holds a run with another config ({'; '.join(changes)}): choose "
      "another --workdir, or set the fields back."
    )
  if known.get("finished") and not longer:
    return "finished"
  if not resume and longer:
    raise UserError(
      f"{workdir} holds a run of {before.train.epochs} epochs: go on with it to "
      f"{config.train.epochs} by --resume, or choose another --workdir."
    )
  if not resume:
    raise UserError(
      f"{workdir} holds an unfinished run of this config: go on with --resume, or "
      "choose another --workdir."
    )
  attention = config.model.get("attention")
  if attention in MAY_BE_NATIVE and "native" in known and not attention_may_change:
    native.hold(known["native"], workdir)
  _check_writable(workdir)
  return "resume"


@contextlib.contextmanager
def claim(workdir: Path) -> Iterator[None]:
  """Keeps every other run from training in the folder, until this one ends.

  Raises:
    UserError: another one trains in it; in all processes of this run.
  """
  with contextlib.ExitStack() as stack:
    error = None
    if jax.process_index() == 0:
      try:
        stack.enter_context(_claim(workdir))
      except UserError as found:
        error = found
    (failed,) = distributed.largest(int(error is not None))
    if failed:
      raise error or UserError(f"Another run is training in {workdir}.")
    yield


@contextlib.contextmanager
def _claim(workdir: Path) -> Iterator[None]:
  try:
    import fcntl
  except ImportError:  # not a POSIX system
    yield
    return
  workdir.mkdir(parents=True, exist_ok=True)
  # The folder is the lock: no file to leave behind, and the system frees it.
  folder = os.open(workdir, os.O_RDONLY)
  try:
    try:
      fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
      raise UserError(
        f"Another process is training in {workdir}: wait for it, stop it, or choose "
        "another --workdir."
      ) from None
    yield
  finally:
    os.close(folder)


def facts(workdir: Path) -> dict[str, Any]:
  """What run.json says.

  Raises:
    UserError: it is missing or damaged.
  """
  path = workdir / "run.json"
  try:
    found = json.loads(path.read_text("utf-8"))
    seal = found.pop(files.SEAL)
    _ = found["seeds"], found["shape"], found["data"]["digest"]
  except FileNotFoundError:
    raise UserError(f"{workdir} holds no run: {path} is missing.") from None
  except (ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
  if seal != files.digest_of(found):
    raise UserError(f"{path} was changed or is damaged: it is not what the run wrote.")
  return found


def _longer(changes: list[str], before: ConfigDict, config: ConfigDict) -> bool:
  """Whether a config differs from the one before in asking for more epochs only."""
  only = bool(changes) and all(line.startswith("train.epochs:") for line in changes)
  return only and config.train.epochs > before.train.epochs


def _check_writable(workdir: Path) -> None:
  """Before the data is read, not after."""
  there = next(path for path in (workdir, *workdir.absolute().parents) if path.exists())
  if not there.is_dir():
    raise UserError(
      f"--workdir {workdir}: {there} is a file, where a folder is needed."
    )
  if not os.access(there, os.W_OK | os.X_OK):
    raise UserError(f"--workdir {workdir} cannot be written: {there} is read-only.")


def _entries(workdir: Path) -> list[Path]:
  return list(workdir.iterdir()) if workdir.is_dir() else []


def _begun(name: str) -> bool:
  """Whether a start that was cut off may have left this file, whole or not."""
  first = (*WRITTEN_BEFORE_CONFIG, "config.json")
  return name in first or any(files.is_draft(name, of) for of in first)
