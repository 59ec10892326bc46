"""Conversation pickles: MELD and IEMOCAP of DialogueRNN and of what came after it.

A tuple of dicts keyed by dialogue, in an order that each project has its own of; every
utterance has one vector a modality, or four of one text encoder's layers (COSMIC,
MMGCN, M3NET). The emotions are numbered differently by each corpus. Speakers are names,
or rows with a 1 at the speaker's number.
"""

import numpy as np

from mcr_jax.data import annotations, memory
from mcr_jax.data.columns import column
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import (
  dialogue_labels,
  dialogue_parts,
  sequences,
  values,
)
from mcr_jax.data.readers.common.dialogue_parts import LAYERS, Parts
from mcr_jax.data.readers.common.nearest import Lack
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import SPLITS, Dataset
from mcr_jax.errors import UserError, choose

# MELD's own validation dialogues are the last 114 of 1152 that are not for testing.
VALID_SHARE = 114 / 1152
FORMAT = (
  "a conversation pickle of MELD or IEMOCAP (DialogueRNN, MM-DFN, COSMIC, MMGCN, M3NET)"
)
OPTIONS = ("layers",)
MANY = 100_000
TEXTS = ("mean", "join", *LAYERS)


def matches(source: Source) -> bool:
  """Whether it is a pickle of dicts keyed by dialogue, and of their keys."""
  return dialogue_parts.of(source.content) is not None


def lacks(source: Source) -> Lack | None:
  """What a pickle of several parts has and lacks of this format."""
  has, missing = dialogue_parts.missing(source.content)
  return Lack(tuple(has), tuple(missing))


def read(source: Source, layers: str = "mean") -> Dataset:
  """The utterances of all dialogues, each one sample.

  Args:
    source: of this format.
    layers: what becomes of the four layers of a text encoder: their `mean`, all of them
      (`join`), or one by name.
  """
  content, source, ledger = source.content, str(source), Ledger()
  choose(layers, TEXTS, "data.layers")
  parts = dialogue_parts.of(content)
  for number, part in enumerate(content):
    ledger.hold(_name(parts, number), len(part) if hasattr(part, "__len__") else 1)
  groups, valid = _groups(content, parts, source, ledger)
  keys = [key for group in groups.values() for key in group]
  if len(set(keys)) != len(keys) or not keys:
    raise UserError(f"{source}: {len(keys)} dialogues, or some both train and test.")
  left = [x for x in content[parts.labels] if x not in set(keys)]
  why = "they are in none of the file's splits"
  ledger.part("dialogues", len(left), why, "dialogues", left)
  counts = [
    len(dialogue_labels.of(content[parts.labels], key, "labels", source))
    for key in keys
  ]
  _refuse_repeats(content[parts.labels], keys, counts, source)
  sizes = dict(zip(keys, counts, strict=True))
  modalities = _modalities(content, parts, keys, counts, layers, source, ledger)
  emotions, known = dialogue_labels.emotions(content, parts, keys)
  labels = dialogue_labels.classes(
    content[parts.labels], keys, counts, emotions, source
  )
  ledger.use("labels", "labels")
  extras = {}
  if parts.sentiment is not None:
    extras = dialogue_labels.sentiment(
      content[parts.sentiment],
      keys,
      counts,
      labels if known == "MELD" else None,
      source,
    )
    ledger.use("sentiment", "a choice for data.label, label_sentiment")
  columns = {
    "dialogue_id": np.repeat([str(key)[:100] for key in keys], counts),
    "turn": np.concatenate([np.arange(n) for n in counts]),
  }
  speakers = None
  if parts.speakers is not None:
    speakers = _speakers(content[parts.speakers], keys, counts)
    if speakers is not None:
      columns["speaker"] = speakers
      ledger.use("speakers", "the column speaker")
    ledger.leave("speakers", "they are not one an utterance")
  ids = {} if parts.ids is None else content[parts.ids]
  ledger.use("ids", "ids, behind those of their dialogues")
  sentences = None if parts.sentences is None else content[parts.sentences]
  ledger.leave("sentences", "text without vectors; the vectors of text are beside it")
  if (said := _said(sentences, keys, counts, source)) is not None:
    extras["raw_text"] = said
    ledger.use("sentences", "kept for drawings and pages")
  names = emotions or tuple(str(i) for i in range(int(labels.max(initial=0)) + 1))
  classes = f"classes {', '.join(emotions)}"
  if not emotions:
    classes = "the file names no classes, which are numbers here"
  return Dataset(
    ids=_ids(ids, keys, counts, source),
    modalities=modalities,
    splits=np.repeat(list(groups), [sum(map(sizes.get, x)) for x in groups.values()]),
    labels=labels,
    class_names=names,
    source=source,
    notes=(
      f"It has {len(content)} parts, {known or 'of a corpus that is not known'}; "
      f"{classes}.",
      valid,
      *_layers_note(parts, layers),
      *(f"{name}: one vector an utterance." for name in modalities),
    ),
    extras=extras,
    columns={k: column(k, x, sum(counts), source) for k, x in columns.items()},
    ledger=ledger.entries(),
  )


