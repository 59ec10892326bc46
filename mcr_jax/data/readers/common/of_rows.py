"""Rows of columns as a data set: ids, splits, labels, features; the rest is named."""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from mcr_jax.data import annotations, words
from mcr_jax.data import columns as named_columns
from mcr_jax.data import parts as part_names
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import (
  features_of_rows,
  labels_of_rows,
  rows,
  steps_of_rows,
  values,
)
from mcr_jax.data.readers.common.rows import Reading, Rows
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

# Such as 0:16:05,059 of subtitles; two clips may well begin at one time.
CLOCK = re.compile(r"(\d{4}-\d\d-\d\d[ T])?\d{1,2}:\d\d(:\d\d([.,]\d+)?)?Z?", re.ASCII)
LEFT_ROLES = {
  "split": "another column says the split",
  "id": "another column has the ids",
  "time": "it says when, and a sample is one row",
}


def dataset(
  found: Rows,
  source: str,
  *,
  chosen: Mapping[str, str] | None = None,
  decimal: str = ".",
) -> Dataset:
  """The data set of rows, its labels not yet checked.

  Args:
    found: the rows.
    source: for messages.
    chosen: split -> name of the part to take for it, as `data.parts` says.
    decimal: the sign of decimal numbers in cells of text.
  """
  ledger = Ledger()
  found, roles = _chosen_parts(found, source, chosen or {}, ledger)
  made = Reading(found, source, decimal, ledger, [found.how])
  for key in found.keys:
    some = sum(not rows.is_nothing(x) for x in found.column(key))
    ledger.hold(key, some)
    # Of labels it is told where they are read.
    told = rows.role(key) == "label" or not some
    lacking = 0 if told else found.count - some
    ledger.part(key, lacking, "these samples have none", "samples")
  for key, count in found.beside.items():
    ledger.hold(key, count)
    ledger.leave(key, f"it has no entry a sample, of which there are {found.count:,}")
  left = {key: rows.kind(found.column(key)) for key in found.keys}
  for key in [x for x, kind in left.items() if kind == "nothing"]:
    ledger.leave(key, "the column is empty")
    del left[key]
  key = _id(made, left)
  ids, steps = steps_of_rows.of(found, key, left, source)
  if steps is not None:
    made.notes.append(steps.how)
    ledger.use(steps.time, f"the order of the {found.count:,} rows, which are steps")
    del left[steps.time]
  elif not key:
    made.notes.append("The file has no ids; they are made from the position.")
  splits = _splits(made, roles, left, steps)
  one = lambda column: column if steps is None else steps.one_each(column, source)
  labels, names, extras = labels_of_rows.of(made, left, one)
  columns = _named(made, left, one, len(ids))
  modalities = features_of_rows.of(made, left, steps)
  extras |= _sentences(made, left, one)
  extras |= _others(made, left, one)
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=splits,
    labels=labels,
    class_names=names,
    source=source,
    notes=tuple(made.notes),
    extras=extras,
    columns=columns,
    ledger=ledger.entries(),
  )


def _chosen_parts(found, source, chosen, ledger) -> tuple[Rows, list[str]]:
  """The parts that are read, and the split of each."""
  if not found.parts[0].place:
    return found, []
  roles = part_names.roles([x.place for x in found.parts], source, chosen)
  for part in found.parts:
    if part.place not in roles:
      ledger.hold(part.place, part.count, "samples")
      ledger.leave(part.place, part_names.further(part.place))
  kept = [x for x in found.parts if x.place in roles]
  return dataclasses.replace(found, parts=tuple(kept)), [roles[x.place] for x in kept]


def _id(made: Reading, left) -> str:
  """The column of ids: by its name, or the first of words that are all different."""
  scalar = [x for x, kind in left.items() if kind in ("text", "number")]
  named = rows.first([x for x in scalar if rows.role(x) == "id"], rows.IDS)
  texts = [x for x in scalar if left[x] == "text" and not rows.role(x)]
  key = named or next((x for x in texts if _are_names(made.rows.column(x))), "")
  if not key:
    return ""
  if key != "id":
    made.notes.append(f"The ids are its column {key!r}.")
  made.ledger.use(key, "ids")
  del left[key]
  return key


