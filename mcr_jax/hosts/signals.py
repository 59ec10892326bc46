"""Ctrl-C and SIGTERM as a flag that the loop looks at between two calls."""

import os
import signal
import threading
from types import FrameType

from mcr_jax.errors import Interrupted

CAUGHT = (signal.SIGINT, signal.SIGTERM)


class Signals:
  """Inside it, the first signal only sets `number`; a second Ctrl-C stops at once.

  Outside the main thread, where Python allows no handlers, it does nothing.

    with Signals() as signals:
      for call in calls:
        call()
        if signals.number:
          save()
          raise signals.interrupted("Resume it with --resume.")
  """

  def __init__(self):
    self.number: int | None = None
    self._before = {}

  def __enter__(self) -> "Signals":
    if threading.current_thread() is threading.main_thread():
      for number in CAUGHT:
        self._before[number] = signal.signal(number, self._handle)
    return self

  def __exit__(self, *_) -> None:
    for number, handler in self._before.items():
      # None: a handler that C set and Python cannot put back.
      signal.signal(number, signal.SIG_DFL if handler is None else handler)
    self._before.clear()

  def interrupted(self, message: str) -> Interrupted:
    """The exception that ends a run after its checkpoint; names the signal."""
    name = signal.Signals(self.number).name
    return Interrupted(self.number, f"Stopped by {name}. {message}".rstrip())

  def _handle(self, number: int, frame: FrameType | None) -> None:
    if self.number is not None and number == signal.SIGINT:
      raise KeyboardInterrupt
    self.number = number
    if number == signal.SIGINT and os.isatty(2):
      # Not print, which may be interrupted in the middle of a line of its own.
      os.write(2, b"\nStopping after a checkpoint; Ctrl-C again stops at once.\n")
