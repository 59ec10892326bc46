"""Labels in their final types: float32 or int32, of a task that is settled.

`as_task` reads labels as those of a task, `check` is what must hold of them then.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from mcr_jax.data import classes, suspect, unlabelled
from mcr_jax.data.schema import TASKS, Dataset
from mcr_jax.data.unlabelled import NO_CLASS
from mcr_jax.errors import UserError, choose

WANTED = {
  "multiclass": "whole numbers (N,) from 0",
  "binary": "zeros and ones (N, K)",
  "multitask": "whole numbers (N, K) from 0",
}


def as_task(dataset: Dataset, task: str) -> Dataset:
  """The data set with labels of a task, where its own say the same.

  Whole numbers may be read as regression; floats that are whole, as classes.

  Args:
    dataset: with labels of any kind, checked or not.
    task: of `TASKS`; `auto` takes the task that the data set states.
  Raises:
    UserError: they say something else.
  """
  task = dataset.task if task == "auto" else choose(task, TASKS, "data.task")
  if dataset.labels is None:
    return dataset
  labels = np.asarray(dataset.labels)
  if labels.dtype.kind not in "biuf" or labels.ndim not in (1, 2) or not labels.size:
    return dataset  # for `check` to refuse
  if task == "regression":
    return _as_numbers(_told_of_hidden(dataset, labels), labels)
  if task == "multiclass" and (classes_of := suspect.one_hot(labels)) is not None:
    names = dataset.class_names or dataset.target_names
    return dataclasses.replace(
      dataset, labels=classes_of, task=task, class_names=names, target_names=()
    )
  if labels.dtype.kind == "f" or task != dataset.task:
    labels = _as_classes(dataset, labels, task)
  changed = dataclasses.replace(dataset, labels=labels, task=task)
  return _named(changed) if task == "multitask" else _flat_names(changed)


def _told_of_hidden(dataset, labels):
  """With a note where -1, which may say that there is no label, becomes a number."""
  hidden, negative = labels == NO_CLASS, labels < 0
  if not hidden.any() or (negative & ~hidden).any() or labels.max() < 2:
    return dataset
  note = (
    f"{hidden.sum():,} of {labels.size:,} labels are -1, the only ones below 0, and "
    "are read as the number -1; write NaN where that says that there is no label."
  )
  return dataclasses.replace(
    dataset, notes=(*(x for x in dataset.notes if x != note), note)
  )


def check(dataset: Dataset, policy: str = "error") -> Dataset:
  """The data set with labels (N,) or (N, K), after all checks.

  Args:
    dataset: with labels of any kind; NaN, or -1 of classes, says that there is none.
    policy: what becomes of samples without a label, see `unlabelled.settle`.
  """
  labels, source = np.asarray(dataset.labels), dataset.source
  count = len(dataset)
  if labels.ndim not in (1, 2) or len(labels) != count or not labels.size:
    raise UserError(
      f"{source}: 'label' has shape {labels.shape}; for {count} samples it must be "
      f"({count},) or ({count}, K)."
    )
  if labels.ndim == 2 and labels.shape[1] == 1:
    labels = labels[:, 0]
  if labels.dtype.kind not in "biuf":
    raise UserError(
      f"{source}: 'label' is of type {labels.dtype}; right are floats (regression) or "
      "class numbers from 0, with the names in 'class_names'."
    )
  dataset = dataclasses.replace(dataset, labels=labels)
  if dataset.task == "regression" and labels.ndim == 2:
    dataset = _names_of_targets(dataset)
  dataset = as_task(dataset, dataset.task)
  dataset = unlabelled.settle(dataset, policy)
  if not dataset.class_names:
    dataset = classes.named(dataset)
  _check_target_names(dataset)
  checks = _check_numbers if dataset.task == "regression" else _check_classes
  labels = checks(dataset, np.asarray(dataset.labels))
  return dataclasses.replace(dataset, labels=labels)


def _names_of_targets(dataset: Dataset) -> Dataset:
  """K numbers have no classes: as many class names are the names of the numbers."""
  names = dataset.class_names
  if dataset.target_names or len(names) != dataset.labels.shape[1]:
    return dataset
  changed = dataclasses.replace(dataset, class_names=(), target_names=names)
  return changed.noted(
    f"The {len(names)} class names are taken for those of the {len(names)} numbers: "
    f"{', '.join(map(str, names[:10]))}{', ...' * (len(names) > 10)}."
  )


def usable(dataset: Dataset) -> Dataset:
  """With checked labels if they pass, else without any: prediction does without."""
  try:
    return dataset if dataset.labels is None else check(dataset)
  except UserError:
    return dataset.relabelled(None)


def _as_numbers(dataset, labels):
  """Whole numbers as what they are, not as classes."""
  if labels.dtype.kind == "f":
    return dataclasses.replace(dataset, task="regression")
  columns = {
    name: dataclasses.replace(column, values=column.values.astype(np.float32))
    if column.role == "modality_label"
    else column
    for name, column in dataset.columns.items()
  }
  labels = labels.astype(np.float32)
  return dataclasses.replace(
    dataset, labels=labels, task="regression", class_names=(), columns=columns
  )


def _as_classes(dataset, labels, task):
  """Labels of whole numbers as integers, `NO_CLASS` where a number is not there."""
  flat = labels.reshape(len(labels), -1)
  missing = unlabelled.absent(labels) | ~dataset.labelled
  known = flat[~missing]
  shaped = labels.ndim == (1 if task == "multiclass" else 2)
  whole = shaped and known.min(initial=0) >= 0 and (known == np.round(known)).all()
  if not whole or task == "binary" and known.max(initial=0) > 1:
    low, high = (f(known) if known.size else "none" for f in (np.min, np.max))
    raise UserError(
      f"data.task={task!r} needs labels that are {WANTED[task]}; those of "
      f"{dataset.source} are {labels.dtype} of shape {labels.shape}, from {low} to "
      f"{high}: {dataset.task}."
    )
  whole = np.full(flat.shape, NO_CLASS, np.int64)
  whole[~missing] = known
  return whole.reshape(labels.shape)


def _named(dataset):
  """A multi-task classification whose labels all have named classes."""
  labels, names = dataset.labels, dataset.class_names
  if names and all(isinstance(x, str) for x in names):
    if labels.ndim == 2 and len(names) != labels.shape[1]:
      # Of the classes, which all labels share.
      return dataclasses.replace(dataset, class_names=(names,) * labels.shape[1])
    # They were the names of two-way labels.
    dataset = dataclasses.replace(dataset, target_names=dataset.target_names or names)
    names = ()
  if not names and labels.ndim == 2:
    labels, names = classes.of_targets(labels)
  return dataclasses.replace(dataset, labels=labels, class_names=names)


def _flat_names(dataset):
  """Two-way labels take the names of the targets; nested names are not for these."""
  nested = any(not isinstance(x, str) for x in dataset.class_names)
  names = () if nested else dataset.class_names
  if dataset.task == "binary":
    names = names or dataset.target_names
  return dataclasses.replace(dataset, class_names=names)


def _check_numbers(dataset, labels) -> np.ndarray:
  with np.errstate(over="ignore"):  # what overflows is not finite
    labels = labels.astype(np.float32)
  bad = ~np.isfinite(labels).reshape(len(labels), -1).all(1)
  if bad.any():
    first = str(dataset.ids[bad.argmax()])
    raise UserError(
      f"{dataset.source}: {bad.sum()} of {len(labels)} labels are not finite, the "
      f"first of sample {first!r}. Leave out samples that have no label."
    )
  if dataset.class_names:
    raise UserError(
      f"{dataset.source}: 'label' is {dataset.labels.dtype} but there are "
      "'class_names'; class labels are integers from 0, regression has no class names."
    )
  return labels


def _check_classes(dataset, labels) -> np.ndarray:
  source, names = dataset.source, dataset.class_names
  lowest, highest = int(labels.min()), int(labels.max())
  if labels.ndim == 2:
    many = dataset.task == "multitask"
    if lowest < 0 or (highest > 1 and not many):
      raise UserError(
        f"{source}: 'label' of shape {labels.shape} holds integers from {lowest} to "
        f"{highest}; several labels a sample are 0 or 1, floats for regression, or "
        "classes from 0 with data.task=multitask."
      )
    if names and len(names) != labels.shape[1]:
      raise UserError(
        f"{source}: {len(names)} 'class_names' for {labels.shape[1]} labels a sample."
      )
    for number, own in enumerate(names if many else [names]):
      _check_names(source, own)
      if many and labels[:, number].max() >= len(own):
        _too_high(source, int(labels[:, number].max()), own)
    return labels.astype(np.int32)
  _check_names(source, names)
  if lowest < 0:
    raise UserError(
      f"{source}: 'label' holds the class {lowest}; classes are numbered from 0. For "
      "regression, save floats, or say data.task=regression."
    )
  if names and highest >= len(names):
    _too_high(source, highest, names)
  if highest >= max(len(labels), 2) or highest == 0 and len(names) < 2:
    raise UserError(
      f"{source}: 'label' holds integers from {lowest} to {highest} for {len(labels)} "
      "samples; that is no classification. For regression, save floats, or say "
      "data.task=regression."
    )
  return labels.astype(np.int32)


def _check_names(source: str, names: Sequence[str]) -> None:
  if len(set(names)) < len(names):
    raise UserError(
      f"{source}: two classes have the same name in {', '.join(map(str, names))}."
    )


def _too_high(source, highest, names):
  raise UserError(
    f"{source}: 'label' holds the class {highest}, but the {len(names)} 'class_names' "
    f"({', '.join(names)}) allow 0 to {len(names) - 1}."
  )


def _check_target_names(dataset) -> None:
  names, labels = dataset.target_names, dataset.labels
  count = 1 if labels.ndim == 1 else labels.shape[1]
  if names and (len(names) != count or len(set(names)) < count):
    raise UserError(
      f"{dataset.source}: 'label_names' are {', '.join(names)}; right are as many "
      f"different names as a sample has labels, {count}."
    )
