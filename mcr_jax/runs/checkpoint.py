"""Checkpoints: `last` and `best`, each a folder of Orbax steps, and their digests.

A step's folder appears by renaming, after all of it is written; its SHA-256 is in
digests.json before that. So a process killed at any moment leaves the steps before,
whole and verifiable, and a byte that flips later is noticed: Orbax alone restores it.

One Orbax manager that prunes by the best value would delete the last step, and a
manager that keeps one best step deletes it before `last` has caught up. Folders of
plain Orbax checkpoints with the pruning of this page do neither.
"""

import contextlib
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from mcr_jax import files
from mcr_jax.errors import DamagedCheckpoint, UserError, did_not_fit
from mcr_jax.runs.store import not_saved, read, write
from mcr_jax.runs.trees import digest_of, flatten, into, nest

_META = "_meta"
# In digests.json: the newest step of each kind that was written to its end.
WHOLE = "whole"
# How often a folder is tried to delete into which others write, and seconds between.
_TRIES, _PAUSE = 5, 0.1


class Restored(NamedTuple):
  """What a step held."""

  tree: Any
  meta: dict
  step: int


class Checkpoints:
  """The checkpoints of one run; every process of it calls every method."""

  def __init__(self, workdir: str | os.PathLike):
    self.workdir = Path(workdir).absolute()
    self.digests = self.workdir / "digests.json"

  def save_last(self, step: int, tree: Any, meta: dict) -> None:
    """Saves where the run stands; the newest two stay.

    Args:
      step: a number that grows as the run goes on.
      tree: of NumPy or JAX arrays, in any containers that JAX knows.
      meta: anything that JSON can hold.
    """
    self._save("last", step, tree, meta)
    self._prune("last", self.steps("last")[:-2])
    self._prune_best(step)

  def save_best(self, step: int, tree: Any, meta: dict) -> None:
    """Saves the best parameters; the newest stays, and the one `last` belongs to."""
    self._save("best", step, tree, meta)
    self._prune_best((self.steps("last") or [-1])[-1])

  def forget_after(self, step: int) -> None:
    """Deletes the steps beyond the one that a run resumes from."""
    for kind in ("last", "best"):
      self._prune(kind, [s for s in self.steps(kind) if s > step])
      if jax.process_index() == 0:
        # A run that has nothing left to save would leave it for good.
        self._clean(kind)
    if jax.process_index() == 0 and self.digests.exists():
      entries = self._entries()
      # Of a kind that is gone for good, nothing is missed.
      whole = {k: s for k, s in entries[WHOLE].items() if self.steps(k)}
      self._write_entries(entries | {WHOLE: whole})

  def restore_last(self, template: Any = None) -> Restored | None:
    """The newest step, or None where there is none.

    Args:
      template: a tree of jax.ShapeDtypeStruct to restore into, in the containers of
        the saved one; leaves with a sharding come back as JAX arrays on it, others
        as NumPy arrays. Without it, nested dicts of NumPy arrays.

    Raises:
      DamagedCheckpoint: it cannot be read, or is not what was written.
      UserError: it does not fit the template.
    """
    return self._restore("last", template)

  def restore_best(self, template: Any = None) -> Restored | None:
    """The newest best step, as `restore_last` does."""
    return self._restore("best", template)

  def steps(self, kind: str) -> list[int]:
    """The steps of "last" or "best" that are there, in order."""
    folder = self._folder(kind)
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdecimal())

  def _folder(self, kind: str, step: int | None = None) -> Path:
    folder = self.workdir / "checkpoints" / kind
    return folder if step is None else folder / str(step)

  def _save(self, kind: str, step: int, tree: Any, meta: dict) -> None:
    leaves = flatten(tree)
    if _META in leaves:
      raise UserError(f"A checkpoint's tree cannot have a leaf {_META!r} at its top.")
    leaves[_META] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    digest = digest_of(leaves)
    folder = self._folder(kind, step)
    if folder.exists() and self._digest(kind, step) == digest:
      return  # stopped right after it was saved: nothing is new
    _barrier(f"save {kind} {step}")  # all have looked before one of them changes it
    self._prune(kind, [step] * folder.exists())
    try:
      if jax.process_index() == 0:
        folder.parent.mkdir(parents=True, exist_ok=True)
        self._clean(kind)
        self._record(kind, step, digest)
      write(folder, nest(leaves))
      if jax.process_index() == 0:
        self._record(kind, step, digest, whole=True)
    except Exception as error:
      with contextlib.suppress(OSError):
        self._clean(kind)
      raise not_saved(folder, error) from error

  def _restore(self, kind: str, template: Any) -> Restored | None:
    steps = self.steps(kind)
    if not steps:
      self._check_none(kind)
      return None
    step = steps[-1]
    folder = self._folder(kind, step)
    expected = self._digest(kind, step)
    if expected is None:
      raise self._damaged(kind, step, f"{self.digests.name} has no entry for it")
    try:
      leaves = flatten(read(folder))
    except Exception as error:
      if did_not_fit(error):
        raise
      # Orbax and TensorStore raise a dozen types for one torn file.
      reason = f"it cannot be read: {type(error).__name__}: {str(error)[:200]}"
      raise self._damaged(kind, step, reason) from error
    if digest_of(leaves) != expected:
      raise self._damaged(kind, step, "its contents are not those that were written")
    meta = json.loads(leaves.pop(_META).tobytes())
    if template is None:
      return Restored(nest(leaves), meta, step)
    return Restored(into(template, leaves, folder), meta, step)

  def _check_none(self, kind: str) -> None:
    """Raises DamagedCheckpoint where there are no steps, but were."""
    step = self._entries()[WHOLE].get(kind)
    if step is not None:
      folder = self._folder(kind)
      raise DamagedCheckpoint(
        f"{folder} has no checkpoint, but {self.digests} knows of step {step}: it was "
        "deleted. Copy it back from a backup, or start anew in another --workdir."
      )

  def _damaged(self, kind: str, step: int, reason: str) -> DamagedCheckpoint:
    folder = self._folder(kind, step)
    before = [s for s in self.steps(kind) if s < step]
    remedy = (
      f"Delete {folder} to fall back to step {before[-1]}"
      if before
      else "There is no earlier step: copy it back from a backup, or start anew in"
      " another --workdir"
    )
    return DamagedCheckpoint(f"Checkpoint {folder} (step {step}): {reason}. {remedy}.")

  def _entries(self) -> dict[str, dict[str, str]]:
    try:
      entries = json.loads(self.digests.read_text("utf-8"))
      # A flipped bit may leave valid JSON of another shape.
      return {name: dict(entries[name]) for name in ("last", "best", WHOLE)}
    except FileNotFoundError:
      return {"last": {}, "best": {}, WHOLE: {}}
    except (ValueError, KeyError, TypeError) as error:
      raise DamagedCheckpoint(
        f"{self.digests} is damaged ({error}); copy it back from a backup, or start"
        " anew in another --workdir."
      ) from error

  def _digest(self, kind: str, step: int) -> str | None:
    return self._entries()[kind].get(str(step))

  def _record(self, kind: str, step: int, digest: str, *, whole: bool = False) -> None:
    """Adds a digest, and forgets those of steps that are gone.

    A digest is on record before its step, so that no step lacks one; that a step is
    whole is on record after it, so that one that was deleted is missed.
    """
    entries = self._entries()
    for name in ("last", "best"):
      there = {str(s) for s in self.steps(name)}
      entries[name] = {s: d for s, d in entries[name].items() if s in there}
    entries[kind][str(step)] = digest
    if whole:
      entries[WHOLE][kind] = step
    self._write_entries(entries)

  def _write_entries(self, entries: dict) -> None:
    files.write_json(self.digests, entries)

  def _prune_best(self, last: int) -> None:
    """Keeps the newest best step, and the newest that is not beyond `last`.

    A run killed before `last` catches up resumes from before the newest best step.
    """
    steps = self.steps("best")
    needed = {*steps[-1:], *[s for s in steps if s <= last][-1:]}
    self._prune("best", [s for s in steps if s not in needed])

  def _prune(self, kind: str, steps: list[int]) -> None:
    if jax.process_index() == 0:
      for step in steps:
        remove(self._folder(kind, step))

  def _clean(self, kind: str) -> None:
    """Deletes what a killed process left half written or half deleted."""
    folder = self._folder(kind)
    for path in folder.iterdir() if folder.is_dir() else ():
      if path.name.endswith(".deleted") or "orbax-checkpoint-tmp" in path.name:
        # Threads of a save that failed may write on for a moment.
        for _ in range(_TRIES):
          shutil.rmtree(path, ignore_errors=True)
          if not path.exists():
            break
          time.sleep(_PAUSE)


def _barrier(name: str) -> None:
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(name)


def remove(folder: Path) -> None:
  """Deletes a folder; it is renamed first, so that half of it does not look whole."""
  doomed = folder.with_name(f"{folder.name}.deleted")
  shutil.rmtree(doomed, ignore_errors=True)
  folder.rename(doomed)
  shutil.rmtree(doomed, ignore_errors=True)