def _are_names(column) -> bool:
  """Whether entries are words, all different, and not times of a clock."""
  texts = [rows.text(x).strip() for x in column]
  words_in = (x for x in texts if not features_of_rows.NUMBERS.fullmatch(x))
  if next(words_in, None) is None or len(set(column)) < len(column):
    return False
  return not all(map(CLOCK.fullmatch, texts))


def _splits(made: Reading, roles, left, steps) -> np.ndarray | None:
  if roles:
    counts = [part.count for part in made.rows.parts]
    whole = np.repeat(roles, counts)
    return whole if steps is None else np.array(steps.one_each(whole, made.source))
  key = rows.first([x for x in left if rows.role(x) == "split"], rows.SPLITS)
  if not key:
    return None
  cells = [rows.text(x) for x in made.rows.column(key)]
  cells = cells if steps is None else steps.one_each(cells, made.source)
  made.ledger.use(key, "splits")
  del left[key]
  return values.strings(list(part_names.named(cells)), f"{made.source}: {key!r}")


def _named(made: Reading, left, one, count):
  """Columns of names of ours: dialogue, turn, speaker, video, labels by modality."""
  found = {}
  for key in [x for x in left if rows.role(x) == "own" and left[x] != "array"]:
    name, column = rows.OWN[rows.plain(key)], one(made.rows.column(key))
    if name in found or any(map(rows.is_nothing, column)):
      made.ledger.leave(key, f"{name} needs an entry of every sample, once")
      del left[key]
      continue
    text = left.pop(key) == "text"
    array = (
      values.strings(list(map(rows.text, column)), key)
      if text
      else np.array(list(column))
    )
    if text and name not in ("speaker", "dialogue_id", "video_id"):
      array = np.array([float(x) for x in array.tolist()])
    found[name] = named_columns.column(name, array, count, made.source)
    made.ledger.use(key, f"the column {name}")
  return found


def _sentences(made: Reading, left, one) -> dict[str, np.ndarray]:
  said = [x for x in left if left[x] == "text"]
  said = [x for x in said if rows.role(x) == "sentence" or rows.modality(x) == "text"]
  if not said:
    return {}
  (key, *_), what = said, f"{made.source}: the sentences"
  made.ledger.use(key, "kept for drawings and pages; a model of text needs vectors")
  del left[key]
  cells = [rows.text(x) for x in one(made.rows.column(key))]
  return {"raw_text": annotations.sentences(cells, what)}


def _others(made: Reading, left, one) -> dict[str, np.ndarray]:
  """What no one asked for: kept for folds where it has an entry a sample."""
  found = {}
  for key, kind in left.items():
    if why := LEFT_ROLES.get(rows.role(key)):
      made.ledger.leave(key, why)
    elif kind == "number":
      made.ledger.leave(key, features_of_rows.ALONE)
      found |= _kept(key, list(map(_number, made.rows.column(key))), one)
    elif kind != "text":
      made.ledger.leave(key, "its entries are no arrays of numbers, and no words")
    else:
      column = [rows.text(x) for x in made.rows.column(key)]
      if max(map(len, column), default=0) > values.LONGEST_NAME:
        made.ledger.leave(key, "its entries are long texts, which no model reads")
        continue
      made.ledger.leave(key, "its entries are words; data.fold_by may name it")
      found |= _kept(key, column, one)
  return found


def _kept(key, column, one) -> dict[str, np.ndarray]:
  """A column for folds; nothing where the steps of one sample differ in it."""
  try:
    return {key: np.array(list(one(column)))}
  except UserError:
    return {}


def _number(entry) -> float:
  text = rows.text(entry).strip().replace(",", ".")
  return float(text) if words.NUMBER.fullmatch(text) else np.nan
