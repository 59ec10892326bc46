"""The feature file: arrays in an .npz, without pickles.

`id` (N,), `split` (N,), `label` (N,) or (N, K) of numbers, or (N,) of names of classes,
and per modality one of

- vectors `<m>` (N, D), with `<m>_mask` (N,) where some are missing;
- padded sequences `<m>` (N, T, D) with `<m>_mask` (N, T), True on real steps;
- ragged sequences `<m>` (sum T, D) with `<m>_offsets` (N + 1,), and `<m>_mask`
  (sum T,) where some steps are holes.

Where there is more to say of labels: `class_names` in the order of the classes, of K
labels with classes of their own (K, C) with shorter rows filled by ""; `label_names`
(K,) of several labels; `label_T`, `label_A`, `label_V`, given for text, audio or vision
alone. Of an utterance in a dialogue: `dialogue_id`, `turn`, `speaker`, `video_id`, each
(N,); a label NaN, or a class -1, is then that of an utterance which is only context.

What was said and when: `<m>_words`, text, and `<m>_times`, seconds (start, end), of
every step of a modality, laid out as its features are; `<m>_names` (D,) of features;
`raw_text` (N,), the sentences; `extract`, one string of JSON on how features were made.

Further arrays whose names begin with `split` or `label` are choices for
`data.split` and `data.label`; class names of a `label_x` are `label_x_names`. Any array
with an entry a sample may be `data.fold_by`. All else is kept but not used, and the
notes say so.
"""

import dataclasses
import os
from collections.abc import Callable

import numpy as np

from mcr_jax.data import (
  annotations,
  archive,
  columns,
  memory,
  npz_forms,
  parts,
  words,
)
from mcr_jax.data.labels import NO_CLASS, as_task
from mcr_jax.data.ledger import Entry, Ledger
from mcr_jax.data.schema import Dataset, Modality, canonical, infer_task
from mcr_jax.errors import UserError

OWN_KEYS = ("id", "weight", "class_names", "label_names")
OWN_PREFIXES = ("split", "label")
PARTS = ("_mask", "_offsets")
ALL_PARTS = (*PARTS, *annotations.PARTS)
USES = {
  "id": "ids",
  "split": "splits",
  "label": "labels",
  "class_names": "names of the classes",
  "label_names": "names of the labels",
}


def read(
  path: str | os.PathLike,
  *,
  data: bytearray | None = None,
  objects: Callable | None = None,
) -> Dataset:
  """Reads a feature file; what its labels and splits say is left to `validate`.

  Args:
    path: of the file.
    data: its bytes, where it came inside of another file.
    objects: what reads arrays of objects, see `archive.read`.
  """
  held = archive.read(path, data=data, objects=objects)
  arrays, notes = npz_forms.settled(held, str(path))
  ids = _strings(path, "id", _get(path, arrays, "id"))
  if len(ids) == 0:
    raise UserError(f"{path}: 'id' is empty; a feature file needs samples.")
  named = {
    k: columns.column(k, x, len(ids), str(path))
    for k, x in arrays.items()
    if columns.is_column(k, x)
  }
  keys = [k for k, x in arrays.items() if k not in named and _is_modality(k, x)]
  keys = [k for k in keys if not _is_annotation(k, keys)]
  _check_parts(path, arrays, keys)
  annotations.check_extract(str(path), arrays.get("extract"))
  modalities = {}
  for key in keys:
    name = canonical(key)
    if name in modalities:
      raise UserError(
        f"{path}: {key!r} and another array are both the {name} modality."
      )
    modalities[name] = _modality(path, arrays, key, len(ids))
  if not modalities:
    raise UserError(
      f"{path} holds no modality, only {', '.join(arrays)}. Add features such as "
      "'text' (N, D), or (N, T, D) with 'text_mask'."
    )
  used = {"id", "split", "label", "class_names", "label_names", *named, *keys}
  used |= {key + part for key in keys for part in ALL_PARTS}
  extras = {k: x for k, x in arrays.items() if k not in used}
  classes, multitask = _class_names(path, arrays.get("class_names", ()))
  targets = np.asarray(arrays.get("label_names", ()), str)
  labels, classes, absent = _text_labels(path, ids, arrays.get("label"), classes)
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=parts.named(_strings(path, "split", arrays["split"]))
    if "split" in arrays
    else None,
    labels=labels,
    class_names=classes,
    source=str(path),
    extras=extras,
    notes=notes,
    ledger=(
      *_ledger(held, arrays, modalities, named, extras, archive.others(path, data)),
      *absent,
    ),
    columns=named,
    task="multitask" if multitask else "",
    target_names=tuple(_strings(path, "label_names", targets)),
  )


