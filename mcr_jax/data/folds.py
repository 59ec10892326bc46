"""Cross-validation: which samples test, validate and train in every fold.

The groups of a data set are divided into K parts. Fold k tests on part k, validates on
part k + 1 (the first follows the last), and trains on the rest. No group is divided.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError, choose


def split(dataset: Dataset, group: Mapping[str, Any]) -> list[Dataset]:
  """The data set once for each fold, with its splits.

  Args:
    dataset: checked; its own splits play no part.
    group: `data` of a config, of which this reads `folds`, `fold_*` and `seed`.
  """
  splits = assign(
    dataset,
    group["folds"],
    group.get("fold_by", "id"),
    repeats=group.get("fold_repeats", 1),
    shuffle=group.get("fold_shuffle", False),
    stratify=group.get("fold_stratify", False),
    seed=group.get("seed", 0),
  )
  return [dataclasses.replace(dataset, splits=own) for own in splits]


def assign(
  dataset: Dataset,
  folds: int,
  by: str = "id",
  *,
  repeats: int = 1,
  shuffle: bool = False,
  stratify: bool = False,
  seed: int = 0,
) -> np.ndarray:
  """(repeats * folds, N) str: the splits of all folds, repeat by repeat.

  Without `shuffle` this is scikit-learn's KFold of samples, and its GroupKFold of
  groups, where the largest go to the smallest part first; with it, too, repeat r being
  shuffled by the seed `seed + r`.

  Args:
    dataset: checked.
    folds: how many parts, at least 3.
    by: what keeps samples together: `id` (every sample is a group of its own),
      `dialogue_id`, `video_id`, or any other array of the file with an entry a sample.
    repeats: how often the groups are divided anew.
    shuffle: whether at random.
    stratify: spread the classes evenly over the parts.
    seed: of the shuffling.
  Raises:
    UserError: there is no such column, there are fewer groups than folds, or a class is
      missing where some fold trains.
  """
  if folds < 3:
    raise UserError(
      f"data.folds={folds}: right are 3 or more, one to test, one to validate and the "
      "rest to train."
    )
  if repeats > 1 and not shuffle:
    raise UserError(
      f"data.fold_repeats={repeats} would repeat the same folds; "
      "data.fold_shuffle=True makes new ones."
    )
  groups, count = _groups(dataset, by)
  if count < folds:
    raise UserError(
      f"data.folds={folds} are more than {dataset.source} has different values of "
      f"{by!r}: {count}."
    )
  classes = _classes(dataset, stratify)
  splits = []
  for repeat in range(repeats):
    order = np.arange(count)
    if shuffle:
      # The stream of RandomState is promised to stay; that of Generator is not.
      np.random.RandomState((seed + repeat) % 2**32).shuffle(order)
    if stratify:
      part = _stratified(order, groups, classes, folds)
    elif shuffle or by == "id":
      part = np.empty(count, np.int64)
      part[order] = np.repeat(
        np.arange(folds), [len(x) for x in np.array_split(order, folds)]
      )
    else:
      part = _balanced(np.bincount(groups), folds)
    splits += [_named(part[groups], k, folds) for k in range(folds)]
  for number, own in enumerate(splits):
    _check(dataset, own, number, stratify)
  return np.stack(splits)


def known(dataset: Dataset) -> list[str]:
  """What `by` may be."""
  arrays = {k: np.asarray(x) for k, x in dataset.choices.items()}
  return ["id", *(k for k, x in arrays.items() if x.shape == (len(dataset),))]


def _groups(dataset: Dataset, by: str) -> tuple[np.ndarray, int]:
  """(N,) the number of every sample's group, and how many groups there are."""
  choose(by, known(dataset), "data.fold_by")
  if by == "id":
    return np.arange(len(dataset)), len(dataset)
  names, groups = np.unique(dataset.choices[by], return_inverse=True)
  return groups, len(names)


def _classes(dataset: Dataset, needed: bool) -> np.ndarray | None:
  """(N, C) which class a sample is of; several labels together make one."""
  if not needed:
    return None
  if dataset.task == "regression":
    raise UserError(
      f"data.fold_stratify spreads classes, and {dataset.source} is a regression."
    )
  number = np.unique(dataset.labels, axis=0, return_inverse=True)[1].reshape(-1)
  return (number[:, None] == np.arange(number.max() + 1)) & dataset.labelled[:, None]


def _balanced(sizes: np.ndarray, folds: int) -> np.ndarray:
  """(G,) the part of every group: the largest first, each to the smallest part."""
  part, totals = np.empty(len(sizes), np.int64), np.zeros(folds, np.int64)
  for group in np.argsort(sizes, kind="stable")[::-1]:
    part[group] = totals.argmin()
    totals[part[group]] += sizes[group]
  return part


def _stratified(order, groups, classes, folds) -> np.ndarray:
  """(G,) the part of every group, each where the shares of classes stay most equal.

  Groups that have much of one class are placed first, while there is room.
  """
  counts = np.zeros((len(order), classes.shape[1]))
  np.add.at(counts, groups, classes)
  total = np.maximum(counts.sum(0), 1)
  sizes = np.bincount(groups)
  part = np.empty(len(order), np.int64)
  shares, room = np.zeros((folds, classes.shape[1])), np.zeros(folds)
  # Of several equally good parts the smallest.
  for group in order[np.argsort(-counts[order].std(1), kind="stable")]:
    own = counts[group] / total
    tried = shares + np.eye(folds)[:, :, None] * own
    uneven = tried.std(1).mean(1)
    best = np.flatnonzero(np.isclose(uneven, uneven.min()))
    part[group] = best[room[best].argmin()]
    shares[part[group]] += own
    room[part[group]] += sizes[group]
  return part


def _named(part: np.ndarray, number: int, folds: int) -> np.ndarray:
  names = np.full(len(part), "train")
  names[part == (number + 1) % folds] = "valid"
  names[part == number] = "test"
  return names


def _check(dataset: Dataset, splits: np.ndarray, number: int, stratify: bool) -> None:
  """Every part has labels, and training every class that the data has."""
  labelled = dataset.labelled
  for name in ("train", "valid", "test"):
    if not labelled[splits == name].any():
      raise UserError(
        f"{dataset.source}: the {name} part of fold {number} has no label. Fewer "
        "data.folds have larger parts."
      )
  if dataset.task == "regression":
    return
  labels = dataset.labels.reshape(len(dataset), -1)
  hint = "" if stratify else " data.fold_stratify=True spreads the classes;"
  for target, own in enumerate(labels.T):
    missing = np.setdiff1d(own[labelled], own[labelled & (splits == "train")])
    if len(missing):
      raise UserError(
        f"{dataset.source}: {_class(dataset, target, int(missing[0]))} is not in the "
        f"training part of fold {number}.{hint} a class needs samples in more than two "
        "groups, and in more than can come to one part."
      )


def _class(dataset: Dataset, target: int, number: int) -> str:
  """A class in words: its name, and of which label where there are several."""
  names = dataset.class_names
  if dataset.task == "multiclass":
    return f"class {names[number] if names else number!r}"
  if dataset.task == "multitask":
    names = names[target]
    label = dataset.target_names[target] if dataset.target_names else target
    return f"class {names[number]!r} of label {label!r}"
  return f"{'yes' if number else 'no'} of {names[target] if names else target!r}"
