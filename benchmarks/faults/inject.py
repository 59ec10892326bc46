"""Calls that change files, made to fail or to kill, and a clock: see `inject.c`."""

import ctypes
import errno
import os
import pathlib
import subprocess
import sys
import tempfile

from mcr_jax.errors import UserError

SOURCE = pathlib.Path(__file__).with_suffix(".c")
CREATE, WRITE, CHANGE, SYNC = 1, 2, 4, 8
KILL = 0
ANY = CREATE | WRITE | CHANGE
# Error -> the calls that a file system answers with it.
KINDS = {
  KILL: ANY,
  errno.ENOSPC: CREATE | WRITE,
  errno.EDQUOT: CREATE | WRITE,
  errno.EACCES: CREATE | CHANGE,
  errno.EROFS: ANY,
  errno.EIO: ANY | SYNC,
}


def load() -> None:
  """Starts this program again with the library, unless it has it.

  Raises:
    UserError: there is no C compiler.
  """
  if hasattr(ctypes.CDLL(None), "inject_arm"):
    return
  built = pathlib.Path(tempfile.mkdtemp(prefix="faults-")) / "inject.so"
  command = ["cc", "-O1", "-shared", "-fPIC", str(SOURCE), "-o", str(built), "-ldl"]
  try:
    subprocess.run(command, check=True)
  except (OSError, subprocess.CalledProcessError) as error:
    raise UserError(f"Faults of files need a C compiler ({error}).") from error
  os.execve(
    sys.executable,
    [sys.executable, *sys.argv],
    os.environ | {"LD_PRELOAD": str(built)},
  )


def arm(folder: pathlib.Path, at: int, error: int, report: int = -1) -> None:
  """From the call numbered `at` on, those below `folder` fail with `error`.

  Args:
    folder: absolute.
    at: -1 only counts, see `seen`.
    error: of `KINDS`; `KILL` kills this process in the call instead.
    report: a file descriptor that gets the name of the first call that fails.
  """
  path = os.fsencode(folder)
  ctypes.CDLL(None).inject_arm(path, ctypes.c_long(at), error, KINDS[error], report)


def clock(seconds: int, every: int = 0) -> None:
  """Sets the clock of this process ahead, or back.

  Args:
    seconds: how much.
    every: it jumps to and fro after so many calls that ask for it; 0 is for good.
  """
  ctypes.CDLL(None).inject_clock(ctypes.c_long(seconds), ctypes.c_long(every))


def seen() -> int:
  """How many calls there were since `arm`."""
  count = ctypes.CDLL(None).inject_seen
  count.restype = ctypes.c_long
  return count()
