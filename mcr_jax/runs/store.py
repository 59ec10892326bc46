"""A tree of NumPy arrays in a folder, by Orbax: without a word, and with reasons."""

import contextlib
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
from absl import logging as absl_logging

from mcr_jax import allocator, files
from mcr_jax.errors import FILE_ERRORS, UserError

_CLOSED = "Event loop is closed"
_UNRETRIEVED = "exception was never retrieved"


def write(folder: Path, tree: dict) -> None:
  """Writes a tree of arrays; the folder appears when all of it is written."""
  with _quiet():
    ocp, checkpointer = _orbax()
    checkpointer.save(folder, args=ocp.args.PyTreeSave(tree))


def read(folder: Path) -> dict:
  """What `write` wrote, every leaf as a NumPy array."""
  with _quiet():
    ocp, checkpointer = _orbax()
    names = checkpointer.metadata(folder).item_metadata.tree
    # Scalars would come back as Python's, and arrays on the devices they came from.
    as_numpy = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), names)
    return checkpointer.restore(
      folder, args=ocp.args.PyTreeRestore(restore_args=as_numpy)
    )


def not_saved(folder: Path, error: Exception) -> Exception:
  """What a disk refused as the user's mistake; anything else as it came.

  Args:
    folder: that was not written.
    error: of `write`, or of what belongs to it.
  """
  number = _number(error) or _refused(folder.parent)
  if number not in FILE_ERRORS:
    limit = allocator.address_limit()
    if not limit:
      return error
    # TensorStore has no word of its own for a thread or a buffer that it did not get.
    return UserError(
      f"{folder} was not saved; the limit of addresses (ulimit -v) of "
      f"{limit / 1e9:.1f} GB may not suffice ({str(error)[:200]}). What was saved "
      "before it is whole: lift it, and go on with --resume."
    )
  return UserError(
    f"{folder} was not saved: {FILE_ERRORS[number]} ({os.strerror(number)}). What was "
    "saved before it is whole: mend this, and go on with --resume."
  )


def _number(error: BaseException | None) -> int | None:
  """The error number of the system that an exception came from, if it says one."""
  while error is not None:
    if isinstance(error, OSError) and error.errno:
      return error.errno
    # TensorStore says it in its text, whatever the type that becomes of it.
    if found := re.search(r"os_error_code=\D{0,4}(\d+)", str(error)):
      return int(found[1])
    error = error.__cause__ or error.__context__
  return None


def _refused(folder: Path) -> int | None:
  """The error number of writing a file there.

  A thread of Orbax that meets a full disk may leave nothing of its reason but that
  another one found its event loop closed.
  """
  error = files.refused(folder)
  return error.errno if error else None


def _orbax():
  """A synchronous Orbax checkpointer; imported late, because that takes seconds."""
  import orbax.checkpoint as ocp

  _ignore_closed_loops()
  logging.getLogger("asyncio").addFilter(_retrieved)
  # NumPy leaves in one OCDBT store: the fastest of Orbax's layouts, 110 ms against
  # 270 for JAX arrays and 150 for a file an array (300 leaves of 40 x 40, 2 cores).
  return ocp, ocp.Checkpointer(ocp.PyTreeCheckpointHandler(use_ocdbt=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
  """Orbax logs a dozen lines a save; real trouble arrives as an exception."""
  before = absl_logging.get_verbosity()
  absl_logging.set_verbosity(absl_logging.FATAL)
  yield
  # Not where it raises: the threads of the other arrays may log their share later.
  absl_logging.set_verbosity(before)


def _retrieved(record: logging.LogRecord) -> bool:
  """False for what asyncio says of the arrays beside one that could not be read."""
  return _UNRETRIEVED not in str(record.msg)


def _ignore_closed_loops() -> None:
  """Silences threads of TensorStore that report to nobody.

  One array that cannot be written or read ends the event loop, and the threads of all
  others print that they have found it closed, some of them after the exception is
  through. Nothing else is silenced.
  """
  before = sys.unraisablehook
  if getattr(before, "ignores_closed_loops", False):
    return

  def hook(found) -> None:
    closed = isinstance(found.exc_value, RuntimeError) and found.object is None
    if not (closed and str(found.exc_value) == _CLOSED):
      before(found)

  hook.ignores_closed_loops = True
  sys.unraisablehook = hook