def _refuse_repeats(table, keys, counts, source) -> None:
  """Refuses dialogues that are one list again and again."""
  distinct = {id(table[key]): n for key, n in zip(keys, counts, strict=True)}
  total, own = sum(counts), sum(distinct.values())
  if total > MANY and total > 2 * own:
    raise UserError(
      f"{source}: refused: {total:,} utterances repeat {own:,} in {len(keys):,} "
      "dialogues."
    )


def _name(parts: Parts, number: int) -> str:
  """What a part of the tuple is called in the ledger."""
  for name in ("labels", "ids", "speakers", "sentences", "sentiment", *SPLITS):
    if getattr(parts, name) == number:
      return name
  own = next((x for x, place in parts.features.items() if place == number), None)
  return own or f"part {number + 1}"


def _groups(content, parts, source, ledger) -> tuple[dict[str, list], str]:
  """Split -> keys of dialogues, and a sentence on how the validation came about."""
  of = lambda place: _dialogues(content[place], source)
  train, test = of(parts.train), of(parts.test)
  for split in SPLITS:
    ledger.use(split, f"the split {split}")
  if parts.valid is not None:
    valid = of(parts.valid)
    # Some list the validation dialogues among those for training as well.
    inner = set(valid) <= set(train)
    train = [x for x in train if x not in set(valid)] if inner else train
    return {"train": train, "valid": valid, "test": test}, "The splits are the file's."
  cut = len(train) - round(len(train) * VALID_SHARE)
  groups = {"train": train[:cut], "valid": train[cut:], "test": test}
  last = f"{len(groups['valid'])} of {len(train)} training dialogues"
  return groups, f"The file has no validation split: the last {last} became it."


def _modalities(content, parts, keys, counts, text, source, ledger):
  """The modalities in their order, the layers of text as `text` says."""
  read = lambda name: _modality(
    name, content[parts.features[name]], keys, counts, source
  )
  found = {}
  if parts.layers:
    chosen = parts.layers if text in ("mean", "join") else (text,)
    # One float32 array more than there are layers.
    blocks = [
      _vectors(x, content[parts.features[x]], keys, counts, source) for x in chosen
    ]
    memory.take(4 * sum(x.size for x in blocks), f"{source}: text")
    whole = np.concatenate(blocks, 1)
    if text == "mean":
      whole = np.mean(blocks, axis=0, dtype=np.float64).astype(np.float32)
    found["text"] = sequences.from_blocks("text", [whole])[0]
    how = {"mean": "text, the mean of its layers", "join": "text, joined"}
    for name in chosen:
      ledger.use(name, how.get(text, "the modality text"))
    for name in parts.layers:
      ledger.leave(name, f"data.layers={text} takes another layer")
  for name in values.MODALITIES:
    if name in parts.features:
      found[name] = read(name)
      ledger.use(name, f"the modality {name}")
  return {name: found[name] for name in values.MODALITIES if name in found}


