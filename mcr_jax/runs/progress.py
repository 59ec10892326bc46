"""How far a run is and how long it still takes: a bar, or words where none can be."""

import sys
import threading
import time
from collections.abc import Callable

SILENCE = 5.0  # seconds after which a program says what it does


class Progress:
  """Counts the steps of a run, from where it was resumed.

  On a terminal it draws a bar on stderr. Elsewhere it prints nothing: `note` gives the
  time left for the line that every epoch gets anyway.
  """

  def __init__(self, steps: int, *, done: int = 0, enabled: bool = True):
    """Starts nothing yet: the first call compiles, which says nothing about speed.

    Args:
      steps: of the whole run, if no seed stops early.
      done: those that an interrupted run has behind it.
      enabled: False draws nothing, for processes other than the first.
    """
    self.steps, self.done = steps, done
    self._since = self._until = None
    self._steady = False
    self._bar = None
    if enabled and sys.stderr is not None and sys.stderr.isatty():
      from tqdm import tqdm

      self._bar = tqdm(
        total=steps, initial=done, unit="step", dynamic_ncols=True, file=sys.stderr
      )

  def __enter__(self) -> "Progress":
    return self

  def __exit__(self, *_) -> None:
    self.close()

  def update(self, steps: int, text: str = "") -> None:
    """Adds steps that are done.

    Args:
      steps: how many more.
      text: stands before the bar, such as "epoch 3/40".
    """
    self.done += steps
    self._until = (time.monotonic(), self.done)
    self._since = self._since or self._until
    if self._bar is not None:
      if text:
        self._bar.set_description(text, refresh=False)
      self._bar.update(steps)

  def warm(self) -> None:
    """Everything is compiled now: from here on the clock counts all that a run does."""
    self._since = self._until = (time.monotonic(), self.done)
    self._steady = True

  def seconds_left(self) -> float | None:
    """By the average speed; None before there is one."""
    if self._since is None:
      return None
    now, done = self._until
    if self._steady:
      now = time.monotonic()  # a validation that just ended counts, too
    seconds, new = now - self._since[0], done - self._since[1]
    return seconds * max(0, self.steps - self.done) / new if new > 0 else None

  def note(self) -> str:
    """The time left in words, and nothing where the bar shows it."""
    seconds = self.seconds_left()
    if self._bar is not None or seconds is None:
      return ""
    return f"({duration(seconds)} left)"

  def close(self) -> None:
    """Leaves the bar as it stands."""
    if self._bar is not None:
      self._bar.close()
      self._bar = None


class Waiting:
  """Says once what a program is at, where nothing has been heard for some seconds."""

  def __init__(self, say: Callable[[str], None], text: str = "compiling ..."):
    """Starts nothing yet.

    Args:
      say: prints a line; called from a thread.
      text: the line.
    """
    self._timer = threading.Timer(SILENCE, say, (text,))
    self._timer.daemon = True

  def __enter__(self) -> "Waiting":
    self._timer.start()
    return self

  def __exit__(self, *_) -> None:
    self.over()

  def over(self) -> None:
    """Something was heard, or nothing more is to be."""
    self._timer.cancel()


def duration(seconds: int | float) -> str:
  """Seconds in words: 42 s, 3 min 5 s, 2 h 7 min."""
  seconds = round(seconds)
  if seconds < 60:
    return f"{seconds} s"
  if seconds < 3600:
    return f"{seconds // 60} min {seconds % 60} s"
  return f"{seconds // 3600} h {seconds % 3600 // 60} min"
