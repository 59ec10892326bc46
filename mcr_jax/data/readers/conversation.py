"""Conversation pickles: MELD of DialogueRNN and MM-DFN, and IEMOCAP with six emotions.

A tuple of dicts keyed by dialogue, in an order that each project has its own of; every
utterance has one vector a modality. The emotions are numbered differently by each.
Speakers are names, or rows with a 1 at the speaker's number.
"""

import numpy as np

from mcr_jax.data.columns import column
from mcr_jax.data.readers.common import sequences, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
# A sentiment's name is that of the emotion which implies it.
IMPLIED = {"neutral": "neutral", "joy": "positive", "sadness": "negative"}
# MELD's own validation dialogues are the last 114 of 1152 that are not for testing.
VALID_SHARE = 114 / 1152
FORMAT = "a conversation pickle of MELD or IEMOCAP (DialogueRNN, MM-DFN)"
OPTIONS = ()
LAYOUTS = {
  "MELD, DialogueRNN": dict(text=3, audio=4, sentence=5, train=6, test=7, sentiment=8),
  "MELD, MM-DFN": dict(
    text=3, audio=4, vision=5, sentence=6, train=7, test=8, sentiment=9
  ),
  "IEMOCAP-6": dict(text=3, audio=4, vision=5, sentence=6, train=7, test=8),
}


def matches(source: Source) -> bool:
  """Whether it is a pickle of nine or ten parts, six of them dicts."""
  content = source.content
  return (
    isinstance(content, (tuple, list))
    and len(content) in (9, 10)
    and all(isinstance(part, dict) for part in content[:6])
  )


def read(source: Source) -> Dataset:
  """The utterances of all dialogues, each one sample."""
  content, source = source.content, str(source)
  layout = _layout(content)
  places = LAYOUTS[layout]
  train, test = (_dialogues(content[places[x]], source) for x in ("train", "test"))
  cut = len(train) - round(len(train) * VALID_SHARE)
  groups = {"train": train[:cut], "valid": train[cut:], "test": test}
  keys = [key for group in groups.values() for key in group]
  if len(set(keys)) != len(keys) or not keys:
    raise UserError(f"{source}: {len(keys)} dialogues, or some both train and test.")
  counts = [len(_of(content[2], key, "labels", source)) for key in keys]
  sizes = dict(zip(keys, counts, strict=True))
  modalities = {
    name: _modality(name, content[places[name]], keys, counts, source)
    for name in values.MODALITIES
    if name in places
  }
  emotions = IEMOCAP if layout == "IEMOCAP-6" else MELD
  labels = _classes(content[2], keys, counts, emotions, source)
  extras = {}
  if "sentiment" in places:
    extras = _sentiment(content[places["sentiment"]], keys, counts, labels, source)
  columns = {
    "dialogue_id": np.repeat([str(key)[:100] for key in keys], counts),
    "turn": np.concatenate([np.arange(n) for n in counts]),
  }
  speakers = _speakers(content[1], keys, counts)
  if speakers is not None:
    columns["speaker"] = speakers
  valid = f"{len(groups['valid'])} of {len(train)} training dialogues"
  return Dataset(
    ids=_ids(content[0], keys, counts, source),
    modalities=modalities,
    splits=np.repeat(list(groups), [sum(map(sizes.get, x)) for x in groups.values()]),
    labels=labels,
    class_names=emotions,
    source=source,
    notes=(
      f"The layout is {layout}'s; classes {', '.join(emotions)}.",
      f"The file has no validation split: the last {valid} became it.",
      *(f"{name}: one vector an utterance." for name in modalities),
      *["Its speakers are not one an utterance: not used."] * (speakers is None),
    ),
    extras=extras,
    columns={k: column(k, x, sum(counts), source) for k, x in columns.items()},
  )


def _layout(content) -> str:
  if len(content) == 10:
    return "MELD, MM-DFN"
  # The two of nine differ in what comes sixth: sentences or visual features.
  first = next(iter(content[5].values()), None)
  while isinstance(first, (list, tuple)) and first:
    first = first[0]
  return "MELD, DialogueRNN" if isinstance(first, str) else "IEMOCAP-6"


def _dialogues(group, source) -> list:
  if not isinstance(group, (list, tuple, set, dict, np.ndarray)):
    raise UserError(f"{source}: a split is a {type(group).__name__}, not a list.")
  keys = group.tolist() if isinstance(group, np.ndarray) else list(group)
  if not isinstance(keys, list) or any(not isinstance(k, (str, int)) for k in keys):
    raise UserError(f"{source}: a split must list the keys of dialogues.")
  return sorted(keys, key=lambda k: (isinstance(k, str), k))


def _of(table, key, what, source):
  if key not in table:
    raise UserError(f"{source}: {what} of dialogue {str(key)[:60]!r} are missing.")
  found = table[key]
  listed = isinstance(found, (list, tuple))
  if not listed and not (isinstance(found, np.ndarray) and found.ndim):
    raise UserError(f"{source}: {what} of dialogue {str(key)[:60]!r} are no list.")
  return found


def _modality(name, table, keys, counts, source):
  """Arrays (utterances, D) of all dialogues one after another."""
  # Dialogues that share a list share its array, so that repeats are seen as such.
  arrays, blocks = {}, []
  for key, count in zip(keys, counts, strict=True):
    raw = _of(table, key, name, source)
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
  return sequences.from_blocks(name, blocks)[0]


def _classes(table, keys, counts, names, source) -> np.ndarray:
  labels = []
  for key, count in zip(keys, counts, strict=True):
    what = f"{source}: labels of {str(key)[:60]!r}"
    array = values.integers(
      values.numbers(_of(table, key, "labels", source), what), what
    )
    if array.shape != (count,) or array.min(initial=0) < 0:
      raise UserError(f"{what} have shape {array.shape}; right are {count} classes.")
    labels.append(array)
  labels = np.concatenate(labels)
  if labels.max(initial=0) >= len(names):
    raise UserError(
      f"{source}: a label is {labels.max()}; the classes {', '.join(names)} allow 0 to "
      f"{len(names) - 1}."
    )
  return labels


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


def _sentiment(table, keys, counts, emotions, source) -> dict[str, np.ndarray]:
  """The second labels, named by the emotions that they go with."""
  if not isinstance(table, dict):
    return {}
  labels = _classes(table, keys, counts, ("0", "1", "2"), source)
  extras, order = {"label_sentiment": labels}, {}
  for emotion, name in IMPLIED.items():
    with_it = labels[emotions == MELD.index(emotion)]
    if len(with_it):
      order[int(np.bincount(with_it).argmax())] = name
  if sorted(order) == [0, 1, 2]:
    extras["label_sentiment_names"] = np.array([order[i] for i in range(3)])
  return extras


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
