"""A share of many runs, so that several processes or machines divide them."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from mcr_jax.errors import UserError
from mcr_jax.runs import workspace

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Share:
  """Every `of`-th run, beginning with the `number`-th.

  Who gets which depends on the list alone, not on what is done: the processes need not
  know of each other.

  Attributes:
    number: from 1 to `of`.
    of: how many shares there are.
  """

  number: int = 1
  of: int = 1

  def take(self, everything: Sequence[T]) -> list[T]:
    """The runs of this share."""
    return list(everything[self.number - 1 :: self.of])

  def ending(self, left: Sequence[str]) -> str:
    """What to do when the share is done, from what is left of all."""
    done = f"share {self.number} of {self.of} is done"
    if left:
      return f"{done}; other shares have {len(left)} left: {', '.join(left)}."
    return f"{done}, and so are the others: call without --share for the table."

  @contextlib.contextmanager
  def claim(self, workdir: Path) -> Iterator[None]:
    """Keeps every other process from the same share of a folder.

    Raises:
      UserError: another one has it.
    """
    if self == WHOLE:
      with workspace.claim(workdir):
        yield
      return
    own = workdir / f".share_{self.number}_of_{self.of}"
    try:
      with workspace.claim(own):
        yield
    finally:
      with contextlib.suppress(OSError):
        own.rmdir()


WHOLE = Share()


def parse(text: str) -> Share:
  """The share that `I/N` names.

  Raises:
    UserError: it is none.
  """
  found = re.fullmatch(r"(\d+)/(\d+)", text)
  number, of = map(int, found.groups()) if found else (0, 0)
  if not 1 <= number <= of:
    raise UserError(f"--share {text!r} must be I/N with I from 1 to N, such as 2/4.")
  return Share(number, of)
