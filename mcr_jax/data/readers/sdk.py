"""Dicts of splits by the CMU-MultimodalSDK's names: glove, covarep, facet, label.

Also a tuple of three such dicts, which are train, valid and test, and an .npz of such
arrays. Labels are (N, 1, 1) or (N,), or MOSEI's seven (N, 1, 7): sentiment, and the
strength of six emotions.
"""

from collections.abc import Mapping

import numpy as np

from mcr_jax.data import parts as part_names
from mcr_jax.data.columns import videos
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import label_arrays, splits, values
from mcr_jax.data.readers.common.nearest import Lack
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import SPLITS, Dataset

FORMAT = "a dict of splits with the CMU-MultimodalSDK's names"
OPTIONS = ("parts",)
LABELS = (
  *("label", "labels", "opinion segment labels", "opinion labels", "all labels"),
  *("sentiment", "y"),
)
IDS = ("id", "ids", "segment", "segments", "video_id")
MOSEI = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")


def matches(source: Source) -> bool:
  """Whether it has features by such names, or MulT's with another name of labels."""
  entries = _entries(source.content)
  if not entries or any(map(_is_others, entries)):
    return False
  named = any(
    values.sdk_name(key) for x in entries for key in values.keys_by_name(x).values()
  )
  return named or any(map(_label, entries))


def lacks(source: Source) -> Lack | None:
  """What a dict has and lacks of this format."""
  content = source.content
  if not isinstance(content, dict) or not content:
    return None
  inner = [x for x in content.values() if isinstance(x, dict)]
  wanted = {
    "splits": sum(part_names.name_of(x) in SPLITS for x in content) > 1,
    "labels": any(map(_label, inner or [content])),
    "features of text, audio or vision": any(map(values.by_name, inner or [content])),
  }
  has = tuple(x for x in wanted if wanted[x])
  return Lack(has, tuple(x for x in wanted if not wanted[x]))


def read(source: Source, parts: Mapping[str, str] | None = None) -> Dataset:
  """The data set; of MOSEI's seven labels the sentiment, the others are choices.

  Args:
    source: of this format.
    parts: split -> the file's name of what to take for it.
  """
  content, source, ledger = source.content, str(source), Ledger()
  found = splits.parts(content, source, ledger, parts)
  modalities, notes = splits.modalities(found, source, ledger)
  key = next((x for part in found for x in part.entries if _is_id(x)), "id")
  ids, more = splits.ids(found, source, ledger, key)
  own = next(filter(None, (_label(part.entries) for part in found)), "label")
  raw, known = splits.column(found, own, source, ledger)
  ledger.use(own, "labels")
  extras = {}
  if raw is not None and raw.shape[1:] in ((1, len(MOSEI)), (len(MOSEI),)):
    table = raw.reshape(len(raw), len(MOSEI)).astype(np.float32)
    labels, names = table[:, 0], ()
    extras = {f"label_{name}": table[:, i] for i, name in enumerate(MOSEI) if i}
    extras["label_emotions"] = table[:, 1:]
    ledger.use(own, f"labels, {MOSEI[0]}; the six emotions are choices for data.label")
  else:
    labels, names = label_arrays.reshaped(raw, source)
  theirs = {
    name: values.keys_by_name(part.entries).get(name)
    for part in found
    for name in modalities
  }
  named = [f"{x!r} is {name}" for name, x in theirs.items() if x != name]
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=splits.split_names(found),
    labels=label_arrays.marked(labels, known),
    class_names=names,
    source=source,
    notes=(*notes, *more, *([f"{', '.join(named)}."] if named else [])),
    extras=extras,
    columns=videos(ids),
    ledger=ledger.entries(),
  )


def _entries(content) -> list[dict]:
  """The dicts of features."""
  if not isinstance(content, dict):
    return []
  inner = [x for x in content.values() if isinstance(x, dict)]
  return [x for x in inner or [content] if values.keys_by_name(x)]


def _is_others(entry) -> bool:
  """Whether MMSA or MulT wrote it, which have readers of their own."""
  keys = [x for x in entry if isinstance(x, str)]
  own = any(x.startswith(("regression_", "classification_")) for x in keys)
  mult = "labels" in keys and not any(map(values.sdk_name, keys))
  return own or mult or "text_bert" in keys or any(x.endswith("_lengths") for x in keys)


def _label(entry) -> str:
  """The name of the labels, "" where there are none."""
  found = {
    x.lower(): x for x, own in entry.items() if isinstance(x, str) and _many(own)
  }
  return next((found[name] for name in LABELS if name in found), "")


def _many(value) -> bool:
  return isinstance(value, np.ndarray | list | tuple)


def _is_id(key) -> bool:
  return isinstance(key, str) and key.lower() in IDS
