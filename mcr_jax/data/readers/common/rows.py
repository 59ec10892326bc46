"""Samples as rows of columns, and which of the columns say what, by their names.

What people save without thinking of a format is a table in one order or another: a list
of dicts, a dict by sample, a dict of columns, a table of text. All become `Rows`.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from mcr_jax.data import columns as named_columns
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common.values import MODALITIES, sdk_name
from mcr_jax.data.schema import canonical

# In lower case without signs, the likelier first.
IDS = (
  *("id", "ids", "uid", "sampleid", "segmentid", "clipid", "segment"),
  *("segments", "filename", "file", "name", "names", "clip", "key", "path", "filepath"),
)
SPLITS = ("split", "splits", "set", "subset", "partition", "phase", "usage")
LABELS = (
  *("label", "labels", "y", "target", "targets", "class", "classes", "emotion"),
  *("emotions", "sentiment", "classlabel", "score", "rating", "valence", "arousal"),
  "dominance",
)
SENTENCES = ("rawtext", "sentence", "transcript", "transcription", "utterance", "words")
TIMES = ("frametime", "timestamp", "time", "frame")
OWN = {"utteranceid": "turn", "dialogueid": "dialogue_id", "videoid": "video_id"} | {
  x.lower().replace("_", ""): x for x in named_columns.ROLES
}


@dataclasses.dataclass(frozen=True)
class Part:
  """Some samples, one split of a file or all of it.

  Attributes:
    place: what the file calls the split; "" of a file that has no splits.
    columns: name -> an entry a sample, None where a sample has none.
    count: of the samples.
  """

  place: str
  columns: dict[str, Sequence | np.ndarray]
  count: int


@dataclasses.dataclass(frozen=True)
class Rows:
  """The samples of a file.

  Attributes:
    parts: its splits, or one part.
    how: they lie in the file, a sentence.
    where: index -> the place of a sample in the file, such as `row 9`.
    beside: name -> entries of what has no entry a sample.
  """

  parts: tuple[Part, ...]
  how: str
  where: Callable[[int], str] = "sample {}".format
  beside: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def keys(self) -> list[str]:
    """The names of all columns, in the order in which they first appear."""
    return list(dict.fromkeys(key for part in self.parts for key in part.columns))

  @property
  def count(self) -> int:
    """The number of samples."""
    return sum(part.count for part in self.parts)

  def column(self, key: str) -> list:
    """The entries of all samples, None where there is none."""
    found = []
    for part in self.parts:
      own = part.columns.get(key)
      found += [None] * part.count if own is None else list(own)
    return found


def joined(parts: Mapping[str, Rows]) -> Rows | None:
  """The rows of several files, a split each; None where one has splits of its own."""
  found = [(place, x.parts) for place, x in parts.items()]
  if any(len(own) != 1 or own[0].place for _, own in found):
    return None
  made = tuple(dataclasses.replace(own[0], place=place) for place, own in found)
  first = next(iter(parts.values()))
  return Rows(made, f"It is a file a split. Of {made[0].place}: {first.how}")


@dataclasses.dataclass
class Reading:
  """Rows on the way to a data set.

  Attributes:
    rows: of the file.
    source: for messages.
    decimal: the sign of decimal numbers in cells of text.
    ledger: what became of every column.
    notes: what was found out, a sentence each.
  """

  rows: Rows
  source: str
  decimal: str
  ledger: Ledger
  notes: list[str]


def text(entry: object) -> str:
  """An entry as text, "" where there is none."""
  if is_nothing(entry):
    return ""
  return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry)


def plain(name: object) -> str:
  """A name without its case and signs."""
  return "".join(x for x in str(name).lower() if x.isalnum())


def role(name: str) -> str:
  """What a column is by its name: `id`, `split`, `label`, `sentence`, `time`, `own`.

  "" is none of these: perhaps features.
  """
  flat = plain(name)
  if flat in OWN:
    return "own"
  tables = dict(id=IDS, split=SPLITS, label=LABELS, sentence=SENTENCES, time=TIMES)
  found = next((kind for kind, names in tables.items() if flat in names), "")
  if found or not flat.startswith("label"):
    return found
  return "label"


def first(keys: Iterable[str], names: Sequence[str]) -> str:
  """The column whose name is the likeliest of some; "" if none is."""
  order = {name: i for i, name in enumerate(names)}
  found = [key for key in keys if plain(key) in order]
  return min(found, key=lambda key: order[plain(key)], default="")


def kind(column: Sequence | np.ndarray) -> str:
  """What a column holds: `array`, `number`, `text`, `nothing`, or `other` things."""
  if isinstance(column, np.ndarray) and column.dtype.kind != "O":
    if column.dtype.kind in "US":
      return "text" if column.ndim == 1 else "other"
    numbers = "number" if column.ndim == 1 else "array"
    return numbers if column.dtype.kind in "biuf" else "other"
  found = {_kind(x) for x in column if not is_nothing(x)}
  if not found:
    return "nothing"
  if found == {"text", "number"}:
    return "text"
  return found.pop() if len(found) == 1 else "other"


def is_nothing(entry: object) -> bool:
  """Whether there is no entry: None, or NaN as pandas writes it among others."""
  return entry is None or isinstance(entry, float) and bool(entry != entry)


def _kind(entry) -> str:
  if isinstance(entry, str | bytes):
    return "text"
  if isinstance(entry, bool | int | float | np.number | np.bool_):
    return "number"
  if isinstance(entry, np.ndarray) and entry.dtype.kind in "biuf":
    return "array" if entry.ndim else "number"
  if isinstance(entry, list | tuple):
    inner = entry[0] if len(entry) else 0.0
    return "array" if _kind(inner) in ("number", "array") else "other"
  return "other"


def modality(name: str) -> str:
  """The modality that a name of features says; "" if it says none.

  `text_feat`, `audio-embedding` and `Visual features` are text, audio and vision. One
  letter says nothing: spreadsheets and R number their columns so.
  """
  words = "".join(x if x.isalnum() else " " for x in name).split()
  if len(words) == 1 and words[0] == name:
    return canonical(name) if canonical(name) in MODALITIES else sdk_name(name)
  found = {canonical(x) for x in words if len(x) > 1} & set(MODALITIES)
  return found.pop() if len(found) == 1 else ""