def write(path: str | os.PathLike, dataset: Dataset) -> None:
  """Writes a feature file, uncompressed so that it can be memory-mapped."""
  if dataset.labels is not None and dataset.task != infer_task(dataset.labels):
    dataset = as_task(dataset, "auto")
  arrays = {"id": dataset.ids}
  if dataset.splits is not None:
    arrays["split"] = dataset.splits
  if dataset.labels is not None:
    arrays["label"] = _labels(dataset)
  if dataset.task == "multitask":
    wide = max(map(len, dataset.class_names))
    rows = [[*x, *[""] * (wide - len(x))] for x in dataset.class_names]
    arrays["class_names"] = np.asarray(rows, str)
  elif dataset.class_names:
    arrays["class_names"] = np.asarray(dataset.class_names, str)
  if dataset.target_names:
    arrays["label_names"] = np.asarray(dataset.target_names, str)
  arrays |= {name: x.values for name, x in dataset.columns.items()}
  for name, modality in dataset.modalities.items():
    arrays[name] = modality.values
    if not modality.vector:
      arrays[f"{name}_offsets"] = modality.offsets
    if not modality.mask.all():
      arrays[f"{name}_mask"] = modality.mask
    arrays |= annotations.arrays_of(name, modality)
  arrays |= {k: x for k, x in dataset.extras.items() if k not in arrays}
  archive.write(path, arrays)


def _is_modality(key, array):
  own = key in OWN_KEYS or key.startswith(OWN_PREFIXES) or key.endswith(PARTS)
  return not own and array.ndim >= 2 and array.dtype.kind not in "US"


def _is_annotation(key, keys):
  """Whether numbers are the times of other features, and not features themselves."""
  return any(key.removesuffix(x) in keys for x in annotations.PARTS if key.endswith(x))


def _ledger(held, arrays, modalities, named, extras, others) -> tuple[Entry, ...]:
  """What became of every array, and of what the file holds beside arrays."""
  ledger = Ledger()
  ledger.hold_all(held)
  for name, use in (("labels", "labels"), ("ids", "ids"), ("splits", "splits")):
    if name in held and name not in arrays:
      ledger.use(name, use)
  for key, use in USES.items():
    ledger.use(key, use)
  for key in arrays:
    owner = next((key.removesuffix(x) for x in ALL_PARTS if key.endswith(x)), key)
    if key in extras:
      use, why = _kept(key, arrays[key], len(arrays["id"]))
      ledger.use(key, use) if use else ledger.leave(key, why)
    elif canonical(key) in modalities:
      ledger.use(key, f"the modality {canonical(key)}")
    elif canonical(owner) in modalities:
      ledger.use(key, f"of the modality {canonical(owner)}")
    elif key in named:
      ledger.use(key, f"the column {key}")
  for name, count in others.items():
    ledger.hold(name, count, "bytes")
    ledger.leave(name, "an .npz file is of .npy arrays")
  return ledger.entries()


def _kept(key, array, count) -> tuple[str, str]:
  """What an array serves that is neither features nor a column, or why nothing."""
  if key in annotations.KEPT:
    return "kept for drawings and pages", ""
  own = next((prefix for prefix in OWN_PREFIXES if key.startswith(prefix)), None)
  if key.endswith("_names"):
    return f"names of {key.removesuffix('_names')}", ""
  if own and (array.ndim < 2 or array.dtype.kind not in "fiu"):
    return f"a choice for data.{own}", ""
  if own:
    return "", f"an array whose name begins with {own!r} is a choice for data.{own}"
  if key in OWN_KEYS:
    return "", "the name is taken"
  shape = " x ".join(map(str, array.shape)) or "one value"
  if array.dtype.kind in "US":
    why = f"{shape} texts, and features are numbers"
  elif array.ndim < 2:
    why = f"{shape}, and features have 2 or 3 dimensions: a number a sample is (N, 1)"
  else:
    why = f"{shape}, and features have 2 or 3 dimensions"
  return "", why + "; data.fold_by may name it" * (len(array) == count)


def _class_names(path, names) -> tuple[tuple, bool]:
  """Names of classes, and whether they are those of several labels."""
  names = np.asarray(names)
  if names.ndim != 2 or names.dtype.kind not in "US":
    return tuple(_strings(path, "class_names", names.astype(str))), False
  rows = [_strings(path, "class_names", row).tolist() for row in names]
  return tuple(tuple(x for x in row if x) for row in rows), True


def _text_labels(path, ids, labels, names):
  """Labels as numbers, the names of classes, and entries of what is no label.

  Text is the names of classes, or numbers that became text.
  """
  if labels is None or labels.dtype.kind not in "US" or labels.shape != ids.shape:
    return labels, names, ()
  place = lambda i: f"sample {str(ids[i])!r}"
  found = words.labels(
    _strings(path, "label", labels).tolist(), place, f"{path}: 'label'"
  )
  entries = found.entries("label")
  if not names or not set(found.names) <= set(names):
    return found.values, found.names or names, entries
  place_of = np.array([*map(names.index, found.names), NO_CLASS])
  return place_of[found.values], names, entries


