"""What the faults happen to: small runs of the programs, as children of this process.

A child is forked from a process that has imported everything and started nothing, so
that a case costs what the program does and not what importing does. It runs the
program's `main` as the command line would, to the end of its exit handlers.
"""

import atexit
import json
import os
import pathlib
import re
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.faults.campaign import Failure
from mcr_jax import files
from mcr_jax.runs import writer

LIMIT = 300  # seconds after which a program hangs
STRAYS = re.compile(
  r"\.[^/]+\.[0-9a-f]{8}|.*orbax-checkpoint-tmp.*|.*\.deleted|.*\.partial"
)


class Ended(NamedTuple):
  """How a program ended.

  Attributes:
    code: its exit code; negative is the signal that killed it.
    out, err: what it said.
    seconds: how long it took.
  """

  code: int
  out: str
  err: str
  seconds: float


class Program:
  """A program that runs; `ended` waits for it."""

  def __init__(
    self,
    module: str,
    arguments: Sequence[str],
    logs: pathlib.Path,
    before: Callable[[], object] = lambda: None,
  ):
    """Starts it.

    Args:
      module: `mcr_jax.train` and others.
      arguments: of its command line.
      logs: folder for what it says.
      before: is called in the child first.
    """
    logs.mkdir(parents=True, exist_ok=True)
    self.out, self.err = logs / "out", logs / "err"
    self.began = time.monotonic()
    sys.stdout.flush()
    sys.stderr.flush()
    self._code = None
    self.pid = os.fork()
    if not self.pid:
      self._child(module, arguments, before)

  def ended(self, within: float = LIMIT) -> Ended:
    """Waits for the end.

    Raises:
      Failure: it does not come.
    """
    code = self.wait(within)
    if code is None:
      os.kill(self.pid, signal.SIGKILL)
      os.waitpid(self.pid, 0)
      raise Failure(f"does not end within {within:.0f} s")
    read = lambda path: path.read_text("utf-8", "replace")
    return Ended(code, read(self.out), read(self.err), time.monotonic() - self.began)

  def wait(self, seconds: float) -> int | None:
    """The exit code, or None where it still runs after so long."""
    until, pause = time.monotonic() + seconds, 0.005
    while self._code is None:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        self._code = os.waitstatus_to_exitcode(status)
      elif time.monotonic() >= until:
        break
      time.sleep(min(pause, max(0.0, until - time.monotonic())))
      pause = min(0.05, 1.5 * pause)
    return self._code

  def _child(self, module, arguments, before) -> None:
    code = 99
    try:
      os.setsid()
      for path, number in ((self.out, 1), (self.err, 2)):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        os.dup2(file, number)
      from mcr_jax import cli

      main = sys.modules[module].main
      sys.argv = [module, *arguments]
      before()
      try:
        cli.run(main)
      except SystemExit as end:
        code = end.code
      threading._shutdown()
      atexit._run_exitfuncs()
      sys.stdout.flush()
    finally:
      os._exit(code)


def preload() -> None:
  """Imports what the programs import, and starts no device."""
  import importlib

  for name in (
    *("mcr_jax.train", "mcr_jax.evaluate", "mcr_jax.sweep", "mcr_jax.data.__main__"),
    *("mcr_jax.runs.fit", "mcr_jax.sweeps.run", "orbax.checkpoint", "tqdm"),
    *("tensorboardX.record_writer", "tensorboardX.event_file_writer"),
    *("mcr_jax.data.readers", "mcr_jax.models.concat", "optax", "flax.linen"),
  ):
    importlib.import_module(name)
  from jax._src import xla_bridge

  from mcr_jax.data import readers

  readers.formats()
  if xla_bridge.backends_are_initialized():
    raise RuntimeError("a device was started: children of this process would hang")


def whole(ended: Ended) -> Ended:
  """`ended`, which must have gone well."""
  if ended.code:
    raise Failure(f"ended with {ended.code}: {first_words(ended.err)}")
  return ended


def one_line(ended: Ended, codes: Sequence[int] = (2,)) -> str:
  """What a program said that must have ended with one line and one of `codes`."""
  # What stands before it are notes, which end as they began: without a stack.
  lines = [x for x in ended.err.splitlines() if x.strip()]
  errors = [x for x in lines if x.startswith("mcr_jax: error: ")]
  if ended.code not in codes:
    raise Failure(f"ended with {ended.code}: {first_words(ended.err)}")
  others = [x for x in lines if x not in errors]
  if others or len(errors) != 1:
    raise Failure(f"said more than one line: {first_words(' '.join(others))}")
  return errors[0].removeprefix("mcr_jax: error: ")


def first_words(text: str) -> str:
  """The last line of a message without what differs from case to case."""
  lines = [x for x in text.splitlines() if x.strip()]
  line = lines[-1] if lines else "nothing"
  line = re.sub(r"/[^\s:'\"]*", "PATH", line)
  return re.sub(r"0x[0-9a-f]+|\b[0-9a-f]{8,}\b|\d+", "N", line)[:160]


def strays(folder: pathlib.Path) -> list[str]:
  """Files and folders that a program leaves only where it was stopped."""
  names = (str(x.relative_to(folder)) for x in folder.rglob("*"))
  return sorted(x for x in names if any(map(STRAYS.fullmatch, x.split("/"))))


def results(folder: pathlib.Path) -> dict[str, object]:
  """All that a run, or a sweep, leaves that must be equal, by file."""
  found = {}
  for path in sorted(x for x in folder.rglob("*") if x.is_file()):
    name, relative = path.name, path.relative_to(folder)
    if name in ("run.json", "table.json") or "events" in relative.parts:
      continue  # times and commands; `finished` is looked at below
    if "checkpoints" in relative.parts:
      continue  # their digests cover every bit
    found[str(relative)] = _comparable(path)
  for path in folder.rglob("run.json"):
    found[str(path.relative_to(folder))] = json.loads(path.read_text())["finished"]
  return found


def _comparable(path: pathlib.Path) -> object:
  if path.name == "metrics.jsonl":
    return [{**line, "seconds": None} for line in writer.read(path)]
  if path.name == "digests.json":
    found = json.loads(path.read_text())
    return {k: found[k][max(found[k], key=int)] for k in ("last", "best")}
  if path.suffix == ".npz":
    with np.load(path, allow_pickle=False) as arrays:
      held = {name: arrays[name] for name in arrays}
    parts = [f"{k}{x.dtype}{x.shape}".encode() + x.tobytes() for k, x in held.items()]
    return files.digest(parts)
  if path.suffix == ".json":
    found = json.loads(path.read_text())
    if isinstance(found, dict):
      for name in ("predictions_sha256", "sha256"):  # over a zip, which has times
        found.pop(name, None)
    return found
  return path.read_bytes()


def check_equal(folder: pathlib.Path, expected: dict[str, object]) -> None:
  """Raises Failure where a folder is not what the undisturbed program left."""
  try:
    found = results(folder)
  except Exception as error:
    raise Failure(f"left a damaged file: {type(error).__name__}") from error
  names = sorted(found.keys() ^ expected.keys())
  if names:
    raise Failure(f"left other files: {first_words(', '.join(names))}")
  differing = [name for name in found if found[name] != expected[name]]
  if differing:
    raise Failure(f"differs in {first_words(', '.join(differing))}")
  if left := strays(folder):
    raise Failure(f"leaves behind {first_words(', '.join(left))}")


def empty(folder: pathlib.Path) -> pathlib.Path:
  """The folder, new."""
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  return folder
