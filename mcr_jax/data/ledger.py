"""What became of every entry of a file: nothing is left out without a word.

A reader tells its `Ledger` everything that a file holds (`hold`), and then what each of
it became (`use`) or why it became nothing (`leave`). What was held and of which nothing
was said stands in the ledger as not used all the same, so that a reader cannot lose
something that it does not know.
"""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral

SHOWN = 5
LONGEST = 60
NOT_USED = "Not used: "
UNKNOWN = "nothing here reads it"


@dataclasses.dataclass(frozen=True)
class Entry:
  """One thing that a file holds, or some of what is in it.

  Attributes:
    name: as the file has it; with its place, `train/raw_text`, where the same name
      became something else in another place.
    count: how many there are of it.
    unit: of what, in words: samples, rows, files.
    use: what it became; "" where it was not used.
    why: it was not used.
    items: some of them by name, `SHOWN` at most.
  """

  name: str
  count: int
  unit: str = "entries"
  use: str = ""
  why: str = ""
  items: tuple[str, ...] = ()

  def __str__(self) -> str:
    more = ", ..." * (self.count > len(self.items))
    items = f" ({', '.join(self.items)}{more})" if self.items else ""
    unit = self.unit
    if self.count == 1:
      unit = "entry" if unit == "entries" else unit.removesuffix("s")
    return f"{self.name}: {self.count:,} {unit}{items}"


class Ledger:
  """What a reader used of a file, and what it did not."""

  def __init__(self):
    # (name, place) -> count, unit, and what was said of it.
    self._held: dict[tuple[str, str], tuple[int, str]] = {}
    self._fate: dict[tuple[str, str], tuple[str, str]] = {}
    self._parts: list[Entry] = []

  def hold(
    self,
    name: str,
    count: Integral | int = 1,
    unit: str = "entries",
    *,
    place: str = "",
  ) -> None:
    """Says that a file has something, such as an array of `count` samples.

    Args:
      name: as the file has it.
      count: how many there are of it.
      unit: of what, in words.
      place: the part of the file that it is in, such as a split; what has one name in
        all places and became the same in all is one entry.
    """
    count += self._held.get((name, place), (0, ""))[0]
    self._held[name, place] = (int(count), unit)

  def hold_all(
    self, content: Mapping, unit: str = "entries", *, place: str = ""
  ) -> None:
    """Holds every key of a dict with the size of its value."""
    for key, value in content.items():
      self.hold(shown(key), size(value), unit, place=place)

  def use(self, name: str, use: str, *, place: str | None = None) -> None:
    """Says what something became, in one place or wherever it is."""
    self._say(name, place, (use, ""))

  def gather(self, names: Sequence[str], title: str, use: str, unit: str) -> None:
    """Says what many that are held became together, as one entry of `unit`."""
    own = set(names)
    for key in [x for x in self._held if x[0] in own]:
      del self._held[key]
    self.hold(title, len(names), unit)
    self.use(title, use)

  def leave(self, name: str, why: str, *, place: str | None = None) -> None:
    """Says why something became nothing; what was used stays so."""
    self._say(name, place, ("", why))

  def part(
    self,
    name: str,
    count: Integral | int,
    why: str,
    unit: str = "entries",
    items: Iterable[object] = (),
  ) -> None:
    """Says that of something that was used, or of several, `count` were not.

    Nothing is said where `count` is 0.
    """
    if count:
      self._parts.append(left(name, count, why, unit, items))

  def entries(self) -> tuple[Entry, ...]:
    """Everything that was held, and the parts of it that were left."""
    places = collections.Counter(name for name, _ in self._held)
    merged: dict[tuple, list] = {}
    for (name, place), (count, unit) in self._held.items():
      fate = self._fate.get((name, place), ("", UNKNOWN))
      merged.setdefault((name, unit, *fate), []).append((place, count))
    found = []
    for (name, unit, use, why), where in merged.items():
      whole = len(where) == places[name]
      within = "" if whole else "+".join(place for place, _ in where if place)
      title = f"{within}/{name}" if within else name
      found.append(Entry(title, sum(n for _, n in where), unit, use, why))
    return (*found, *self._parts)

  def _say(self, name, place, fate):
    for key in self._held:
      if key[0] == name and place in (None, key[1]):
        if fate[0] or not self._fate.get(key, ("", ""))[0]:
          self._fate[key] = fate


def left(
  name: str,
  count: Integral | int,
  why: str,
  unit: str = "entries",
  items: Iterable[object] = (),
) -> Entry:
  """The entry of something that was not used."""
  some = tuple(shown(x) for _, x in zip(range(SHOWN), items, strict=False))
  return Entry(name, int(count), unit, why=why, items=some)


def unused(entries: Sequence[Entry]) -> list[Entry]:
  """Those that became nothing."""
  return [x for x in entries if not x.use]


def notes(entries: Sequence[Entry]) -> tuple[str, ...]:
  """A sentence for each reason why something was not used."""
  reasons: dict[str, list[Entry]] = {}
  for entry in unused(entries):
    reasons.setdefault(entry.why, []).append(entry)
  return tuple(f"{NOT_USED}{_list(x)}; {why}." for why, x in reasons.items())


def _list(entries):
  more = len(entries) - 4 * SHOWN
  text = ", ".join(map(str, entries[: 4 * SHOWN]))
  return text + (f" and {more} more" if more > 0 else "")


def table(entries: Sequence[Entry]) -> list[str]:
  """A line an entry for a report: name, count, and what became of it."""
  entries = [*(x for x in entries if x.use), *unused(entries)]
  wide = min(40, max((len(str(x)) for x in entries), default=0))
  fate = lambda x: x.use or f"NOT USED: {x.why}"
  return [f"  {str(x).ljust(wide)}  {fate(x)}" for x in entries]


def shown(name: object) -> str:
  """A name of a file, short enough for a line."""
  text = name if isinstance(name, str) else repr(name)
  return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."


def size(value: object) -> int:
  """How many something holds: the rows of an array, the items of a list, else 1."""
  shape = getattr(value, "shape", None)
  if shape is not None:
    return int(shape[0]) if shape else 1
  return len(value) if isinstance(value, list | tuple | dict | set) else 1
