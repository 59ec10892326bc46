"""Feature files of MMSA and MMSA-FET: {train, valid, test} -> text, audio, vision, ...

Also what MMSA-FET writes for one clip: the modalities alone, (T, D) each.
"""

import functools
from collections.abc import Mapping

import numpy as np

from mcr_jax.data import annotations
from mcr_jax.data.columns import column, videos
from mcr_jax.data.labels import NO_CLASS
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers import sdk
from mcr_jax.data.readers.common import label_arrays, splits, values
from mcr_jax.data.readers.common.nearest import Lack
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

MARKS = ("regression_labels", "classification_labels", "text_bert", "raw_text")
MODALITY_LABELS = {f"label_{m}": f"regression_labels_{m}" for m in "TAV"}
FORMAT = "an MMSA or MMSA-FET pickle"
OPTIONS = ("parts",)


def matches(source: Source) -> bool:
  """Whether it is a pickle with this format's keys, or with features alone."""
  content = source.content
  if not isinstance(content, dict):
    return False
  keys = [key for entry in _entries(content) for key in entry if isinstance(key, str)]
  if any(key in MARKS or key.endswith("_lengths") for key in keys):
    return True
  if "labels" in keys or sdk.matches(source):
    return False
  return any(map(values.by_name, _entries(content)))


def lacks(source: Source) -> Lack | None:
  """What a dict has and lacks of this format."""
  content = source.content
  if not isinstance(content, dict):
    return None
  entries = _entries(content)
  keys = {key for entry in entries for key in entry if isinstance(key, str)}
  wanted = {repr(x): x in keys for x in (*MARKS, "id")}
  wanted["features named text, audio or vision"] = any(map(values.by_name, entries))
  has = tuple(x for x in wanted if wanted[x])
  return Lack(
    has, () if wanted["features named text, audio or vision"] else tuple(wanted)[-1:]
  )


def read(source: Source, parts: Mapping[str, str] | None = None) -> Dataset:
  """The data set; SIMS's labels by modality are `label_T`, `label_A`, `label_V`.

  Of `raw_text` the sentences are kept, and the words of steps where each has its own.

  Args:
    source: of this format.
    parts: split -> the file's name of what to take for it.
  """
  content, source, ledger = source.content, str(source), Ledger()
  found = splits.parts(content, source, ledger, parts)
  tokens = any("text_bert" in entry for entry in _entries(content))
  if not found:
    held = "text_bert, token ids that need a text encoder, and " if tokens else ""
    raise UserError(f"{source} holds {held}no features of text, audio or vision.")
  stated = functools.partial(_stated, ledger)
  modalities, notes = splits.modalities(found, source, ledger, stated)
  if "text" not in modalities:
    ledger.leave("text_bert", "token ids, which need a text encoder: there is no text")
  ids, more = splits.ids(found, source, ledger)
  labels, names, extras = _labels(found, source, ledger)
  by_modality = {
    key: column(key, x, len(ids), source)
    for key, x in extras.items()
    if key in MODALITY_LABELS
  }
  if extras:
    notes.append(f"Other labels: {', '.join(x for x in extras if 'names' not in x)}.")
  sentences = _sentences(found, source)
  if sentences is not None:
    ledger.use("raw_text", "kept for drawings and pages")
    extras["raw_text"] = sentences
    if "text" in modalities:
      text = annotations.on_steps(modalities["text"], sentences.tolist())
      modalities["text"] = text
  ledger.leave("raw_text", "it is no text of every sample")
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=splits.split_names(found),
    labels=labels,
    class_names=names,
    source=source,
    notes=(*notes, *more),
    extras={key: x for key, x in extras.items() if key not in by_modality},
    columns=videos(ids) | by_modality,
    ledger=ledger.entries(),
  )


def _entries(content):
  return [content, *(x for x in content.values() if isinstance(x, dict))]


