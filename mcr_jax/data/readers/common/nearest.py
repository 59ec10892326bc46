"""Which known format an unknown file comes nearest to, and what it lacks for it."""

from collections.abc import Iterable
from typing import NamedTuple


class Lack(NamedTuple):
  """What a format needs, of which a file has some.

  Attributes:
    has: what is there, in words.
    missing: what is not.
  """

  has: tuple[str, ...]
  missing: tuple[str, ...]


def of(found: Iterable[tuple[str, Lack | None]]) -> str:
  """A sentence on the format of which most is there; "" where nothing is of any.

  Args:
    found: what a format is in words, and what is there and missing of it.
  """
  some = [(name, lack) for name, lack in found if lack and lack.has]
  if not some:
    return ""
  name, lack = max(some, key=lambda x: (len(x[1].has), -len(x[1].missing)))
  return (
    f"The nearest known is {name}: it has {', '.join(lack.has)}, and lacks "
    f"{', '.join(lack.missing) or 'nothing by name, but its parts do not fit'}."
  )
