"""Real file systems that refuse: what `inject` imitates, by the kernel itself.

All but the limit on files need root.
"""

import ctypes
import os
import pathlib
import resource
import subprocess
from collections.abc import Callable
from random import Random

from benchmarks.faults import jobs, writes
from benchmarks.faults.campaign import Skipped

# Rights of root that go beyond the permissions of files: writing, reading, changing.
ABOVE_FILES = (1, 2, 3)
CAPABILITIES = 0x20080522  # the version of the kernel's interface


def small(job: jobs.Job, place: pathlib.Path, source: Random) -> str:
  """A disk of some hundred kilobytes."""
  size = source.randrange(64, 600)
  _mount(place.parent, f"size={size}k")
  try:
    job.ready(place)
  except OSError:
    raise Skipped("a disk smaller than what is on it before") from None
  said = writes.judged(job.start(place).ended(), "on a small disk")
  _mount(place.parent, "remount,size=64m")
  return said


def read_only(job: jobs.Job, place: pathlib.Path, source: Random) -> str:
  """A disk that becomes read-only while the program runs, as a broken one does."""
  _mount(place.parent, "size=64m")
  job.ready(place)
  program = job.start(place)
  code = program.wait(source.uniform(0.0, 1.5))
  # While a file is open for writing the kernel refuses; in between it does not.
  for _ in range(200 * (code is None)):
    if not _mount(place.parent, "remount,ro", check=False):
      break
  said = writes.judged(program.ended(), "while it became read-only")
  _mount(place.parent, "remount,rw")
  return said


def file_size(job: jobs.Job, place: pathlib.Path, source: Random) -> str:
  """A limit on the size of a file, as `ulimit -f` and quotas set it."""
  job.ready(place)
  most = int(10 ** source.uniform(2, 5))
  before = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
  ended = job.start(place, before=before).ended()
  return writes.judged(ended, "at a limit of file size")


def no_permission(job: jobs.Job, place: pathlib.Path, source: Random) -> str:
  """A folder that may not be written into, of those that a run of before left."""
  if os.geteuid():
    raise Skipped("needs root")
  job.ready(place)
  place.mkdir(exist_ok=True)
  folders = sorted([place, *(x for x in place.rglob("*") if x.is_dir())])
  shut = source.choice(folders)
  shut.chmod(0o555)
  try:
    ended = job.start(place, before=_without_rights).ended()
  finally:
    shut.chmod(0o755)
  return writes.judged(ended, "in a folder without permission")


WAYS: dict[str, Callable[[jobs.Job, pathlib.Path, Random], str]] = {
  "small disk": small,
  "read-only disk": read_only,
  "limit of file size": file_size,
  "no permission": no_permission,
}


def release(place: pathlib.Path) -> None:
  """Takes away what `place` was mounted with."""
  while place.is_mount():
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def _mount(place: pathlib.Path, options: str, check: bool = True) -> int:
  if os.geteuid():
    raise Skipped("needs root")
  command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
  if options.startswith("remount"):
    command = ["mount", "-o", options, str(place)]
  return subprocess.run(command, check=check, capture_output=True).returncode


def _without_rights() -> None:
  """Root becomes a user whom permissions bind."""
  names = ctypes.c_uint32 * 2
  header, sets = names(CAPABILITIES, 0), (ctypes.c_uint32 * 6)()
  libc = ctypes.CDLL(None, use_errno=True)
  if libc.capget(header, sets):
    raise OSError(ctypes.get_errno(), "capget")
  for right in ABOVE_FILES:
    for kind in range(3):  # effective, permitted, inheritable
      sets[kind] &= ~(1 << right)
  if libc.capset(header, sets):
    raise OSError(ctypes.get_errno(), "capset")
