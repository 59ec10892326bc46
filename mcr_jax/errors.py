"""The ways a run can end early, each with the exit code the command line gives it."""

import difflib
import errno
import signal as signals
from collections.abc import Iterable
from typing import Any

# What a full disk, a wrong path or a missing right raise: mistakes of the user's.
FILE_ERRORS = {
  errno.ENOSPC: "the disk is full",
  errno.EDQUOT: "the disk quota is used up",
  errno.EFBIG: "the file would be larger than is allowed here",
  errno.EACCES: "permission denied",
  errno.EPERM: "permission denied",
  errno.EROFS: "the file system is read-only",
  errno.EISDIR: "this is a folder, where a file is needed",
  errno.ENOTDIR: "a file stands where a folder is needed",
  errno.ENOENT: "no such file or folder",
  errno.EEXIST: "it exists already",
  errno.ENAMETOOLONG: "the name is too long",
  errno.ELOOP: "the link leads back to itself",
  errno.EIO: "the device answers with an error",
  errno.ESTALE: "the file server has lost the file",
  errno.ETIMEDOUT: "the file server does not answer",
  errno.EMFILE: "too many files are open",
  errno.ENFILE: "too many files are open",
}
# What libraries say where no memory or thread is to be had, whatever they raise.
_NO_ROOM = ("can't start new thread", "std::bad_alloc")


class McrJaxError(Exception):
  """An end that is not our bug; `exit_code` is what the process returns."""

  exit_code = 1


class UserError(McrJaxError, ValueError):
  """A mistake in a config, a file or an argument that its user can correct."""

  exit_code = 2


class NonFiniteLoss(McrJaxError, FloatingPointError):
  """The training loss became NaN or infinite."""

  exit_code = 3


class DamagedCheckpoint(McrJaxError):
  """A checkpoint cannot be read, or is not what was written."""

  exit_code = 4


class Interrupted(McrJaxError):
  """A signal stopped the run after it left a checkpoint (130 or 143)."""

  def __init__(self, number: int, message: str):
    super().__init__(message)
    self.exit_code = 128 + number
    self.name = signals.Signals(number).name


def did_not_fit(error: BaseException | None) -> bool:
  """Whether memory or threads ran out, which says nothing of what is read."""
  while error is not None:
    if isinstance(error, MemoryError) or str(error) in _NO_ROOM:
      return True
    error = error.__cause__ or error.__context__
  return False


def choose(value: Any, known: Iterable[Any], what: str) -> Any:
  """`value` if it is one of `known`; else a UserError with the nearest of them.

  Args:
    value: what was given.
    known: what is right, in the order to show.
    what: the name of the choice, such as the path of a field.
  """
  known = tuple(known)
  # Not `in`, for which 1, 1.0 and True are one.
  if any(type(value) is type(item) and value == item for item in known):
    return value
  raise UserError(
    f"{what}={value!r} must be one of {', '.join(map(str, known)) or 'none at all'}."
    f"{nearest(value, known)}"
  )


def nearest(value: Any, known: Iterable[Any]) -> str:
  """` Did you mean "x"?`, or nothing where no known name is similar."""
  # Whatever their case; of names that differ in nothing else the first.
  names = {}
  for name in known:
    if isinstance(name, str) and name:
      names.setdefault(name.lower(), name)
  close = difflib.get_close_matches(str(value).lower(), names, n=1, cutoff=0.5)
  return f' Did you mean "{names[close[0]]}"?' if close else ""
