"""What becomes of samples whose features a model cannot take.

They hold numbers that are not finite, or are longer than is allowed, or have no
features at all. `nonfinite` and `overlong` of the config say what happens to the first
two; where a trained run reads other data, `skip` leaves such samples out.
"""

import dataclasses
import mmap
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax.data import ledger
from mcr_jax.data.schema import Dataset, Modality, canonical, chunks
from mcr_jax.errors import UserError, choose

SKIP = "skip"
# How a message ends; programs without these fields say it in their own words.
CUT = "data.overlong='truncate' cuts the ends."
ZERO = "data.nonfinite='zero' replaces them by 0."


def with_features(dataset: Dataset, splits: Sequence[str] = ()) -> Dataset:
  """Without the samples that lack every modality; turns of a dialogue keep theirs.

  Args:
    dataset: checked, with labels.
    splits: those that must keep a sample.
  """
  dataset = featureless(dataset, drop=True)
  for split in splits:
    if not dataset.labelled[dataset.indices(split)].any():
      raise UserError(f"{dataset.source}: no sample of {split!r} has any features.")
  return dataset


def featureless(dataset: Dataset, *, drop: bool) -> Dataset:
  """With a note of the samples that lack every modality, or without them."""
  nothing = ~np.logical_or.reduce([x.present for x in dataset.modalities.values()])
  if not nothing.any() or "dialogue_id" in dataset.columns:
    return dataset
  if drop:
    why = "they have no features at all, so nothing is learned or scored of them"
    return _without(dataset, nothing, why)
  return dataset.noted(
    f"{nothing.sum():,} of {len(dataset):,} samples have no features at all "
    f"({_some(dataset.ids[nothing])}): what is predicted of them is one and the same."
  )


def impute_nonfinite(dataset: Dataset, policy: str) -> Dataset:
  """Refuses features that are not finite, or replaces them by 0, by `nonfinite`."""
  if policy != SKIP:
    choose(policy, ("error", "zero"), "data.nonfinite")
  modalities, notes = {}, []
  skipped = np.zeros(len(dataset), bool)
  for name, modality in dataset.modalities.items():
    bad_steps, columns, count = _nonfinite(modality)
    if count:
      samples = np.searchsorted(modality.offsets, bad_steps, side="right") - 1
      skipped[samples] = True
      places = ", ".join(map(str, columns[:8])) + (", ..." if columns[8:].size else "")
      found = (
        f"{name} holds {count} values that are not finite, in {len(bad_steps)} steps, "
        f"in columns {places}, first in sample {str(dataset.ids[samples[0]])!r}"
      )
      if policy == "error":
        raise UserError(f"{dataset.source}: {found}. {ZERO}")
      if policy == "zero":
        notes.append(f"{found}: replaced by 0.")
        modality = _zeroed(modality, bad_steps)
    modalities[name] = modality
  if policy == SKIP:
    return _without(dataset, skipped, "they hold numbers that are not finite")
  return dataclasses.replace(dataset, modalities=modalities).noted(*notes)


def check_fits(dataset: Dataset, lengths: Mapping[str, int]) -> None:
  """Raises a UserError where a sequence is longer than a model was built for."""
  for name, length in lengths.items():
    found = dataset.modalities[name].lengths
    if found.max(initial=0) > length:
      raise UserError(
        f"{dataset.source}: the {name} of sample {str(dataset.ids[found.argmax()])!r} "
        f"has {found.max()} steps; the longest allowed is {length}. {CUT}"
      )


def limit(dataset: Dataset, lengths: Mapping[str, int], policy: str) -> Dataset:
  """Refuses sequences that are longer than `lengths`, or cuts them, by `overlong`."""
  if policy != SKIP:
    choose(policy, ("error", "truncate"), "data.overlong")
  lengths = {canonical(name): int(length) for name, length in dict(lengths).items()}
  for name, length in lengths.items():
    if name not in dataset.modalities or length < 1:
      raise UserError(
        f"data.lengths.{name}={length}: right are lengths of at least 1 of "
        f"{', '.join(dataset.modalities)}."
      )
  if policy == "error":
    check_fits(dataset, lengths)
    return dataset
  if policy == SKIP:
    over = [dataset.modalities[name].lengths > n for name, n in lengths.items()]
    over = np.logical_or.reduce([np.zeros(len(dataset), bool), *over])
    allowed = ", ".join(f"{n} steps of {name}" for name, n in lengths.items())
    return _without(dataset, over, f"they are longer than {allowed}")
  modalities, notes = dict(dataset.modalities), []
  for name, length in lengths.items():
    modality = modalities[name]
    over = np.maximum(modality.lengths - length, 0)
    if over.any():
      limits = np.full(len(dataset), length)
      modalities[name] = modality.shortened(limits).trimmed()
      notes.append(
        f"{name}: {np.count_nonzero(over)} of {len(over)} samples were cut to {length} "
        f"steps, {over.sum()} of {len(modality.mask)} steps dropped "
        f"({_some(dataset.ids[over > 0])})."
      )
  return dataclasses.replace(dataset, modalities=modalities).noted(*notes)


def applying(lengths: Mapping[str, int], dataset: Dataset) -> dict[str, int]:
  """Those of `lengths` that are of sequences which the data set has."""
  own = {canonical(name): length for name, length in lengths.items()}
  sequences = [m for m, x in dataset.modalities.items() if not x.vector]
  return {name: own[name] for name in own if name in sequences}


def _without(dataset: Dataset, unfit: np.ndarray, why: str) -> Dataset:
  """The samples that are not `unfit`; the ledger names the others."""
  if not unfit.any():
    return dataset
  names = dataset.ids[unfit].tolist()
  left = ledger.left("samples", unfit.sum(), why, "samples", names)
  return dataset.select(np.flatnonzero(~unfit)).leaving(left)


def _some(ids: np.ndarray) -> str:
  shown = ", ".join(map(ledger.shown, ids[: ledger.SHOWN].tolist()))
  return shown + ", ..." * (len(ids) > ledger.SHOWN)


def _nonfinite(modality: Modality) -> tuple[np.ndarray, np.ndarray, int]:
  """Steps and columns with non-finite values that are real, and how many values."""
  steps, columns, count = [], np.zeros(modality.width, bool), 0
  for rows in chunks(modality.values):
    bad = ~np.isfinite(modality.values[rows])
    if bad.any():
      bad &= modality.mask[rows][:, None]
      steps.append(rows.start + np.flatnonzero(bad.any(1)))
      columns |= bad.any(0)
      count += int(bad.sum())
  steps = np.concatenate(steps) if steps else np.zeros(0, np.int64)
  return steps, np.flatnonzero(columns), count


def _zeroed(modality: Modality, steps: np.ndarray) -> Modality:
  old = modality.values
  if isinstance(getattr(old, "base", None), mmap.mmap):
    # Private pages: only those with a change take memory, and the file stays as it is.
    new = np.memmap(old.filename, old.dtype, "c", offset=old.offset, shape=old.shape)
  else:
    new = old.copy()
  rows = new[steps]
  new[steps] = np.where(np.isfinite(rows), rows, 0)
  return dataclasses.replace(modality, values=new)