def _layers_note(parts, text) -> list[str]:
  if not parts.layers:
    return []
  how = {"mean": "the mean of them", "join": "all of them joined"}
  return [
    f"Its text has {len(parts.layers)} layers of an encoder: {how.get(text, text)} is "
    f"read; data.layers is one of {', '.join(TEXTS)}."
  ]


def _said(table, keys, counts, source) -> np.ndarray | None:
  """(utterances,) what was said, where every utterance has a text."""
  found = []
  for key, count in zip(keys, counts, strict=True):
    own = table.get(key) if isinstance(table, dict) else None
    own = own.tolist() if isinstance(own, np.ndarray) else own
    if not isinstance(own, list | tuple) or len(own) != count:
      return None
    found += own
  if not all(isinstance(x, str) for x in found):
    return None
  return annotations.sentences(found, f"{source}: the sentences")


def _dialogues(group, source) -> list:
  if not isinstance(group, (list, tuple, set, dict, np.ndarray)):
    raise UserError(f"{source}: a split is a {type(group).__name__}, not a list.")
  keys = group.tolist() if isinstance(group, np.ndarray) else list(group)
  if not isinstance(keys, list) or any(not isinstance(k, (str, int)) for k in keys):
    raise UserError(f"{source}: a split must list the keys of dialogues.")
  return sorted(keys, key=lambda k: (isinstance(k, str), k))


def _modality(name, table, keys, counts, source):
  return sequences.from_blocks(name, [_vectors(name, table, keys, counts, source)])[0]


def _vectors(name, table, keys, counts, source) -> np.ndarray:
  """Arrays (utterances, D) of all dialogues one after another."""
  # Dialogues that share a list share its array, so that repeats are seen as such.
  arrays, blocks = {}, []
  for key, count in zip(keys, counts, strict=True):
    raw = dialogue_labels.of(table, key, name, source)
    if id(raw) not in arrays:
      arrays[id(raw)] = values.numbers(raw, f"{source}: {name} of {str(key)[:60]!r}")
    array = arrays[id(raw)]
    if array.ndim != 2 or len(array) != count:
      raise UserError(
        f"{source}: {name} of dialogue {str(key)[:60]!r} has shape {array.shape}; it "
        f"has {count} labels, so ({count}, D) is right."
      )
    blocks.append(array)
  values.refuse_repeats(blocks, source)
  if len({x.shape[1] for x in blocks}) != 1:
    shapes = ", ".join(str(x.shape) for x in blocks[:5])
    raise UserError(f"{source}: {name} has arrays of shapes {shapes}, and one width.")
  memory.take(4 * sum(x.size for x in blocks), f"{source}: {name}")
  with np.errstate(over="ignore"):
    return np.concatenate(blocks).astype(np.float32)


def _speakers(table, keys, counts) -> np.ndarray | None:
  """(utterances,) names or numbers, where every utterance has one."""
  found = []
  for key, count in zip(keys, counts, strict=True):
    own = table.get(key)
    own = own.tolist() if isinstance(own, np.ndarray) else own
    if not isinstance(own, (list, tuple)) or len(own) != count:
      return None
    found += own
  if all(isinstance(x, (list, tuple, np.ndarray)) for x in found):
    try:
      rows = values.numbers(found, "the speakers")
    except UserError:
      return None
    one = rows.ndim == 2 and ((rows == 0) | (rows == 1)).all()
    return rows.argmax(1) if one and (rows.sum(1) == 1).all() else None
  if all(isinstance(x, (str, int)) for x in found):
    return values.strings([str(x)[:100] for x in found], "the speakers")
  return None


def _ids(table, keys, counts, source) -> np.ndarray:
  ids = []
  for key, count in zip(keys, counts, strict=True):
    own = table.get(key)
    own = own.tolist() if isinstance(own, np.ndarray) else own
    if isinstance(own, (list, tuple)) and len(own) == count:
      own = values.names(own, f"{source}: the ids", count)
    else:
      own = range(count)
    ids += [f"{str(key)[:100]}$_${utterance}" for utterance in own]
  return values.strings(ids, f"{source}: the ids")
