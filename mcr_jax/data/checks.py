"""What must hold of a data set, whatever file it came from."""

import dataclasses

import numpy as np

from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError


def validate(
  dataset: Dataset, need_labels: bool = True, splits: tuple[str, ...] = SPLITS
) -> Dataset:
  """Checks a data set, with labels in their final types.

  Args:
    need_labels: for training and evaluation; for prediction, labels and splits may be
      absent or useless.
    splits: those that must have samples.
  Raises:
    UserError: the first thing that is wrong, with its value and what is right.
  """
  _check_modalities(dataset)
  if len(dataset) == 0:
    raise UserError(f"{dataset.source}: there are no samples.")
  _check_text(dataset)
  if not need_labels:
    _check_unique(dataset)
    return dataclasses.replace(dataset, labels=usable_labels(dataset))
  for key, value in (("label", dataset.labels), ("split", dataset.splits)):
    if value is None:
      raise UserError(
        f"{dataset.source} has no {key!r}, which training and evaluation need; only "
        "predict does without."
      )
  _check_splits(dataset, splits)
  _check_unique(dataset)
  return dataclasses.replace(dataset, labels=check_labels(dataset))


def check_labels(dataset: Dataset) -> np.ndarray:
  """The labels as float32 or int32, (N,) or (N, K), after all checks."""
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
  if labels.dtype.kind == "f":
    with np.errstate(over="ignore"):  # what overflows is not finite
      labels = labels.astype(np.float32)
    bad = ~np.isfinite(labels).reshape(len(labels), -1).all(1)
    if bad.any():
      raise UserError(
        f"{source}: {bad.sum()} of {count} labels are not finite, the first of sample "
        f"{str(dataset.ids[bad.argmax()])!r}. Leave out samples that have no label."
      )
    if dataset.class_names:
      raise UserError(
        f"{source}: 'label' is {np.asarray(dataset.labels).dtype} but there are "
        "'class_names'; class labels are integers from 0, regression has no class "
        "names."
      )
    return labels
  return _check_classes(dataset, labels)


def _check_classes(dataset, labels):
  source, names = dataset.source, dataset.class_names
  if len(set(names)) < len(names):
    raise UserError(
      f"{source}: two classes have the same name in {', '.join(map(str, names))}."
    )
  lowest, highest = int(labels.min()), int(labels.max())
  if labels.ndim == 2:
    if lowest < 0 or highest > 1:
      raise UserError(
        f"{source}: 'label' of shape {labels.shape} holds integers from {lowest} to "
        f"{highest}; several labels a sample are 0 or 1, or floats for regression."
      )
    if names and len(names) != labels.shape[1]:
      raise UserError(
        f"{source}: {len(names)} 'class_names' for {labels.shape[1]} labels a sample."
      )
    return labels.astype(np.int32)
  if lowest < 0:
    raise UserError(
      f"{source}: 'label' holds the class {lowest}; classes are numbered from 0. For "
      "regression, save floats, or say data.task=regression."
    )
  if names and highest >= len(names):
    raise UserError(
      f"{source}: 'label' holds the class {highest}, but the {len(names)} "
      f"'class_names' ({', '.join(names)}) allow 0 to {len(names) - 1}."
    )
  if highest >= max(len(labels), 2) or highest == 0 and len(names) < 2:
    raise UserError(
      f"{source}: 'label' holds integers from {lowest} to {highest} for {len(labels)} "
      "samples; that is no classification. For regression, save floats, or say "
      "data.task=regression."
    )
  return labels.astype(np.int32)


def _check_modalities(dataset):
  if not dataset.modalities:
    raise UserError(f"{dataset.source} holds no modality.")
  for name, modality in dataset.modalities.items():
    values, mask, steps = modality.values, modality.mask, len(modality.values)
    if values.ndim != 2 or values.dtype != np.float32:
      raise UserError(
        f"{dataset.source}: the values of {name} are {values.dtype} of shape "
        f"{values.shape}; right is float32 (sum T, D)."
      )
    if mask.shape != (steps,) or mask.dtype != bool:
      raise UserError(
        f"{dataset.source}: the mask of {name} is {mask.dtype} of shape {mask.shape}; "
        f"right is bool ({steps},)."
      )
    if modality.offsets[0] != 0 or modality.offsets[-1] != steps:
      raise UserError(
        f"{dataset.source}: the offsets of {name} run from {modality.offsets[0]} to "
        f"{modality.offsets[-1]}; right is from 0 to its {steps} steps."
      )
    if len(modality) != len(dataset):
      raise UserError(
        f"{dataset.source}: {name} has {len(modality)} samples, there are "
        f"{len(dataset)} ids."
      )


def _check_text(dataset):
  """Half of a character in a name could not be written to any file."""
  if dataset.ids.dtype.kind != "U":
    raise UserError(f"{dataset.source}: ids are {dataset.ids.dtype}, not strings.")
  for what, names in (("id", dataset.ids), ("class name", dataset.class_names)):
    try:
      "".join(map(str, names)).encode()
    except UnicodeEncodeError as error:
      raise UserError(
        f"{dataset.source}: {what}s hold {error.object[error.start]!a}, which is no "
        "character."
      ) from None


def _check_splits(dataset, required):
  splits, source = dataset.splits, dataset.source
  if splits.shape != (len(dataset),):
    raise UserError(
      f"{source}: 'split' has shape {splits.shape}; right is ({len(dataset)},)."
    )
  known = np.isin(splits, SPLITS)
  if not known.all():
    raise UserError(
      f"{source}: 'split' of sample {str(dataset.ids[(~known).argmax()])!r} is "
      f"{str(splits[(~known).argmax()])!r}; right are {', '.join(SPLITS)}."
    )
  counts = {split: int((splits == split).sum()) for split in SPLITS}
  for split in required:
    if not counts[split]:
      found = ", ".join(f"{k} {n}" for k, n in counts.items())
      raise UserError(f"{source}: no sample is in split {split!r} ({found}).")


def _check_unique(dataset):
  if dataset.ids.shape != (len(np.unique(dataset.ids)),):
    order = np.argsort(dataset.ids, kind="stable")
    same = dataset.ids[order][1:] == dataset.ids[order][:-1]
    first, second = order[:-1][same][0], order[1:][same][0]
    where = f"at positions {first} and {second}"
    if dataset.splits is not None and dataset.splits[first] != dataset.splits[second]:
      where = (
        f"in both {str(dataset.splits[first])!r} and {str(dataset.splits[second])!r}"
      )
    raise UserError(
      f"{dataset.source}: {same.sum()} of {len(dataset)} ids repeat an earlier "
      f"one, such as {str(dataset.ids[first])!r} {where}. Every sample has an id of "
      "its own, in one split."
    )


def usable_labels(dataset: Dataset) -> np.ndarray | None:
  """The labels if they pass, else None: prediction does without."""
  try:
    return None if dataset.labels is None else check_labels(dataset)
  except UserError:
    return None
