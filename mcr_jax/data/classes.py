"""Classes that have samples, and those that have none to learn from."""

import dataclasses

import numpy as np

from mcr_jax.data.schema import SPLITS, Dataset


def numbered(labels: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """Whole numbers from 0 in place of those that occur, and which these are.

  Args:
    labels: (N,) int.
    known: (N,) bool; what is not known stays as it is.
  """
  found = np.unique(labels[known])
  places = np.searchsorted(found, labels)
  return np.where(known, places, labels), found


def named(dataset: Dataset) -> Dataset:
  """Unnamed classes with gaps, such as 1 to 3, take numbers from 0 and their old names.

  Labels by modality are of the same classes and follow.
  """
  labels = dataset.labels
  if dataset.class_names or dataset.task != "multiclass" or labels.min(initial=0) < 0:
    return dataset
  columns = {
    name: x
    for name, x in dataset.columns.items()
    if x.role == "modality_label" and x.values.dtype.kind in "biu"
    if x.values.shape == labels.shape
  }
  known = [dataset.labelled, *(x.known for x in columns.values())]
  joined = np.concatenate([labels, *(x.values for x in columns.values())])
  joined, found = numbered(joined.astype(np.int64), np.concatenate(known))
  if not _has_gaps(found, len(labels)):
    return dataset
  parts = np.split(joined, 1 + len(columns))
  new = {
    name: dataclasses.replace(x, values=values)
    for (name, x), values in zip(columns.items(), parts[1:], strict=True)
  }
  names = tuple(map(str, found.tolist()))
  return dataclasses.replace(
    dataset,
    labels=np.where(dataset.labelled, parts[0], 0),
    class_names=names,
    columns={**dataset.columns, **new},
  ).noted(
    f"The classes are {', '.join(names[:20])}{', ...' * (len(names) > 20)}: no sample "
    f"has another, so these {len(names)} are all, by these names."
  )


def of_targets(labels: np.ndarray) -> tuple[np.ndarray, tuple[tuple[str, ...], ...]]:
  """The same of labels (N, K), each with classes of its own: labels and their names."""
  columns, names = [], []
  for column in labels.T:
    places, found = numbered(column, column >= 0)
    if not _has_gaps(found, len(column)):
      places, found = column, np.arange(max(2, int(column.max(initial=0)) + 1))
    columns.append(places)
    names.append(tuple(map(str, found.tolist())))
  return np.stack(columns, 1), tuple(names)


def _has_gaps(found, count) -> bool:
  """Whether numbers are classes of `count` samples that are not numbered from 0 on."""
  return 2 * len(found) <= count and not np.array_equal(found, np.arange(len(found)))


def as_named(dataset: Dataset, names: tuple) -> Dataset | None:
  """The data set with its classes numbered as those of `names`, found by name.

  Args:
    dataset: of a classification.
    names: of the classes that are known, a tuple a label of a multi-task one.
  Returns:
    None where a sample is of none of these.
  """
  several = dataset.task == "multitask"
  own = dataset.class_names or (() if several else _own_names(dataset, names))
  if own == names:
    return dataclasses.replace(dataset, class_names=names)
  pairs = list(zip(own, names, strict=False)) if several else [(own, names)]
  if several and len(own) != len(names):
    return None
  flat = dataset.labels.reshape(len(dataset), -1)[dataset.labelled]
  tables = []
  for (mine, theirs), column in zip(pairs, flat.T, strict=True):
    if any(mine[i] not in theirs for i in np.unique(column)):
      return None
    tables.append(np.array([theirs.index(x) if x in theirs else 0 for x in mine]))

  def moved(labels, known):
    flat = labels.reshape(len(labels), -1)
    columns = [table[np.where(known, flat[:, i], 0)] for i, table in enumerate(tables)]
    return np.stack(columns, 1).reshape(labels.shape).astype(labels.dtype)

  columns = {
    name: dataclasses.replace(x, values=moved(x.values, x.known))
    if x.role == "modality_label" and x.values.shape == dataset.labels.shape
    else x
    for name, x in dataset.columns.items()
  }
  labels = moved(dataset.labels, dataset.labelled)
  return dataclasses.replace(dataset, labels=labels, class_names=names, columns=columns)


def _own_names(dataset, names) -> tuple[str, ...]:
  """Of unnamed classes: their numbers, or where others have words these, in order."""
  count = int(dataset.labels.max(initial=0)) + 1
  numbers = tuple(map(str, range(count)))
  if all(x.isdecimal() for x in names):
    return numbers
  return names if count <= len(names) else numbers


def untrained(dataset: Dataset) -> dict[str, dict[str, int]]:
  """Class -> split -> samples, of the classes that no training sample has."""
  if dataset.splits is None or dataset.task not in ("multiclass", "multitask"):
    return {}
  labels = dataset.labels.reshape(len(dataset), -1)
  several = dataset.task == "multitask"
  names = dataset.class_names if several else [dataset.class_names or _numbers(labels)]
  found = {}
  for number, own in enumerate(names):
    counts = {
      split: np.bincount(
        labels[(dataset.splits == split) & dataset.labelled, number], minlength=len(own)
      )
      for split in SPLITS
    }
    for place in np.flatnonzero(counts["train"][: len(own)] == 0):
      title = f"{_target(dataset, number)} {own[place]}" if several else own[place]
      found[title] = {x: int(n[place]) for x, n in counts.items() if x != "train"}
  return found


def notes(dataset: Dataset) -> tuple[str, ...]:
  """A sentence on the classes that no training sample has, if there are any."""
  found = untrained(dataset)
  if not found:
    return ()
  shown = ", ".join(
    f"{name!r} ({', '.join(f'{split} {n:,}' for split, n in counts.items())})"
    for name, counts in list(found.items())[:10]
  )
  return (
    f"No training sample is of {len(found)} of the classes, which are never learned: "
    f"{shown}{', ...' * (len(found) > 10)}.",
  )


def _numbers(labels):
  return [str(i) for i in range(int(labels.max(initial=0)) + 1)]


def _target(dataset, number):
  return dataset.target_names[number] if dataset.target_names else f"label {number}"
