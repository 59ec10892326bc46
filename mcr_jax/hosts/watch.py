"""Notices that another process of a run is gone, so that nobody waits for it for ever.

A process that was killed leaves the others in a collective that never ends. JAX's own
heartbeat aborts them after minutes, with a stack of C++ and whatever code abort gives.
Here every process counts aloud in the key-value store that JAX's coordinator keeps, and
one whose count stands still is lost: the others say so and end with exit code 5, after
which a launcher starts all of them again with --resume.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable

from mcr_jax.errors import McrJaxError

# Seconds between two counts, and of silence after which a process is lost. Long enough
# for a machine that swaps; the threads need nothing of the main thread but the GIL.
INTERVAL = 2.0
TIMEOUT = 30.0
# For the main thread to end by itself once a collective has failed.
GRACE = 5.0

_FOLDER = "mcr_jax/pulse"
# How collectives fail at once when the other end of a connection is closed.
_BROKEN = ("Connection closed by peer", "Connection reset by peer", "Broken pipe")


class LostProcess(McrJaxError):
  """Another process of the run has ended, or cannot be reached."""

  exit_code = 5


class Watch:
  """Counts for this process, and listens to the others."""

  def __init__(
    self,
    client,
    index: int,
    count: int,
    *,
    interval: float | None = None,
    timeout: float | None = None,
    end: Callable[[int], object] = os._exit,
  ):
    """Starts two threads; `close` ends them.

    Args:
      client: of JAX's coordination service.
      index: of this process.
      count: of all.
      interval: see `INTERVAL`.
      timeout: see `TIMEOUT`.
      end: leaves the process with an exit code, at once.
    """
    self.client, self.index = client, index
    self.interval = INTERVAL if interval is None else interval
    # In turns of the listener, which stand still when the whole machine does.
    self.patience = max(
      2, round((TIMEOUT if timeout is None else timeout) / self.interval)
    )
    self.verdict = threading.Event()
    self.reason = ""
    self._end, self._closed = end, threading.Event()
    self._turn = 0
    self._heard = {i: ("", 0) for i in range(count) if i != index}
    for work in (self._count, self._listen):
      threading.Thread(target=work, name=f"watch{work.__name__}", daemon=True).start()

  def close(self) -> None:
    """Falls silent; the others notice if they still need this process."""
    self._closed.set()

  def explain(self, error: Exception) -> str:
    """Why a computation failed, if another process is the reason; waits to be sure."""
    text = str(error)
    if any(words in text for words in _BROKEN):
      self.reason = self.reason or "another process of this run has ended"
      self.verdict.set()
    elif "RESOURCE_EXHAUSTED" not in text and "INVALID_ARGUMENT" not in text:
      self.verdict.wait((self.patience + 2) * self.interval)
    return self.reason if self.verdict.is_set() else ""

  def _count(self) -> None:
    number = 0
    while not self._closed.is_set():
      number += 1
      # A coordinator that is gone is noticed by the silence of all.
      with contextlib.suppress(Exception):
        self.client.key_value_set(
          f"{_FOLDER}/{self.index}", str(number), allow_overwrite=True
        )
        for key, value in self.client.key_value_dir_get(_FOLDER):
          other = int(key.rsplit("/", 1)[1])
          if other in self._heard and self._heard[other][0] != value:
            self._heard[other] = (value, self._turn)
      self._closed.wait(self.interval)

  def _listen(self) -> None:
    while not self._closed.wait(self.interval):
      self._turn += 1
      silent = [i for i, x in self._heard.items() if self._turn - x[1] > self.patience]
      if silent:
        self.reason = self._sentence(silent)
        self.verdict.set()
        # The main thread tells it better, unless it hangs in a collective.
        if not self._closed.wait(GRACE):
          say(self.reason)
          self._end(LostProcess.exit_code)
        return

  def _sentence(self, silent: list[int]) -> str:
    if len(silent) == len(self._heard) > 1 and 0 in silent:
      silent = [0]  # it keeps the store: without it nobody can be heard
    names = " and ".join(map(str, silent[:3])) + ", ..." * (len(silent) > 3)
    one = len(silent) == 1
    return (
      f"process{'' if one else 'es'} {names} of {len(self._heard) + 1} "
      f"{'has' if one else 'have'} not been heard of for "
      f"{self.patience * self.interval:.0f} s"
    )


def say(reason: str) -> None:
  """The line that `cli` would print, from a thread that cannot raise."""
  with contextlib.suppress(OSError, ValueError):
    print(f"mcr_jax: error: {sentence(reason)}", file=sys.stderr, flush=True)


def sentence(reason: str) -> str:
  """What happened, and what to do."""
  return (
    f"{reason[:1].upper()}{reason[1:]}: this process cannot go on alone. Start all of "
    "them again with --resume."
  )
