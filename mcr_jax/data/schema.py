"""What a data set is in memory: ragged sequences by modality name.

Padding is a matter of batches, not of data: a `Modality` holds the steps of every
sample one after another, so a file of any layout loads to the same arrays. Steps that
a file marks as absent inside a sequence (a face that was not found) stay, with
`mask` False.
"""

import dataclasses
import mmap
from collections.abc import Iterator, Mapping

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.ledger import Entry

SPLITS = ("train", "valid", "test")
ALIASES = {
  "language": "text",
  "l": "text",
  "video": "vision",
  "visual": "vision",
  "v": "vision",
  "acoustic": "audio",
  "a": "audio",
}


def canonical(name: str) -> str:
  """The name that mcr_jax uses for a modality: text, vision, audio, or `name`."""
  lower = name.lower()
  return lower if lower in ALIASES.values() else ALIASES.get(lower, name)


def chunks(values: np.ndarray, size: int = 1 << 24) -> Iterator[slice]:
  """Slices of about `size` bytes that cover the rows of `values` in order.

  The pages of a memory-mapped file are given back after each slice, so that a walk
  over a file does not fill the memory with it.
  """
  rows = max(1, size // max(1, values.itemsize * int(np.prod(values.shape[1:]))))
  for start in range(0, len(values), rows):
    yield slice(start, min(start + rows, len(values)))
    release(values)


def release(values: np.ndarray) -> None:
  """Gives the pages of a read-only memory map back to the system."""
  pages = getattr(values, "_mmap", None)
  # A private map ("c") would lose what was written to it.
  if pages is not None and values.mode == "r" and hasattr(mmap, "MADV_DONTNEED"):
    pages.madvise(mmap.MADV_DONTNEED)


@dataclasses.dataclass(frozen=True)
class Modality:
  """The sequences of one modality, one sample after another.

  Attributes:
    values: (sum T, D) float32, possibly a memory map.
    offsets: (N + 1,) int64; sample i is `values[offsets[i]:offsets[i + 1]]`.
    mask: (sum T,) bool, True on real steps.
    vector: whether every sample is one utterance-level vector, not a sequence.
    words: (sum T,) str, what was said at every step; None where the file has none.
    times: (sum T, 2) seconds at which steps begin and end, NaN where unknown, or None.
    names: of the D features, or ().
  """

  values: np.ndarray
  offsets: np.ndarray
  mask: np.ndarray
  vector: bool = False
  words: np.ndarray | None = None
  times: np.ndarray | None = None
  names: tuple[str, ...] = ()

  def __len__(self) -> int:
    return len(self.offsets) - 1

  @property
  def width(self) -> int:
    """The number of features of a step."""
    return self.values.shape[1]

  @property
  def lengths(self) -> np.ndarray:
    """(N,) steps of every sample, holes included."""
    return np.diff(self.offsets)

  @property
  def present(self) -> np.ndarray:
    """(N,) whether a sample has any real step of this modality."""
    counts = np.concatenate([[0], np.cumsum(self.mask, dtype=np.int64)])
    return counts[self.offsets[1:]] > counts[self.offsets[:-1]]

  def rows(self, indices: np.ndarray) -> np.ndarray:
    """The positions in `values` of all steps of some samples, in order."""
    starts, lengths = self.offsets[:-1][indices], self.lengths[indices]
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) + np.repeat(starts - (ends - lengths), lengths)

  def select(self, indices: np.ndarray) -> "Modality":
    """Only some samples, in the order of `indices`."""
    rows = self.rows(indices)
    offsets = np.concatenate([[0], np.cumsum(self.lengths[indices], dtype=np.int64)])
    return self._of_steps(rows, offsets)

  def _of_steps(self, steps: np.ndarray, offsets: np.ndarray) -> "Modality":
    """Only some steps, numbers or mask, which `offsets` divides among samples."""
    take = lambda array: None if array is None else array[steps]
    return dataclasses.replace(
      self,
      values=self.values[steps],
      offsets=offsets,
      mask=self.mask[steps],
      words=take(self.words),
      times=take(self.times),
    )

  def padded(self, indices: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Some samples, zero-padded at the end.

    Returns:
      values (n, length, D) float32, and mask (n, length) bool. A step without data,
      padding or hole, is zero.
    Raises:
      ValueError: a sample is longer than `length`.
    """
    lengths = self.lengths[indices]
    if len(lengths) and lengths.max() > length:
      raise ValueError(f"A sequence has {lengths.max()} steps; {length} were expected.")
    rows = self.rows(indices)
    # The same flat positions with every sample starting on a row of its own.
    ends = np.cumsum(lengths)
    begin = np.arange(len(lengths)) * length - (ends - lengths)
    positions = np.arange(len(rows)) + np.repeat(begin, lengths)
    values = np.zeros((len(lengths) * length, self.width), np.float32)
    mask = np.zeros(len(lengths) * length, bool)
    real = self.mask[rows]
    values[positions[real]] = self.values[rows[real]]
    mask[positions] = real
    return (
      values.reshape(len(lengths), length, self.width),
      mask.reshape(len(lengths), length),
    )

  def trimmed(self) -> "Modality":
    """Without the steps behind the last real one of every sample."""
    steps = np.arange(len(self.mask))
    last = np.maximum.accumulate(np.where(self.mask, steps, -1))
    ends = np.concatenate([[-1], last])[self.offsets[1:]] + 1
    lengths = np.maximum(ends - self.offsets[:-1], 0)
    return self if (lengths == self.lengths).all() else self.shortened(lengths)

  def shortened(self, lengths: np.ndarray) -> "Modality":
    """Only the first `lengths[i]` steps of every sample i."""
    within = np.arange(len(self.mask)) - np.repeat(self.offsets[:-1], self.lengths)
    kept = within < np.repeat(lengths, self.lengths)
    lengths = np.minimum(lengths, self.lengths)
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
    return self._of_steps(kept, offsets)

  @classmethod
  def absent(cls, count: int, width: int) -> "Modality":
    """A modality that `count` samples lack."""
    nothing = np.zeros((0, width), np.float32)
    return cls(nothing, np.zeros(count + 1, np.int64), np.zeros(0, bool))

  @classmethod
  def from_padded(
    cls,
    values: np.ndarray,
    mask: np.ndarray,
    vector: bool = False,
    *,
    words: np.ndarray | None = None,
    times: np.ndarray | None = None,
  ) -> "Modality":
    """Drops the padding behind the last real step of every sample.

    Args:
      values: (N, T, D).
      mask: (N, T) bool, True on real steps.
      vector: see the class.
      words: (N, T) str, or None.
      times: (N, T, 2), or None.
    """
    steps = mask.shape[1]
    positions = np.where(mask, np.arange(1, steps + 1), 0)
    last = positions.max(1, initial=0)
    kept = np.arange(steps) < last[:, None]
    offsets = np.concatenate([[0], np.cumsum(last, dtype=np.int64)])
    values = np.ascontiguousarray(values[kept], dtype=np.float32)
    words, times = (None if x is None else x[kept] for x in (words, times))
    return cls(values, offsets, mask[kept], vector, words, times)

  @classmethod
  def from_vectors(
    cls, values: np.ndarray, mask: np.ndarray | None = None
  ) -> "Modality":
    """Utterance-level features (N, D): one step a sample, real where `mask` is."""
    count = len(values)
    values = np.ascontiguousarray(values, dtype=np.float32)
    mask = np.ones(count, bool) if mask is None else mask
    return cls(values, np.arange(count + 1), mask, vector=True)


ROLES = ("label", "modality_label", "speaker", "dialogue", "turn", "video", "split")


@dataclasses.dataclass(frozen=True)
class Column:
  """What a data set says of every utterance beside its features.

  Attributes:
    values: (N, ...), one entry an utterance.
    role: what it means to a trainer, of `ROLES`, or "" of what it does not know.
    mask: (N,) bool, True where there is a value.
    modality: of a label that was given for one modality alone.
  """

  values: np.ndarray
  role: str = ""
  mask: np.ndarray | None = None
  modality: str = ""

  def __len__(self) -> int:
    return len(self.values)

  @property
  def known(self) -> np.ndarray:
    """(N,) bool, where there is a value."""
    return np.ones(len(self), bool) if self.mask is None else self.mask

  def select(self, indices: np.ndarray) -> "Column":
    """Only some utterances, in the order of `indices`."""
    mask = None if self.mask is None else self.mask[indices]
    return dataclasses.replace(self, values=self.values[indices], mask=mask)


TASKS = ("regression", "multiclass", "binary", "multitask")


def infer_task(labels: np.ndarray) -> str:
  """What labels are of, if nobody says: the only place that asks for their type.

  Numbers with a point are a regression, whole ones classes. Rows of whole ones are
  two-way labels, or `multitask` where one is above 1 and below the number of samples.
  """
  labels = np.asarray(labels)
  if labels.dtype.kind == "f":
    return "regression"
  if labels.ndim != 2 or labels.shape[1] < 2:
    return "multiclass"
  levels = labels.dtype.kind in "iu" and 1 < labels.max(initial=0) < len(labels)
  return "multitask" if levels else "binary"


@dataclasses.dataclass(frozen=True)
class Dataset:
  """A data set by utterance: modalities in their order, labels and splits.

  Attributes:
    ids: (N,) str.
    modalities: name -> Modality, all of N samples.
    splits: (N,) str, each of `SPLITS`; None in files made only for prediction.
    labels: (N,) float, (N,) int or (N, K); None in files made only for prediction.
    class_names: of a classification, in the order of the labels; else (). Of a
      multi-task one a tuple for each of the K labels.
    source: where it came from, for messages and logs.
    notes: what the reader found out or changed, one sentence each.
    extras: other arrays of the file, such as further labels and splits, which the
      config may choose instead; `raw_text` (N,), the sentences; `extract`, JSON of how
      the features were made.
    columns: name in the feature file -> Column, such as `speaker`.
    task: of `TASKS`; `infer_task(labels)` where it is not said, "" without labels.
    target_names: of K labels a sample; () where the file has none.
    label_mask: (N,) bool, False on utterances without a label that stay as context of
      their dialogue; None is all True.
    ledger: what became of every entry of the file; see `mcr_jax.data.ledger`.
  """

  ids: np.ndarray
  modalities: Mapping[str, Modality]
  splits: np.ndarray | None = None
  labels: np.ndarray | None = None
  class_names: tuple = ()
  source: str = ""
  notes: tuple[str, ...] = ()
  extras: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  columns: Mapping[str, Column] = dataclasses.field(default_factory=dict)
  task: str = ""
  target_names: tuple[str, ...] = ()
  label_mask: np.ndarray | None = None
  ledger: tuple[Entry, ...] = ()

  def __post_init__(self):
    if self.labels is None:
      object.__setattr__(self, "task", "")
    elif not self.task:
      object.__setattr__(self, "task", infer_task(self.labels))

  def __len__(self) -> int:
    return len(self.ids)

  def noted(self, *notes: str) -> "Dataset":
    """The same with further notes."""
    return dataclasses.replace(self, notes=self.notes + notes)

  def leaving(self, *entries: Entry) -> "Dataset":
    """The same with further entries of the ledger that were not used, and notes."""
    changed = dataclasses.replace(self, ledger=self.ledger + entries)
    return changed.noted(*ledger.notes(entries))

  def relabelled(
    self,
    labels: np.ndarray | None,
    *,
    task: str = "",
    class_names: tuple = (),
    target_names: tuple[str, ...] = (),
    label_mask: np.ndarray | None = None,
  ) -> "Dataset":
    """The same with other labels; what belonged to the old ones goes with them."""
    return dataclasses.replace(
      self,
      labels=labels,
      task=task,
      class_names=class_names,
      target_names=target_names,
      label_mask=label_mask,
    )

  def indices(self, split: str) -> np.ndarray:
    """The positions of the samples of one split, those without a label among them."""
    return np.flatnonzero(self.splits == split)

  def sentence(self, row: int) -> str:
    """What was said in an utterance, as far as the file says; else ""."""
    if "raw_text" in self.extras:
      return str(self.extras["raw_text"][row])
    for x in self.modalities.values():
      if x.words is not None:
        words = x.words[x.offsets[row] : x.offsets[row + 1]].tolist()
        return " ".join(word for word in words if word)
    return ""

  @property
  def labelled(self) -> np.ndarray:
    """(N,) bool, which samples have a label."""
    if self.labels is None:
      return np.zeros(len(self), bool)
    return np.ones(len(self), bool) if self.label_mask is None else self.label_mask

  @property
  def choices(self) -> dict[str, np.ndarray]:
    """Every further array of the file by name, whatever it is for."""
    return {**{name: x.values for name, x in self.columns.items()}, **self.extras}

  def select(self, indices: np.ndarray) -> "Dataset":
    """Only some samples, in the order of `indices`."""
    take = lambda array: None if array is None else array[indices]
    extras = {
      k: x[indices] for k, x in self.extras.items() if x.shape[:1] == (len(self),)
    }
    return dataclasses.replace(
      self,
      ids=self.ids[indices],
      modalities={m: x.select(indices) for m, x in self.modalities.items()},
      splits=take(self.splits),
      labels=take(self.labels),
      extras={**self.extras, **extras},
      columns={name: x.select(indices) for name, x in self.columns.items()},
      label_mask=take(self.label_mask),
    )

  @property
  def outputs(self) -> tuple[int, ...]:
    """The shape of one prediction.

    (1,) or (K,) numbers, (C,) classes, (K, 2), or (K, the most classes of a label).
    """
    if self.task == "binary":
      return (self.labels.shape[1], 2)
    if self.task == "multiclass":
      return (len(self.class_names) or int(self.labels.max()) + 1,)
    if self.task == "multitask":
      most = max(map(len, self.class_names), default=int(self.labels.max()) + 1)
      return (self.labels.shape[1], most)
    return (1,) if self.labels.ndim == 1 else (self.labels.shape[1],)
