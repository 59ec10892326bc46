"""Which part of a conversation pickle is what, by what it holds and not its number.

A part is a dict keyed by dialogue, of texts, whole numbers or vectors an utterance, or
a list of the keys of dialogues. Of the dicts those of vectors come between labels and
sentences. Four of one width in a row are layers of one text encoder.
"""

import dataclasses
import itertools

import numpy as np

LAYERS = ("roberta1", "roberta2", "roberta3", "roberta4")
FEWEST, MOST = 6, 14
LOOKED_AT = 200
SENTIMENTS = 3


@dataclasses.dataclass(frozen=True)
class Parts:
  """Places of the parts in the tuple, None of what is not there.

  Attributes:
    labels: a class an utterance.
    features: name -> place, of a modality or a layer of the text encoder.
    train: of the keys of training dialogues; `test` and `valid` likewise.
    ids: of utterances.
    speakers: of utterances.
    sentences: what was said.
    sentiment: of a second, coarser label.
    rest: what has no place in this.
  """

  labels: int
  features: dict[str, int]
  train: int
  test: int
  valid: int | None = None
  ids: int | None = None
  speakers: int | None = None
  sentences: int | None = None
  sentiment: int | None = None
  rest: tuple[int, ...] = ()

  @property
  def layers(self) -> tuple[str, ...]:
    """The layers of a text encoder among the features."""
    return tuple(x for x in self.features if x in LAYERS)


def kinds(content: object) -> list[str]:
  """What each part holds: `text`, `whole`, `rows`, `vectors`, `keys`, or ""."""
  if not isinstance(content, tuple | list) or not FEWEST <= len(content) <= MOST:
    return []
  return [_kind(x) for x in content]


def of(content: object) -> Parts | None:
  """The parts of a conversation pickle; None of what is none."""
  found = kinds(content)
  at = lambda kind: [i for i, x in enumerate(found) if x == kind]
  # Numbers of utterances count on, or differ within every dialogue.
  whole = [i for i in at("whole") if not _counts(content[i])]
  # Before all labels there are no features: these are speakers of a kind of their own.
  features = [i for i in at("vectors") if whole and i > whole[0]]
  keys = at("keys")
  if not features or len(keys) not in (2, 3):
    return None
  before = [i for i in range(features[0]) if found[i] in ("text", "whole", "rows")]
  labels = [i for i in whole if i in before]
  if not labels:
    return None
  first, *more = labels
  if more and not _coarser(content[more[0]], content[first]):
    labels = labels[1:]  # the speakers are numbers, too
    whole = [i for i in whole if i != first]
  others = [i for i in before if i < labels[0]]
  speakers = others[-1] if others else None
  if len(others) == 1 and _differ(content[others[0]]):
    speakers = None  # ids alone
  ids = next((i for i in others if i != speakers), None)
  second = [i for i in whole if i != labels[0] and _highest(content[i]) < SENTIMENTS]
  names = _names(content, features)
  sentences = next((i for i in at("text") if i > features[-1]), None)
  known = {labels[0], *features, *keys, ids, speakers, sentences, *second[:1]}
  return Parts(
    labels=labels[0],
    features=dict(zip(names, features, strict=True)),
    train=keys[0],
    test=keys[1],
    valid=keys[2] if len(keys) == 3 else None,
    ids=ids,
    speakers=speakers,
    sentences=sentences,
    sentiment=second[0] if second else None,
    rest=tuple(i for i in range(len(found)) if i not in known),
  )


def missing(content: object) -> tuple[list[str], list[str]]:
  """What an unknown tuple has and lacks of a conversation pickle."""
  found = kinds(content)
  wanted = {
    "classes of every dialogue": "whole" in found,
    "vectors of every dialogue": "vectors" in found,
    "two or three lists of the keys of dialogues": found.count("keys") in (2, 3),
  }
  if sum(wanted.values()) < 2:
    return [], list(wanted)
  return [x for x in wanted if wanted[x]], [x for x in wanted if not wanted[x]]


def _kind(part) -> str:
  if isinstance(part, dict):
    some = itertools.islice((x for x in part.values() if _listed(x)), LOOKED_AT)
    whole = list(itertools.islice(itertools.chain.from_iterable(some), LOOKED_AT))
    return _kind_of_items(whole)
  if isinstance(part, set | list | tuple) or (
    isinstance(part, np.ndarray) and part.ndim == 1
  ):
    keys = list(itertools.islice(iter(part), LOOKED_AT))
    plain = str | int | np.str_ | np.integer
    return "keys" if keys and all(isinstance(x, plain) for x in keys) else ""
  return ""


def _listed(value) -> bool:
  array = isinstance(value, np.ndarray) and value.ndim > 0
  return (array or isinstance(value, list | tuple)) and len(value) > 0


def _kind_of_items(items) -> str:
  if not items:
    return ""
  if all(isinstance(x, str | bytes) for x in items):
    return "text"
  if all(isinstance(x, int | np.integer) for x in items):
    return "whole"
  if all(isinstance(x, float | np.floating) and float(x).is_integer() for x in items):
    return "whole"
  if all(_listed(x) for x in items):
    return "rows" if all(map(_one_hot, items)) else "vectors"
  return ""


def _one_hot(row) -> bool:
  row = row.tolist() if isinstance(row, np.ndarray) else row
  few = len(row) <= 64
  return (
    few
    and all(x in (0, 1) for x in row if isinstance(x, int | float))
    and (all(isinstance(x, int | float) for x in row) and sum(row) == 1)
  )


def _utterances(table):
  for own in itertools.islice(table.values(), LOOKED_AT):
    if _listed(own):
      few = own[:LOOKED_AT]
      yield few.tolist() if isinstance(few, np.ndarray) else list(few)


def _counts(table) -> bool:
  """Whether whole numbers are those of utterances: they rise by 1 in every dialogue."""
  found = [x for x in _utterances(table) if len(x) > 1]
  rises = lambda x: all(b == a + 1 for a, b in itertools.pairwise(x))
  return len(found) > 1 and all(map(rises, found))


def _differ(table) -> bool:
  """Whether texts name utterances: no two of a dialogue, by number or all apart."""
  found = [x for x in _utterances(table) if len(x) > 1]
  texts = [str(y) for x in found for y in x if isinstance(y, str)]
  if not texts or any(len(set(map(str, x))) < len(x) for x in found):
    return False
  numbered = all(any(map(str.isdigit, x)) for x in texts)
  return numbered or 2 * len(set(texts)) > len(texts)


def _highest(table) -> float:
  return float(max((max(x) for x in _utterances(table)), default=0))


def _coarser(one, other) -> bool:
  """Whether a label is the coarser of two, as sentiments are of emotions."""
  return _highest(one) < SENTIMENTS <= _highest(other)


def _names(content, places) -> list[str]:
  """The features are text, audio, vision; of four equal widths first, its layers."""
  widths = [_width(content[i]) for i in places]
  if len(places) >= 4 and len(set(widths[:4])) == 1:
    rest = ["audio", "vision", *[f"features{i}" for i in range(len(places))]]
    return [*LAYERS, *rest][: len(places)]
  more = [f"features{i}" for i in range(len(places))]
  return ["text", "audio", "vision", *more][: len(places)]


def _width(table) -> int:
  own = next((x for x in table.values() if _listed(x)), [[]])
  return len(own[0])
