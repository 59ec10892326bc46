"""From the `data` group of a config to a checked data set in memory."""

import dataclasses
import hashlib
import os
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from mcr_jax.data import alignment, checks, classes, folds, policies, readers, synthetic
from mcr_jax.data.checks import validate
from mcr_jax.data.labels import as_task
from mcr_jax.data.schema import SPLITS, Dataset, Modality, canonical, chunks
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError, choose, nearest


def load(
  config: Any,
  *,
  for_training: bool = True,
  splits: tuple[str, ...] = SPLITS,
  widths: Mapping[str, int] | None = None,
) -> Dataset:
  """Reads, checks and trims the data that a config names.

  Args:
    config: a path, or a mapping such as the `data` group, with any of
      path: a file or folder of any known format, a list of .csd files, "synthetic", or
        "synthetic:CORPUS" for a small one with the labels of a corpus;
      align: the modality whose steps all are to have, see `alignment.to_steps`; of
        the synthetic data "text", whose modalities then share their steps;
      features: see the formats that have them, in `readers`;
      synthetic: further arguments of `synthetic.make`;
      seed: of the synthetic data, and of shuffled folds;
      task: see `labels.as_task`;
      modalities: names in order; () means all, in the order of the file;
      absent: "error", or "leave" for a note where the file lacks one of them;
      label, split: arrays of the file to use instead of its own;
      parts: train, valid or test -> what the file calls the split to take for it;
      decimal, encoding: of tables, see `readers.manifest`;
      text: of conversation pickles, see `readers.conversation`;
      vectors: of files with words, see `readers.word_tuples`;
      ids: "by_split" where they differ within a split only;
      unlabelled: what becomes of samples without a label, see `unlabelled.settle`;
      nonfinite: "error", or "zero" to replace NaN and inf in features;
      lengths: modality -> longest sequence;
      overlong: "error", or "truncate" to cut longer sequences at the end;
      folds, fold, fold_by and so on: see `folds.split`. Of the file's own splits
        nothing is left: with the number of a fold there are those of that fold, with
        fold=-1 none.
      What else is there is for the trainer.
    for_training: whether labels and splits are needed; False for prediction.
    splits: those that must have samples.
    widths: modality -> features a step, to stand in for modalities that the file
      does not have at all: every sample is then missing them.
  """
  if isinstance(config, str | os.PathLike):
    config = {"path": config}
  # A run that goes to other files keeps what it chose in its own, where they have it.
  own = for_training and bool(splits)
  dataset = _choose_arrays(_open(config, own), config, for_training)
  if config.get("ids", "unique") == "by_split":
    dataset = ids_by_split(dataset)
  elif not own and checks.repeated_across_splits(dataset):
    dataset = ids_by_split(dataset).noted(
      "Ids are unique within a split only: they begin with their split here."
    )
  dataset = _of_task(dataset, config.get("task", "auto"), for_training)
  leave = config.get("absent", "error") == "leave"
  names = config.get("modalities", ())
  read = dataset.modalities
  dataset = _choose_modalities(dataset, names, widths or {}, leave)
  if (align := config.get("align", "")) and not is_synthetic(config.get("path", "")):
    dataset = alignment.to_steps(dataset, align, of=read, shared=not own)
  divided = own and config.get("folds", 0)
  if divided:
    dataset = dataclasses.replace(dataset, splits=None)
  policy = config.get("unlabelled", "error")
  dataset = validate(dataset, for_training, None if divided else splits, policy)
  if for_training:
    dataset = policies.with_features(dataset, () if divided else splits)
  if divided and (number := config.get("fold", -1)) >= 0:
    dataset = folds.split(dataset, config)[number]
  if for_training:
    dataset = dataset.noted(*classes.notes(dataset))
  dataset = policies.impute_nonfinite(dataset, config.get("nonfinite", "error"))
  lengths, overlong = dict(config.get("lengths", {})), config.get("overlong", "error")
  if leave:
    lengths = policies.applying(lengths, dataset)
  return policies.limit(dataset, lengths, overlong)


def is_synthetic(path: Any) -> bool:
  """Whether a path is that of data which is made, not read."""
  return isinstance(path, str) and f"{path}:".startswith("synthetic:")


def lengths_of(dataset: Dataset) -> dict[str, int]:
  """The longest sequence of every modality, at least 1."""
  longest = lambda modality: int(modality.lengths.max(initial=1))
  return {name: longest(modality) for name, modality in dataset.modalities.items()}


