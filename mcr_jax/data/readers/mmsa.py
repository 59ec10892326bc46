"""Feature files of MMSA and MMSA-FET: {train, valid, test} -> text, audio, vision, ...

Also what MMSA-FET writes for one clip: the modalities alone, (T, D) each.
"""

import numpy as np

from mcr_jax.data import annotations, memory
from mcr_jax.data.columns import column, videos
from mcr_jax.data.readers.common import splits, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

MARKS = ("regression_labels", "classification_labels", "text_bert", "raw_text")
MODALITY_LABELS = {f"label_{m}": f"regression_labels_{m}" for m in "TAV"}
FORMAT = "an MMSA or MMSA-FET pickle"
OPTIONS = ()


def matches(source: Source) -> bool:
  """Whether it is a pickle with this format's keys, or with features alone."""
  content = source.content
  if not isinstance(content, dict):
    return False
  keys = [key for entry in _entries(content) for key in entry if isinstance(key, str)]
  if any(key in MARKS or key.endswith("_lengths") for key in keys):
    return True
  return "labels" not in keys and any(map(values.by_name, _entries(content)))


def read(source: Source) -> Dataset:
  """The data set; SIMS's labels by modality are `label_T`, `label_A`, `label_V`.

  Of `raw_text` the sentences are kept, and the words of steps where each has its own.
  """
  content, source = source.content, str(source)
  found = splits.parts(content, source)
  tokens = any("text_bert" in entry for entry in _entries(content))
  if not found:
    held = "text_bert, token ids that need a text encoder, and " if tokens else ""
    raise UserError(f"{source} holds {held}no features of text, audio or vision.")
  modalities, notes = splits.modalities(found, source, _stated)
  if tokens:
    use = "the features `text` are used" if "text" in modalities else "there is no text"
    notes.append(f"text_bert holds token ids, which need a text encoder: {use}.")
  ids, more = splits.ids(found, source)
  labels, names, extras = _labels(found, source)
  by_modality = {
    key: column(key, x, len(ids), source)
    for key, x in extras.items()
    if key in MODALITY_LABELS
  }
  if extras:
    notes.append(f"Other labels: {', '.join(x for x in extras if 'names' not in x)}.")
  sentences = _sentences(found, source)
  if sentences is not None:
    extras["raw_text"] = sentences
    if "text" in modalities:
      text = annotations.on_steps(modalities["text"], sentences.tolist())
      modalities["text"] = text
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
  )


def _entries(content):
  return [content, *(x for x in content.values() if isinstance(x, dict))]


def _stated(entry, name, array):
  """Lengths (N,), or for text the mask (N, T) that the tokens come with."""
  if array.ndim != 3:
    return None, None
  if name == "text" and "text_bert" in entry:
    tokens = values.numbers(entry["text_bert"], "text_bert")
    tokens = tokens[None] if tokens.ndim == 2 else tokens
    if tokens.shape == (len(array), 3, array.shape[1]):
      return None, tokens[:, 1] > 0
  if f"{name}_lengths" in entry:
    lengths = values.numbers(entry[f"{name}_lengths"], f"{name}_lengths").reshape(-1)
    return values.integers(lengths, f"{name}_lengths"), None
  return None, None


def _labels(found, source):
  """The labels, their class names, and all other kinds of labels."""
  flat = lambda key: _flat(splits.column(found, key, source), key, source)
  main = flat("regression_labels")
  others = {key: flat(theirs) for key, theirs in MODALITY_LABELS.items()}
  others = {key: x for key, x in others.items() if x is not None}
  classes = flat("classification_labels")
  if classes is None:
    return main, (), others
  classes = values.integers(classes, f"{source}: 'classification_labels'")
  names = _class_names(found, classes, source)
  if main is None:
    return classes, names, others
  others["label_classes"] = classes
  if names:
    others["label_classes_names"] = np.array(names)
  return main, (), others


def _sentences(found, source):
  """(N,) what was said, cut at some length; None where it is not text throughout."""
  said = []
  for _, entry, _, count in found:
    if count:
      part = entry.get("raw_text")
      part = part.tolist() if isinstance(part, np.ndarray) else part
      part = [part] if isinstance(part, str) and count == 1 else part
      if not isinstance(part, list | tuple) or len(part) != count:
        return None
      said += part
  if not all(isinstance(x, str) for x in said):
    return None
  said = [x[: annotations.LONGEST_SENTENCE] for x in said]
  memory.take(4 * len(said) * max(map(len, said), default=0), f"{source}: 'raw_text'")
  text = np.array(said, dtype=str)
  # Half of a character could not be written to any file.
  return np.char.decode(np.char.encode(text, "utf-8", "replace"), "utf-8")


def _flat(column, key, source):
  if column is None:
    return None
  if column.size != len(column):
    raise UserError(f"{source}: {key!r} has shape {column.shape}; right is (N,).")
  column = column.reshape(-1)
  return column if "class" in key else column.astype(np.float32)


def _class_names(found, classes, source):
  """Names from the annotations, where each class has just one."""
  filled = [part for part in found if part[3]]
  if not all("annotations" in entry for _, entry, _, _ in filled):
    return ()
  words = [
    word
    for _, entry, _, count in filled
    for word in values.names(entry["annotations"], f"{source}: 'annotations'", count)
  ]
  pairs = set(zip(classes.tolist(), words, strict=True))
  known = dict(sorted(pairs))
  count = len(known)
  if len(pairs) != count or sorted(known) != list(range(count)):
    return ()
  return tuple(known[index] for index in range(count))
