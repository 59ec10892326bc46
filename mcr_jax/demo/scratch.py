"""A folder for one process, which goes with it: if it was killed, at the next start.

A process holds a lock in its folder; a folder whose lock is free has nobody any more.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PREFIX = "mcr_jax_demo_"
LOCK = "lock"
FRESH = 60.0  # seconds in which a folder may still be without its lock


@contextlib.contextmanager
def folder() -> Iterator[Path]:
  """A folder that only this user can read; what others left is removed first."""
  sweep()
  place = Path(tempfile.mkdtemp(prefix=PREFIX))
  try:
    with open(place / LOCK, "wb") as lock:
      fcntl.flock(lock, fcntl.LOCK_EX)
      yield place
  finally:
    shutil.rmtree(place, ignore_errors=True)


def sweep() -> list[Path]:
  """Removes, and returns, the folders of this user whose processes are gone."""
  gone = []
  for place in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
    with contextlib.suppress(OSError):
      if place.lstat().st_uid == os.getuid() and _dead(place):
        shutil.rmtree(place)  # which follows no link
        gone.append(place)
  return gone


def _dead(place: Path) -> bool:
  try:
    lock = os.open(place / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
  except FileNotFoundError:
    return time.time() - place.lstat().st_mtime > FRESH
  try:
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return True
  except BlockingIOError:
    return False
  finally:
    os.close(lock)
