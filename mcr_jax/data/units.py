"""What a sample is to the trainer: an utterance, or a dialogue of utterances in turn.

A data set is always by utterance. `Units` says which of its rows make a sample, so that
batches gather by `members`, and predictions go back to their utterances by it.
"""

import dataclasses

import numpy as np

from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError, choose

UNITS = ("utterance", "dialogue")
NOBODY = -1


@dataclasses.dataclass(frozen=True)
class Units:
  """The samples of a data set of N utterances.

  The column `dialogue_id` says which utterances are of one dialogue; where there is
  none, a video whose clips have a `turn` is one.

  Attributes:
    members: (G, U) int32, the rows of the utterances of every sample in the order of
      their turns, `NOBODY` behind its end; (N, 1), each its own row, of utterances.
      Dialogues stand in the order in which the file begins them.
    unit: of `UNITS`.
  """

  members: np.ndarray
  unit: str = "utterance"

  def __len__(self) -> int:
    return len(self.members)

  @property
  def lengths(self) -> np.ndarray:
    """(G,) utterances of every sample."""
    return (self.members != NOBODY).sum(1)

  @classmethod
  def of(cls, dataset: Dataset, unit: str = "utterance") -> "Units":
    """The samples of a data set.

    Raises:
      UserError: dialogues are asked for, and the data set does not say which utterance
        is of which, or says a turn twice, or has a dialogue in two splits.
    """
    choose(unit, UNITS, "data.unit")
    if unit == "utterance":
      return cls(np.arange(len(dataset), dtype=np.int32)[:, None])
    group = _numbered(dataset.columns[_grouping(dataset)].values)
    turn = _turns(dataset)
    # Stable: the order of the file where no turns are given.
    order = np.lexsort((turn, group))
    _check_turns(dataset, group, turn, order)
    _check_one_split(dataset, group)
    counts = np.bincount(group)
    within = np.arange(len(group)) - np.repeat(np.cumsum(counts) - counts, counts)
    members = np.full((len(counts), counts.max()), NOBODY, np.int32)
    members[group[order], within] = order
    return cls(members, unit)

  def splits(self, dataset: Dataset) -> np.ndarray | None:
    """(G,) str, the split of every sample; None where the data set has none."""
    return None if dataset.splits is None else dataset.splits[self.members[:, 0]]

  def columns(self, dataset: Dataset) -> dict[str, np.ndarray]:
    """What batches hold beside features and labels, by utterance.

    Returns:
      In dialogues `speaker` (N,) int32, numbered in each by first appearance, 0 where
      the file names nobody; `label_<modality>`, shaped like the labels, where the file
      has labels by modality of the same kind (an utterance that lacks one has its own
      label there).
    """
    speaker = {"speaker": self._speakers(dataset)} if self.unit == "dialogue" else {}
    return speaker | _modality_labels(dataset)

  def _speakers(self, dataset: Dataset) -> np.ndarray:
    speakers = np.zeros(len(dataset), np.int32)
    if "speaker" in dataset.columns:
      names = dataset.columns["speaker"].values.tolist()
      for rows, length in zip(self.members, self.lengths, strict=True):
        numbers = {}
        for row in rows[:length].tolist():
          speakers[row] = numbers.setdefault(names[row], len(numbers))
    return speakers


def _numbered(values: np.ndarray) -> np.ndarray:
  """(N,) int: equal values as one number, in the order of first appearance."""
  _, first, inverse = np.unique(values, return_index=True, return_inverse=True)
  rank = np.empty(len(first), np.int64)
  rank[np.argsort(first)] = np.arange(len(first))
  return rank[inverse.reshape(-1)]


def _grouping(dataset: Dataset) -> str:
  """The column that says which utterances form a dialogue."""
  if "dialogue_id" in dataset.columns:
    return "dialogue_id"
  if {"video_id", "turn"} <= set(dataset.columns):
    return "video_id"
  raise UserError(
    f"{dataset.source} has no 'dialogue_id', so nothing says which utterances form a "
    "dialogue: add it to the file, an entry an utterance, or take a model that reads "
    "utterances."
  )


def _turns(dataset: Dataset) -> np.ndarray:
  if "turn" in dataset.columns:
    return np.asarray(dataset.columns["turn"].values)
  return np.arange(len(dataset))


def _check_turns(dataset, group, turn, order) -> None:
  group, turn = group[order], turn[order]
  twice = np.flatnonzero((group[1:] == group[:-1]) & (turn[1:] == turn[:-1]))
  if len(twice):
    at = twice[0]
    first, second = (str(dataset.ids[row]) for row in order[at : at + 2])
    raise UserError(
      f"{dataset.source}: turn {turn[at]} of dialogue {_dialogue(dataset, order[at])} "
      f"is both {first!r} and {second!r}; the turns of a dialogue differ. Dialogues "
      "that are numbered anew in every split need the split in their 'dialogue_id'."
    )


def _check_one_split(dataset, group) -> None:
  if dataset.splits is None:
    return
  start = np.unique(group, return_index=True)[1][group]
  other = np.flatnonzero(dataset.splits != dataset.splits[start])
  if len(other):
    row = other[0]
    raise UserError(
      f"{dataset.source}: dialogue {_dialogue(dataset, row)} is in two splits, with "
      f"{str(dataset.ids[start[row]])!r} in {str(dataset.splits[start[row]])!r} and "
      f"{str(dataset.ids[row])!r} in {str(dataset.splits[row])!r}. All turns of a "
      f"dialogue belong to one; folds keep them by data.fold_by={_grouping(dataset)}."
    )


def _dialogue(dataset, row) -> str:
  return repr(dataset.columns[_grouping(dataset)].values[row].item())


def _modality_labels(dataset: Dataset) -> dict[str, np.ndarray]:
  labels, found = dataset.labels, {}
  if labels is None:
    return found
  for column in dataset.columns.values():
    same = column.values.dtype.kind == labels.dtype.kind
    if column.role == "modality_label" and same and column.values.shape == labels.shape:
      known = column.known.reshape(-1, *[1] * (labels.ndim - 1))
      values = np.where(known, column.values, labels).astype(labels.dtype)
      found[f"label_{column.modality}"] = values
  return found


def pooled(dataset: Dataset) -> Dataset:
  """The data set with one vector an utterance: sequences averaged over real steps.

  What a model of dialogues reads; an utterance without a real step misses the modality.
  """
  modalities, notes = {}, []
  for name, modality in dataset.modalities.items():
    if not modality.vector:
      notes.append(f"{name}: the steps of every turn are averaged.")
    modalities[name] = modality if modality.vector else _averaged(modality)
  return dataclasses.replace(dataset, modalities=modalities).noted(*notes)


def _averaged(modality: Modality) -> Modality:
  count = len(modality)
  owner = np.repeat(np.arange(count), modality.lengths)[modality.mask]
  steps = np.bincount(owner, minlength=count)
  sums = np.zeros((count, modality.width))
  np.add.at(sums, owner, modality.values[modality.mask])
  mean = Modality.from_vectors(sums / np.maximum(steps, 1)[:, None], steps > 0)
  return dataclasses.replace(mean, words=_joined(modality), names=modality.names)


def _joined(modality: Modality) -> np.ndarray | None:
  """(N,) the words of every utterance in one."""
  if modality.words is None:
    return None
  parts = np.split(modality.words, modality.offsets[1:-1])
  return np.array([" ".join(filter(None, x.tolist())) for x in parts], dtype=str)