def _stated(ledger, entry, name, array):
  """Lengths (N,), or for text the mask (N, T) that the tokens come with."""
  if isinstance(array, np.ndarray) and array.ndim != 3:
    ledger.leave(f"{name}_lengths", f"{name} is one vector a sample")
    return None, None
  if name == "text" and "text_bert" in entry and isinstance(array, np.ndarray):
    tokens = values.numbers(entry["text_bert"], "text_bert")
    tokens = tokens[None] if tokens.ndim == 2 else tokens
    if tokens.shape == (len(array), 3, array.shape[1]):
      ledger.use("text_bert", "which steps of text are real, not as tokens")
      return None, tokens[:, 1] > 0
    ledger.leave("text_bert", "token ids, which need a text encoder")
  if f"{name}_lengths" in entry:
    ledger.use(f"{name}_lengths", f"lengths of {name}")
    lengths = values.numbers(entry[f"{name}_lengths"], f"{name}_lengths").reshape(-1)
    return values.integers(lengths, f"{name}_lengths"), None
  return None, None


def _labels(found, source, ledger):
  """The labels, their class names, and all other kinds of labels."""
  flat = lambda key: _flat(*splits.column(found, key, source, ledger), key, source)
  main, known = flat("regression_labels")
  others = {}
  for key, theirs in MODALITY_LABELS.items():
    array, having = flat(theirs)
    if array is not None:
      others[key] = np.where(having, array, np.nan)
      ledger.use(theirs, f"the column {key}")
  classes, having = flat("classification_labels")
  names = ()
  if classes is not None:
    classes = values.integers(classes, f"{source}: 'classification_labels'")
    names = _class_names(found, classes, having, source, ledger)
  ledger.leave("labels", "there are others, of MMSA's own names")
  if main is not None:
    ledger.use("regression_labels", "labels")
    if classes is not None:
      others["label_classes"] = np.where(having, classes, NO_CLASS)
      ledger.use("classification_labels", "a choice for data.label, label_classes")
      others |= {"label_classes_names": np.array(names)} if names else {}
    return label_arrays.marked(main, known), (), others
  if classes is not None:
    ledger.use("classification_labels", "labels")
    return label_arrays.marked(classes, having), names, others
  labels, known = splits.column(found, "labels", source, ledger)
  labels, names = label_arrays.reshaped(labels, source)
  ledger.use("labels", "labels")
  return label_arrays.marked(labels, known), names, others


def _sentences(found, source):
  """(N,) what was said, cut at some length; None where it is not text throughout."""
  said = []
  for part in filter(None, found):
    own = part.entries.get("raw_text")
    own = own.tolist() if isinstance(own, np.ndarray) else own
    own = [own] if isinstance(own, str) and part.count == 1 else own
    if not isinstance(own, list | tuple) or len(own) != part.count:
      return None
    said += own
  if not all(isinstance(x, str) for x in said):
    return None
  return annotations.sentences(said, f"{source}: 'raw_text'")


def _flat(column, known, key, source):
  if column is None:
    return None, known
  if column.size != len(column):
    raise UserError(f"{source}: {key!r} has shape {column.shape}; right is (N,).")
  column = column.reshape(-1)
  return (column if "class" in key else column.astype(np.float32)), known


def _class_names(found, classes, having, source, ledger):
  """Names from the annotations, where each class has just one."""
  filled = [part for part in found if part]
  if not all("annotations" in part.entries for part in filled):
    ledger.leave("annotations", "not every split has them")
    return ()
  words = [
    word
    for part in filled
    for word in values.names(
      part.entries["annotations"], f"{source}: 'annotations'", part.count
    )
  ]
  pairs = zip(classes[having].tolist(), np.array(words)[having].tolist(), strict=True)
  pairs = set(pairs)
  known = dict(sorted(pairs))
  if len(pairs) != len(known) or min(known, default=0) < 0:
    ledger.leave("annotations", "they are not one name of each class")
    return ()
  ledger.use("annotations", "names of the classes")
  # A class that no sample has has no name here; its number keeps the place.
  count = int(max(known, default=-1)) + 1
  return tuple(known.get(index, str(index)) for index in range(count))
