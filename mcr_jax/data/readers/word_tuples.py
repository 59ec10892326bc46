"""Pickles of MISA, MMIM, BBFN and MAG-BERT: ((words, vision, audio), label, segment).

A list a split: a dict of three, a file of three dumps, or a folder with a file each.
`words` are texts, or numbers of words in a vocabulary that is kept elsewhere (a fourth
part then often has the texts); both need vectors, which `data.vectors` names. A sample
is a segment `video[k]` whose words, frames and voice have the same steps.
"""

import re
from collections.abc import Mapping

import numpy as np

from mcr_jax.data import annotations, memory
from mcr_jax.data import parts as part_names
from mcr_jax.data.columns import by_video
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import sequences, tuple_rows, values, word_vectors
from mcr_jax.data.readers.common.nearest import Lack
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.readers.common.tuple_rows import Row
from mcr_jax.data.schema import SPLITS, Dataset, Modality
from mcr_jax.errors import UserError

FORMAT = "a pickle of ((words, vision, audio), label, segment) of MISA or MAG-BERT"
OPTIONS = ("parts", "vectors")
SEGMENT = re.compile(r"(.+)\[(\d{1,9})\]")
TARGETS = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
NO_VECTORS = "words need vectors: data.vectors=FILE names a table of them"
NUMBERS = (
  "numbers of words in a vocabulary that the file lacks: data.vectors=FILE.npy names "
  "its vectors (V, D)"
)


def matches(source: Source) -> bool:
  """Whether it is a list of such tuples, or a dict or several lists of them."""
  return bool(tuple_rows.lists(source.content))


def lacks(source: Source) -> Lack | None:
  """What the first item of a list has and lacks of such a tuple."""
  return tuple_rows.lacks(source.content)


def read(
  source: Source, parts: Mapping[str, str] | None = None, vectors: str = ""
) -> Dataset:
  """The segments of all splits, each one sample.

  Args:
    source: of this format.
    parts: split -> the file's name of what to take for it.
    vectors: a file of vectors of words, or of rows by their numbers.
  """
  path, name, ledger = source.path, str(source), Ledger()
  lists = tuple_rows.lists(source.content)
  roles = part_names.roles(lists, name, parts or {}) if None not in lists else {}
  for key in lists:
    if roles and key not in roles:
      ledger.hold(str(key), len(lists[key]), "samples")
      ledger.leave(str(key), part_names.further(str(key)))
  order = lambda key: (*SPLITS, roles[key]).index(roles[key])
  keys = sorted(roles, key=order) if roles else list(lists)
  tuple_rows.refuse_repeats([x for k in keys for x in lists[k]], name)
  rows = [
    tuple_rows.row(x, f"{name}: sample {i}")
    for k in keys
    for i, x in enumerate(lists[k])
  ]
  if not rows:
    raise UserError(f"{name} has no samples.")
  for label, count in tuple_rows.holdings(rows).items():
    ledger.hold(label, count, "samples")
  modalities = {}
  text, notes = _text(rows, vectors, path, name, ledger)
  if text is not None:
    modalities["text"] = text
  for modality in ("vision", "audio"):
    own = [getattr(row, modality) for row in rows]
    modalities[modality] = sequences.from_list(modality, own, name)
    ledger.use(modality, f"the modality {modality}")
    lost = [str(i) for i, x in enumerate(own) if x is None]
    why = f"these samples hold no {modality}"
    ledger.part(modality, len(lost), why, "samples", lost)
  ids = values.names([row.segment for row in rows], f"{name}: the segments", len(rows))
  ledger.use("segment", "ids")
  labels, extras = _labels(rows, name, ledger)
  said = [" ".join(row.said or ()) for row in rows]
  if any(said):
    extras["raw_text"] = annotations.sentences(said, f"{name}: the words")
    if "text" not in modalities:
      key = "texts" if all(row.numbers is not None for row in rows) else "words"
      ledger.use(key, "sentences for drawings and pages, and no modality")
  found = [SEGMENT.fullmatch(x) for x in ids]
  columns = {}
  if all(found):
    names = values.strings([x[1] for x in found], f"{name}: the videos")
    columns = by_video(names, np.array([float(x[2]) for x in found]))
  splits = None
  if roles:
    splits = np.repeat([roles[k] for k in keys], [len(lists[k]) for k in keys])
  else:
    notes.append("The file names no splits.")
  return Dataset(
    ids,
    modalities,
    splits,
    labels,
    source=name,
    notes=tuple(notes),
    extras=extras,
    columns=columns,
    ledger=ledger.entries(),
  )


