"""What a run leaves to read: metrics.jsonl, TensorBoard events, config.json, run.json.

A line of metrics.jsonl is written by one system call and every other file by
replacing, so a process killed at any moment leaves nothing half-written but, at most,
a last line without its end, which resuming drops.
"""

import contextlib
import datetime
import importlib.metadata
import json
import os
import platform
import sys
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from mcr_jax import files, native
from mcr_jax.errors import DamagedCheckpoint, UserError

PACKAGES = ("mcr_jax", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
CRC = "crc32"  # in a line of metrics.jsonl: of all else that it says


class Writer:
  """The files of one run. Only process 0 of several writes; the others do nothing."""

  def __init__(self, workdir: str | os.PathLike, seeds: Sequence[int] = ()):
    """Opens nothing yet.

    Args:
      workdir: folder of the run.
      seeds: names of the entries of per-seed values.
    """
    self.workdir = Path(workdir)
    self.seeds = tuple(seeds)
    self.metrics = self.workdir / "metrics.jsonl"
    self._events = None
    self._purge_step = None
    self._active = jax.process_index() == 0

  def __enter__(self) -> "Writer":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def write(
    self,
    epoch: int,
    values: Mapping[str, Any],
    *,
    reasons: Mapping[str, str] | None = None,
  ) -> None:
    """Adds an epoch to metrics.jsonl and to the events.

    Args:
      epoch: its number, growing.
      values: numbers, or one number a seed. What is not finite becomes null.
      reasons: why a value is undefined, by its name.
    """
    if not self._active:
      return
    reasons = dict(reasons or {})
    values = files.plain(values)
    entry = {"epoch": epoch, **files.finite(values)}
    for name, value in values.items():
      if entry[name] != value and name not in reasons:
        reasons[name] = f"not finite: {value}"
    if reasons:
      entry["reasons"] = reasons
    self._append(_line(entry))
    self._write_events(epoch, values)

  def log(self, line: str) -> None:
    """Prints a line above the progress bar, if there is one."""
    if self._active:
      from tqdm import tqdm

      tqdm.write(line, file=sys.stdout)
      sys.stdout.flush()

  def truncate_after(self, epoch: int) -> None:
    """Drops what was written after the epoch that a run resumes from.

    Raises:
      DamagedCheckpoint: an epoch before it is not on record.
    """
    self._purge_step = epoch + 1
    if self._active and (self.metrics.exists() or epoch):
      known = read(self.metrics) if self.metrics.exists() else []
      entries = [entry for entry in known if entry["epoch"] <= epoch]
      check_epochs(entries, epoch, self.metrics)
      self.write_text("metrics.jsonl", "".join(map(_line, entries)))

  def write_json(self, name: str, values: Any) -> None:
    """Writes a JSON file of the workdir; what is not finite becomes null."""
    if self._active:
      files.write_json(self.workdir / name, values)

  def write_facts(self, facts: Mapping[str, Any]) -> None:
    """Writes run.json, with a digest of what it says."""
    self.write_json("run.json", files.sealed(facts))

  def write_text(self, name: str, text: str) -> None:
    """Writes a file of the workdir, whole or not at all."""
    if self._active:
      files.write(self.workdir / name, text)

  def close(self) -> None:
    """Ends the events file."""
    events, self._events = self._events, None
    if events is not None:
      events.close()

  def _append(self, line: str) -> None:
    self.workdir.mkdir(parents=True, exist_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    file = os.open(self.metrics, flags, 0o666)
    try:
      size, data = os.fstat(file).st_size, line.encode()
      try:
        while data:  # what a full disk took a part of, it refuses the rest of
          data = data[os.write(file, data) :]
      except OSError:
        with contextlib.suppress(OSError):
          os.ftruncate(file, size)
        raise
    finally:
      os.close(file)

  def _write_events(self, epoch: int, values: Mapping[str, Any]) -> None:
    if self._events is None:
      self._events = _Events(self.workdir / "events", self._purge_step)
    curves = {}
    for name, value in values.items():
      several = isinstance(value, list)
      if not several and not isinstance(value, int | float):
        continue
      numbers = np.asarray(value, np.float64)
      # A seed that stopped early has no value: its curve ends, the mean goes on.
      real = np.isfinite(numbers)
      if numbers.ndim > 1 or not real.any():
        continue
      curves[name] = float(numbers[real].mean())
      if several and len(value) > 1:
        seeds = self.seeds or range(len(value))
        for seed, number, known in zip(seeds, value, real, strict=True):
          if known:
            curves[f"{name}/seed_{seed}"] = number
    self._events.add(epoch, curves)


class _Events:
  """A TensorBoard file, written at once.

  Not tensorboardX's SummaryWriter: its thread dies on a full disk, and then the program
  waits for it for ever.
  """

  def __init__(self, folder: Path, purge_step: int | None):
    from tensorboardX import record_writer
    from tensorboardX.event_file_writer import EventsWriter
    from tensorboardX.proto import event_pb2

    folder.mkdir(parents=True, exist_ok=True)
    record_writer.register_writer_factory(_Unbuffered.NAME, _Unbuffered)
    self._event = event_pb2.Event
    self._file = EventsWriter(f"{_Unbuffered.NAME}:{folder / 'events'}")
    if purge_step is not None:
      # TensorBoard forgets what an interrupted run drew from this epoch on.
      start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
      self._write(step=purge_step, file_version="brain.Event:2")
      self._write(step=purge_step, session_log=start)

  def add(self, step: int, curves: Mapping[str, float]) -> None:
    """Adds a point to every curve."""
    values = [{"tag": name, "simple_value": x} for name, x in curves.items()]
    self._write(step=step, summary={"value": values})
    self._file.flush()

  def close(self) -> None:
    """Ends the file."""
    self._file.close()

  def _write(self, **fields) -> None:
    self._file.write_event(self._event(wall_time=time.time(), **fields))


class _Unbuffered:
  """Opens the file: what a full disk refused must not be tried again at the exit."""

  NAME = "unbuffered"

  @staticmethod
  def directory_check(path: str) -> None:
    """Its folder was made before."""

  @classmethod
  def open(cls, path: str):
    """The file of a path that begins with `NAME`."""
    return open(path.removeprefix(f"{cls.NAME}:"), "wb", buffering=0)


def read(path: str | os.PathLike) -> list[dict]:
  """The epochs of a metrics.jsonl; a last line without its end is left out.

  Raises:
    UserError: another line is not what `Writer.write` writes.
  """
  entries, kinds = [], set()
  # What follows the last line's end was cut off while it was written.
  for number, line in enumerate(Path(path).read_bytes().split(b"\n")[:-1], 1):
    try:
      entries.append(json.loads(line))
      int(entries[-1]["epoch"])
      found = entries[-1].pop(CRC, None)
      # Those of older versions have none, but then no line of the file does.
      kinds.add(found is None)
      right = found in (None, _crc(entries[-1])) and len(kinds) == 1
    except (ValueError, TypeError, LookupError, AttributeError):
      right = False
    if not right:
      raise UserError(
        f"{path}, line {number}, is not the record of an epoch: {line[:40]!r}. The "
        "file was changed or is damaged."
      )
  return entries


def _line(entry: Mapping[str, Any]) -> str:
  return json.dumps({**entry, CRC: _crc(entry)}, allow_nan=False) + "\n"


def _crc(entry: Mapping[str, Any]) -> str:
  return f"{zlib.crc32(json.dumps(entry).encode()):08x}"


def check_epochs(entries: Sequence[Mapping[str, Any]], epoch: int, path: Path) -> None:
  """Raises DamagedCheckpoint where not every epoch up to `epoch` is on record."""
  found = [entry["epoch"] for entry in entries]
  if found != list(range(1, epoch + 1)):
    raise DamagedCheckpoint(
      f"{path} has the epochs {found}, where {epoch} were trained: records were lost. "
      "Put the file back, or choose a new --workdir."
    )


def describe() -> dict[str, Any]:
  """Versions, devices, kernels, command line and time, for run.json."""
  devices = jax.devices()
  return {
    "versions": {"python": platform.python_version(), **_versions()},
    "device": {
      "kind": devices[0].device_kind,
      "platform": devices[0].platform,
      "count": len(devices),
      "processes": jax.process_count(),
    },
    "machine": platform.platform(),
    "native": str(native.status()),
    "command": [Path(sys.argv[0]).name, *sys.argv[1:]],
    "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
  }


def _versions() -> dict[str, str]:
  versions = {}
  for name in PACKAGES:
    try:
      versions[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      # From a checkout that is not installed, the package itself may know.
      module = sys.modules.get(name)
      versions[name] = getattr(module, "__version__", "unknown")
  return versions
