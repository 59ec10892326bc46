"""What must hold of a data set, whatever file it came from."""

import numpy as np

from mcr_jax.data import labels, ledger
from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError


def validate(
  dataset: Dataset,
  need_labels: bool = True,
  splits: tuple[str, ...] | None = SPLITS,
  unlabelled: str = "error",
) -> Dataset:
  """Checks a data set, with labels in their final types.

  Args:
    need_labels: for training and evaluation; for prediction, labels and splits may be
      absent or useless.
    splits: those that must have samples; None where the data set needs no splits.
    unlabelled: what becomes of samples without a label, see `unlabelled.settle`.
  Raises:
    UserError: the first thing that is wrong, with its value and what is right.
  """
  _check_modalities(dataset)
  if len(dataset) == 0:
    raise UserError(f"{dataset.source}: there are no samples.")
  _check_text(dataset)
  _check_columns(dataset)
  if not need_labels:
    _check_unique(dataset)
    return labels.usable(dataset)
  for key, value in (("label", dataset.labels), ("split", dataset.splits)):
    if value is None and (key == "label" or splits is not None):
      way = " data.folds=5 divides it in place of splits." if splits else ""
      raise UserError(
        f"{dataset.source} has no {key!r}, which training and evaluation need; only "
        f"predict does without.{way * (key == 'split')}"
      )
  if splits is not None:
    _check_splits(dataset, splits)
  _check_unique(dataset)
  dataset = labels.check(dataset, unlabelled)
  _check_labelled(dataset, splits or ())
  return dataset


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


def _check_columns(dataset):
  for name, column in dataset.columns.items():
    if len(column) != len(dataset):
      raise UserError(
        f"{dataset.source}: {name!r} has {len(column)} entries, there are "
        f"{len(dataset)} ids."
      )


def _check_text(dataset):
  """Half of a character in a name could not be written to any file."""
  if dataset.ids.dtype.kind != "U":
    raise UserError(f"{dataset.source}: ids are {dataset.ids.dtype}, not strings.")
  classes = np.concatenate(
    [np.zeros(0, "U1"), *map(np.atleast_1d, dataset.class_names)]
  )
  for what, names in (
    ("id", dataset.ids),
    ("class name", classes),
    ("label name", dataset.target_names),
  ):
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
    name = str(splits[(~known).argmax()])
    raise UserError(
      f"{source}: 'split' of sample {str(dataset.ids[(~known).argmax()])!r}, and of "
      f"{(splits == name).sum():,} in all, is {name!r}; right are {', '.join(SPLITS)}. "
      f"data.parts.test={name} takes it for the test split, and leaves others out."
    )
  counts = {split: int((splits == split).sum()) for split in SPLITS}
  for split in required:
    if not counts[split]:
      found = ", ".join(f"{k} {n}" for k, n in counts.items())
      unread = ", ".join(map(str, ledger.unused(dataset.ledger)[:5]))
      raise UserError(
        f"{source}: no sample is in split {split!r} ({found})"
        + (f"; not read were {unread}" if unread else "")
        + f". data.parts.{split}=NAME takes another part of the file for it, and "
        "data.folds=5 divides all that is read anew."
      )


def _check_labelled(dataset, required):
  for split in required:
    if not dataset.labelled[dataset.indices(split)].any():
      raise UserError(f"{dataset.source}: no sample of split {split!r} has a label.")


def _check_unique(dataset):
  if dataset.ids.shape != (len(np.unique(dataset.ids)),):
    order = np.argsort(dataset.ids, kind="stable")
    same = dataset.ids[order][1:] == dataset.ids[order][:-1]
    first, second = order[:-1][same][0], order[1:][same][0]
    where, way = f"at positions {first} and {second}", ""
    if repeated_across_splits(dataset):
      way = " They differ within every split: data.ids=by_split joins both."
    if dataset.splits is not None and dataset.splits[first] != dataset.splits[second]:
      where = (
        f"in both {str(dataset.splits[first])!r} and {str(dataset.splits[second])!r}"
      )
    raise UserError(
      f"{dataset.source}: {same.sum()} of {len(dataset)} ids repeat an earlier "
      f"one, such as {str(dataset.ids[first])!r} {where}. Every sample has an id of "
      f"its own, in one split.{way}"
    )


def repeated_across_splits(dataset: Dataset) -> bool:
  """Whether ids repeat, but none is twice in the same split."""
  if dataset.splits is None or dataset.splits.shape != dataset.ids.shape:
    return False
  pairs = set(zip(dataset.splits.tolist(), dataset.ids.tolist(), strict=True))
  return len(pairs) == len(dataset) > len(np.unique(dataset.ids))
