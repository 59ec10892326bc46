"""Mistakes in a model file of the user's own, told as theirs."""

import contextlib
import traceback
from collections.abc import Iterator

from mcr_jax.errors import McrJaxError, UserError


@contextlib.contextmanager
def told(file: str) -> Iterator[None]:
  """A block in which an error that a model file raises becomes a UserError.

  Args:
    file: `model.file` of a config; "" is a model of the package, whose errors are ours.
  """
  try:
    yield
  except McrJaxError:
    raise
  except Exception as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == file]
    if not file or not lines:
      raise
    what = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    raise UserError(f"model.file={file}, line {lines[-1]}: {what}.") from error