def digest(dataset: Dataset, columns: Collection[str] = ()) -> str:
  """SHA-256 of all that a run can depend on: the same for every file layout.

  Args:
    dataset: checked.
    columns: what a run reads beside features and labels, as `Units.columns` names it,
      where the data set has it. A run that reads none does not depend on any.
  """
  sha = hashlib.sha256()

  def add(name, array):
    array = np.ascontiguousarray(array)
    sha.update(f"{name} {array.shape} {array.dtype.str}\n".encode())
    sha.update(array.data if array.size else b"")

  def add_strings(name, strings):
    sha.update(f"{name} {len(strings)}\n".encode())
    for string in strings:
      sha.update(str(string).encode() + b"\0")

  add_strings("ids", dataset.ids)
  add_strings("class_names", dataset.class_names)
  if dataset.label_mask is not None:
    add("label_mask", dataset.label_mask)
  if dataset.splits is not None:
    add_strings("splits", dataset.splits)
  if dataset.labels is not None:
    add("labels", dataset.labels)
  for name, modality in dataset.modalities.items():
    add(f"{name}.offsets", modality.offsets)
    add(f"{name}.mask", modality.mask)
    sha.update(f"{name}.values {modality.values.shape}\n".encode())
    for rows in chunks(modality.values):
      # Whatever stands in a hole is never read.
      real = modality.mask[rows]
      values = modality.values[rows]
      values = values if real.all() else values[real]
      sha.update(np.ascontiguousarray(values).data if values.size else b"")
  units = Units.of(dataset, "dialogue" if "turn" in columns else "utterance")
  if "turn" in columns:
    add("members", units.members)
  for name, found in units.columns(dataset).items():
    if name in columns:
      add(f"columns.{name}", found)
  return sha.hexdigest()


def _open(config, own):
  path = config.get("path", "")
  if path == "synthetic":
    return _synthetic(config)
  if isinstance(path, str) and path.startswith("synthetic:"):
    aligned = config.get("align", "") == "text"
    corpus = path.partition(":")[2]
    return synthetic.shaped(corpus, config.get("seed", 0), aligned=aligned)
  if not path:
    raise UserError(
      f"data.path={path!r} must be that of a feature file, or 'synthetic' for the "
      "synthetic data."
    )
  single = isinstance(path, str | os.PathLike)
  home = os.path.expanduser
  path = home(path) if single else [home(part) for part in path]
  given = lambda *names: {name: config.get(name) or None for name in names}
  stated = given("decimal", "encoding", "layers", "vectors", "align")
  chosen = given("features")
  if own:
    return readers.read(path, parts=config.get("parts"), optional=stated, **chosen)
  return readers.read(path, parts=config.get("parts"), optional=stated | chosen)


def ids_by_split(dataset: Dataset) -> Dataset:
  """Ids that begin with the split, and so do the names of dialogues and videos."""
  if dataset.splits is None or dataset.splits.shape != (len(dataset),):
    return dataset
  both = lambda names: np.array(
    [f"{a}/{b}" for a, b in zip(dataset.splits, names, strict=True)], dtype=str
  )
  columns = {
    name: dataclasses.replace(x, values=both(x.values))
    if x.role in ("dialogue", "video")
    else x
    for name, x in dataset.columns.items()
  }
  return dataclasses.replace(dataset, ids=both(dataset.ids), columns=columns)


def _there(dataset, names, known, notes):
  """Those of the names that are known, or all that are; and notes on the others."""
  unread = [name for name in known if name not in names]
  lacking = [name for name in names if name not in known and not nearest(name, unread)]
  found = [name for name in names if name not in lacking] or list(known)
  if lacking:
    notes = [
      *notes,
      f"data.modalities: {dataset.source} has no {', '.join(lacking)}; read are "
      f"{', '.join(found)}.",
    ]
  return found, notes


def _synthetic(config):
  task, align = config.get("task", "auto"), config.get("align", "")
  choose(align or "", ("", "text"), "data.align of the synthetic data")
  given = {"task": task} if task != "auto" else {}
  given |= {"seed": config.get("seed", 0), "aligned": align == "text"}
  try:
    return synthetic.make(**given | dict(config.get("synthetic", {})))
  except TypeError as error:
    raise UserError(f"data.synthetic: {error}.") from None


def _of_task(dataset, task, needed):
  try:
    return as_task(dataset, task)
  except UserError:
    if needed:
      raise
    return dataset.relabelled(None)


def _choose_arrays(dataset, config, needed):
  """Labels and splits under other names than the file's own."""
  for field in ("label", "split"):
    key = config.get(field, field) or field
    known = {k: x for k, x in dataset.choices.items() if k.startswith(field)}
    if key == field or (key not in known and not needed):
      continue
    if key not in known:
      raise UserError(
        f"data.{field}={key!r}: {dataset.source} has no such array; there are "
        f"{', '.join([field, *known])}."
      )
    if field == "split":
      dataset = dataclasses.replace(dataset, splits=known[key])
    else:
      names = tuple(str(x) for x in dataset.extras.get(f"{key}_names", ()))
      dataset = dataset.relabelled(known[key], class_names=names)
  return dataset


def _choose_modalities(dataset, names, widths, leave=False):
  known = dict(dataset.modalities)
  notes = []
  for name in widths:
    if name not in known:
      known[name] = Modality.absent(len(dataset), widths[name])
      notes.append(f"{name} is missing in all samples.")
  names = [canonical(name) for name in names] or list(known)
  if leave:
    names, notes = _there(dataset, names, known, notes)
  for name in names:
    if name not in known:
      raise UserError(
        f"data.modalities: {dataset.source} has no {name!r}; it has {', '.join(known)}."
      )
  if len(set(names)) < len(names):
    raise UserError(f"data.modalities names one twice: {', '.join(names)}.")
  modalities = {name: known[name] for name in names}
  return dataclasses.replace(dataset, modalities=modalities).noted(*notes)