def _text(
  rows: list[Row], vectors, path, source, ledger
) -> tuple[Modality | None, list[str]]:
  """The modality text where the words have vectors, and what was found out."""
  own = [row.vectors for row in rows]
  if any(x is not None for x in own) and all(
    row.vectors is not None or row.said == () for row in rows
  ):
    ledger.use("words", "the modality text")
    return sequences.from_list("text", own, source), ["text: the vectors of the file."]
  texts = all(row.said is not None for row in rows)
  numbers = all(row.numbers is not None for row in rows)
  if not vectors:
    beside = f"numbers of words, whose texts are beside them; {NO_VECTORS}"
    ledger.leave("words", (beside if texts else NUMBERS) if numbers else NO_VECTORS)
    ledger.leave("texts", NO_VECTORS)
    if not numbers:
      ledger.part("words", len(rows), f"as a modality {NO_VECTORS}", "samples")
    return None, []
  file = word_vectors.path_of(vectors, path)
  if word_vectors.is_rows(file):
    if not numbers:
      raise UserError(
        f"data.vectors: {file} has rows by number, and the words of {source} are text; "
        "right is a line a word."
      )
    table = word_vectors.rows(file)
    highest = max((int(x.numbers.max(initial=0)) for x in rows), default=0)
    lowest = min((int(x.numbers.min(initial=0)) for x in rows), default=0)
    if highest >= len(table) or lowest < 0:
      raise UserError(
        f"data.vectors: {file} has {len(table):,} rows; the words of {source} are "
        f"numbered from {lowest} to {highest:,}."
      )
    ledger.use("words", "the modality text, by data.vectors")
    total = sum(len(row.numbers) for row in rows)
    memory.take(4 * table.shape[1] * total, f"{source}: text, by data.vectors")
    own = [np.asarray(table[row.numbers], np.float32) for row in rows]
    return sequences.from_list("text", own, source), [f"text: rows of {file}."]
  if not texts:
    raise UserError(
      f"data.vectors: {file} has vectors by word, and {source} has no words but their "
      "numbers; right is an .npy array (V, D)."
    )
  found = word_vectors.of_words(file, {word for row in rows for word in row.said})
  width = len(next(iter(found.values())))
  total = sum(len(row.said) for row in rows)
  memory.take(4 * width * total, f"{source}: text, by data.vectors")
  zero = np.zeros(width, np.float32)
  own = [
    np.array([found.get(x, zero) for x in row.said]).reshape(-1, width) for row in rows
  ]
  lost = sorted({x for row in rows for x in row.said if x not in found})
  ledger.use("texts", "the modality text, by data.vectors")
  if not numbers:
    ledger.use("words", "the modality text, by data.vectors")
  ledger.leave("words", "their texts are beside them")
  why = f"{file.name} has no vector of them: theirs is zero"
  ledger.part("words", len(lost), why, "words", lost)
  return sequences.from_list("text", own, source), [f"text: vectors of {file}."]


def _labels(rows, source, ledger) -> tuple[np.ndarray | None, dict[str, np.ndarray]]:
  known = [row.label for row in rows]
  if all(x is None for x in known):
    ledger.leave("label", "it is None throughout")
    return None, {}
  widths = {x.size for x in known if x is not None}
  if len(widths) != 1 or any(x is None for x in known):
    shapes = {"None" if x is None else str(x.shape) for x in known}
    raise UserError(f"{source}: labels have the shapes {', '.join(sorted(shapes))}.")
  table = np.stack([x.reshape(-1) for x in known])
  ledger.use("label", "labels")
  whole = table.dtype.kind in "biu"
  table = table.astype(np.int64 if whole else np.float32)
  if table.shape[1] != len(TARGETS):
    return (table[:, 0] if table.shape[1] == 1 else table), {}
  extras = {f"label_{name}": table[:, i] for i, name in enumerate(TARGETS) if i}
  return table[:, 0], {**extras, "label_emotions": table[:, 1:]}
