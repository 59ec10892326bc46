"""The classes of a conversation pickle: which corpus numbers them, and their names."""

from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax.data.readers.common import values
from mcr_jax.data.readers.common.dialogue_parts import Parts
from mcr_jax.errors import UserError

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")
# A sentiment's name is that of the emotion which implies it.
IMPLIED = {"neutral": "neutral", "joy": "positive", "sadness": "negative"}


def emotions(
  content: Sequence, parts: Parts, keys: Sequence
) -> tuple[tuple[str, ...], str]:
  """The classes' names and the corpus, as far as the parts tell them."""
  if all(isinstance(x, str) and x.startswith("Ses") for x in keys):
    return IEMOCAP, "IEMOCAP"
  joint = parts.sentiment is not None or _wide_rows(content, parts)
  if joint:
    return MELD, "MELD"
  if parts.layers:
    return (), ""
  return IEMOCAP, "IEMOCAP"


def _wide_rows(content, parts) -> bool:
  """Whether speakers are rows of MELD's nine."""
  if parts.speakers is None:
    return False
  own = next(iter(content[parts.speakers].values()), None)
  row = own[0] if isinstance(own, list | tuple | np.ndarray) and len(own) else None
  return isinstance(row, list | tuple | np.ndarray) and len(row) == 9


def of(table: Mapping, key: object, what: str, source: str) -> Sequence:
  """What a dialogue has in one part, a list or an array of its utterances."""
  if key not in table:
    raise UserError(f"{source}: {what} of dialogue {str(key)[:60]!r} are missing.")
  found = table[key]
  listed = isinstance(found, (list, tuple))
  if not listed and not (isinstance(found, np.ndarray) and found.ndim):
    raise UserError(f"{source}: {what} of dialogue {str(key)[:60]!r} are no list.")
  return found


def classes(
  table: Mapping,
  keys: Sequence,
  counts: Sequence[int],
  names: Sequence[str],
  source: str,
) -> np.ndarray:
  """(utterances,) classes of all dialogues one after another.

  Args:
    table: of them by dialogue.
    keys: of the dialogues, in order.
    counts: of their utterances.
    names: of the classes; () where the file has none.
    source: for messages.
  """
  labels = []
  for key, count in zip(keys, counts, strict=True):
    what = f"{source}: labels of {str(key)[:60]!r}"
    array = values.integers(
      values.numbers(of(table, key, "labels", source), what), what
    )
    if array.shape != (count,) or array.min(initial=0) < 0:
      raise UserError(f"{what} have shape {array.shape}; right are {count} classes.")
    labels.append(array)
  labels = np.concatenate(labels)
  if names and labels.max(initial=0) >= len(names):
    raise UserError(
      f"{source}: a label is {labels.max()}; the classes {', '.join(names)} allow 0 to "
      f"{len(names) - 1}."
    )
  return labels


def sentiment(
  table: Mapping,
  keys: Sequence,
  counts: Sequence[int],
  emotions: np.ndarray | None,
  source: str,
) -> dict[str, np.ndarray]:
  """The second labels, named by the emotions of MELD that they go with."""
  labels = classes(table, keys, counts, ("0", "1", "2"), source)
  extras, order = {"label_sentiment": labels}, {}
  if emotions is None:
    return extras
  for emotion, name in IMPLIED.items():
    with_it = labels[emotions == MELD.index(emotion)]
    if len(with_it):
      order[int(np.bincount(with_it).argmax())] = name
  if sorted(order) == [0, 1, 2]:
    extras["label_sentiment_names"] = np.array([order[i] for i in range(3)])
  return extras