def _labels(dataset) -> np.ndarray:
  """The labels as `labels.check` reads them, with a mark where there is none."""
  labels = np.asarray(dataset.labels)
  if dataset.label_mask is None:
    return labels
  mask = dataset.label_mask.reshape(-1, *[1] * (labels.ndim - 1))
  return np.where(mask, labels, np.nan if labels.dtype.kind == "f" else NO_CLASS)


def _get(path, arrays, key):
  if key not in arrays:
    raise UserError(
      f"{path} has no array {key!r}; it holds {', '.join(arrays)}. A feature file has "
      "an id (N,) of strings, split, label, and features by modality: see "
      "docs/guide/own_data.md."
    )
  return arrays[key]


def _strings(path, key, array):
  if array.ndim != 1:
    raise UserError(f"{path}: {key!r} has shape {array.shape}; it must be a list.")
  if array.dtype.kind == "S":
    return np.char.decode(array, "utf-8", "replace")
  return array.astype(str)


def _check_parts(path, arrays, keys):
  for key in arrays:
    for part in PARTS:
      owner = key.removesuffix(part)
      if owner != key and owner not in keys and not key.startswith(OWN_PREFIXES):
        raise UserError(
          f"{path}: {key!r} belongs to no modality; there is no array {owner!r} of 2 "
          f"or 3 dimensions among {', '.join(keys) or 'the arrays'}."
        )


def _modality(path, arrays, key, count):
  values = arrays[key]
  offsets, mask = arrays.get(f"{key}_offsets"), arrays.get(f"{key}_mask")
  if values.dtype.kind not in "fiu":
    raise UserError(f"{path}: {key!r} is of type {values.dtype}; features are numbers.")
  if values.ndim > 3 or values.shape[-1] == 0:
    raise UserError(
      f"{path}: {key!r} has shape {values.shape}; right are (N, D), (N, T, D), and "
      f"(sum T, D) with {key + '_offsets'!r}."
    )
  said = annotations.attached(str(path), arrays, key, values.shape[:-1])
  if offsets is not None:
    return _ragged(path, key, values, offsets, mask, count, said)
  if len(values) != count:
    raise UserError(
      f"{path}: {key!r} has {len(values)} rows, 'id' has {count}. Ragged features "
      f"(sum T, D) need {key + '_offsets'!r}; what is none is left out of the file."
    )
  if values.ndim == 3 and mask is None:
    raise UserError(
      f"{path}: {key!r} has shape {values.shape} but there is no {key + '_mask'!r} of "
      f"shape {values.shape[:2]}, True on real steps. From lengths it is "
      "np.arange(T) < lengths[:, None]."
    )
  if mask is not None:
    mask = _mask(path, key, mask, values.shape[:-1])
  if values.ndim == 2:
    return dataclasses.replace(Modality.from_vectors(_float32(values), mask), **said)
  steps = int(mask.sum()) * values.shape[2]
  memory.take(4 * steps, f"{path}: {key!r} without its padding")
  # Cast after the padding is gone: that is often most of the array.
  names = said.pop("names", ())
  return dataclasses.replace(Modality.from_padded(values, mask, **said), names=names)


def _ragged(path, key, values, offsets, mask, count, said):
  name = f"{key}_offsets"
  if values.ndim != 2:
    raise UserError(
      f"{path}: {key!r} has shape {values.shape} and {name!r}; ragged features are "
      "(sum T, D)."
    )
  if offsets.dtype.kind not in "iu" or offsets.shape != (count + 1,):
    raise UserError(
      f"{path}: {name!r} has shape {offsets.shape} of {offsets.dtype}; right are "
      f"{count + 1} integers, one more than 'id'."
    )
  offsets = offsets.astype(np.int64)
  if (back := np.flatnonzero(np.diff(offsets) < 0)).size:
    i = back[0]
    raise UserError(
      f"{path}: {name!r} goes back from {offsets[i]} to {offsets[i + 1]} at sample "
      f"{i}; offsets never fall."
    )
  if offsets[0] != 0 or offsets[-1] != len(values):
    raise UserError(
      f"{path}: {name!r} runs from {offsets[0]} to {offsets[-1]}; it must run from 0 "
      f"to the {len(values)} rows of {key!r}."
    )
  if mask is None:
    return Modality(_float32(values), offsets, np.ones(len(values), bool), **said)
  mask = _mask(path, key, mask, (len(values),))
  return Modality(_float32(values), offsets, mask, **said).trimmed()


def _mask(path, key, mask, shape):
  name = f"{key}_mask"
  if mask.shape != shape:
    raise UserError(
      f"{path}: {name!r} has shape {mask.shape}; beside {key!r} it must be {shape}."
    )
  if mask.dtype.kind not in "biuf" or not ((mask == 0) | (mask == 1)).all():
    raise UserError(f"{path}: {name!r} must be True on real steps, False on others.")
  return mask.astype(bool)


def _float32(values):
  if values.dtype != np.float32:
    memory.take(4 * values.size, "an array as float32")
  with np.errstate(over="ignore"):  # What overflows is reported as not finite.
    return values.astype(np.float32, copy=False)
