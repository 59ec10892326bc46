"""Data sets whose dicts and lists are nested in another order than by split.

Known orders, each of which may be inside of a dict of splits:

- a list with a dict a sample;
- a dict of samples by id, a dict each;
- a dict of videos, each a dict or a list of the samples of its segments;
- a dict of columns, each a dict by id;
- a dict of columns with an entry a sample, of which one says the split, or whose labels
  are words;
- a dict of columns, each a dict of splits;
- columns that name their split: `text_train`, `X_test`, `dev_labels`.
"""

import re
from collections.abc import Mapping

import numpy as np

from mcr_jax.data import ledger, memory
from mcr_jax.data import parts as part_names
from mcr_jax.data.readers.common import rows, values
from mcr_jax.data.readers.common.rows import Part, Rows
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError

# More values than a sample has labels: they are those of many samples.
MOST_LABELS = 64
# The columns whose entries are the samples.
NAMING = ("id", "label", "split")
SIGNS = re.compile(r"[_\-./ ]+")
# Marks of formats that have readers of their own.
THEIRS = ("text_bert", "regression_labels", "classification_labels", "annotations")


def of(content: object) -> Rows | None:
  """The samples of a content in one of these orders; None of any other."""
  if isinstance(content, np.ndarray) and content.dtype.kind == "O":
    content = content.tolist()
  if isinstance(content, list | tuple):
    return _single(_part("", content))
  if not isinstance(content, dict) or not content:
    return None
  if not all(isinstance(key, str) for key in content):
    return None
  turned = _splits_of_columns(content)
  found = turned or _by_split(content) or _flat(content)
  return found or _single(_part("", content)) or _with_others(content)


def by_split(names: Mapping[str, object]) -> dict[str, dict[str, object]]:
  """Split as the names say it -> the rest of the name -> entry.

  Nothing where they are not of two splits at least; names that say no split are left.

  Args:
    names: such as `text_train`, to whatever they name.
  """
  found: dict[str, dict] = {}
  for name, entry in names.items():
    if divided := _divided(name):
      split, rest = divided
      found.setdefault(split, {})[rest] = entry
  return found if len(found) > 1 else {}


def _divided(name) -> tuple[str, str] | None:
  """The split at the end or the beginning of a name, and the rest of it."""
  words = SIGNS.split(name)
  at = [i for i in (0, -1) if part_names.name_of(words[i]) in SPLITS]
  if len(words) < 2 or not at:
    return None
  return words[at[-1]], "_".join(words[:-1] if at[-1] == -1 else words[1:])


def _single(part: tuple[Part, str] | None) -> Rows | None:
  return part and Rows((part[0],), f"It is {part[1]}.")


def _by_split(content) -> Rows | None:
  """A dict of splits whose parts are in one of the orders."""
  found = {key: _part(key, x) for key, x in content.items() if _is_several(x)}
  found = {key: x for key, x in found.items() if x}
  named = [key for key in content if part_names.name_of(key) in SPLITS]
  if len(named) < 2 or not set(named) <= set(found):
    return None
  beside = {key: ledger.size(x) for key, x in content.items() if key not in found}
  how = f"Every split is {next(iter(found.values()))[1]}."
  return Rows(tuple(x[0] for x in found.values()), how, beside=beside)


def _splits_of_columns(content) -> Rows | None:
  """A dict of columns that are dicts of splits."""
  inner = list(content.values())
  if _is_split(content) or not all(isinstance(x, dict) and _is_split(x) for x in inner):
    return None
  places = dict.fromkeys(key for x in inner for key in x)
  if len(places) < 2 or not _says_something([content]):
    return None
  turned = {s: {key: x[s] for key, x in content.items() if s in x} for s in places}
  counts = {s: _length(own) for s, own in turned.items()}
  if not all(counts.values()):
    return None
  made = (Part(str(s), own, counts[s]) for s, own in turned.items())
  return Rows(tuple(made), "It is a dict of columns, each a dict of splits.")


def _flat(content) -> Rows | None:
  found = by_split(content)
  if not found:
    return None
  counts = {place: _length(own) for place, own in found.items()}
  if not all(counts.values()) or not _says_something(found.values()):
    return None
  if not all(map(_has_arrays, found.values())):
    return None
  made = (Part(place, own, counts[place]) for place, own in found.items())
  beside = {key: ledger.size(x) for key, x in content.items() if not _divided(key)}
  return Rows(tuple(made), "The names of its columns say their split.", beside=beside)


def _with_others(content) -> Rows | None:
  """A dict of columns, and of things that have no entry a sample."""
  own = {key: x for key, x in content.items() if rows.role(key) in NAMING and _sized(x)}
  count = _length(own)
  columns = {key: x for key, x in content.items() if _sized(x) and len(x) == count}
  if not count or not _are_columns(columns, False):
    return None
  beside = {key: ledger.size(x) for key, x in content.items() if key not in columns}
  made = (Part("", columns, count),)
  return Rows(made, "It is a dict of columns.", beside=beside)


def _part(place, content) -> tuple[Part, str] | None:
  """The samples of one part, and its order in words."""
  if isinstance(content, list | tuple):
    if not _are_samples(content):
      return None
    return Part(place, _turned(content), len(content)), "a list with a dict a sample"
  if not isinstance(content, dict):
    return None
  if found := _by_video(content):
    return Part(place, found, len(found["id"])), "a dict of videos, each of segments"
  inner = list(content.values())
  if (place or len(inner) > 1) and _are_samples(inner) and not _is_split(content):
    columns = {"id": list(map(str, content))} | _turned(inner)
    return Part(place, columns, len(inner)), "a dict of samples by id"
  if found := _by_column(content):
    return Part(place, found, len(found["id"])), "a dict of columns, each by id"
  count = _length(content)
  if count and _are_columns(content, bool(place)):
    return Part(place, dict(content), count), "a dict of columns"
  return None


def _is_several(value) -> bool:
  return isinstance(value, dict | list | tuple) and bool(len(value))


def _is_split(content) -> bool:
  return any(part_names.name_of(key) in SPLITS for key in content)


def _are_samples(items) -> bool:
  """Whether several things are all dicts of what a sample has."""
  if not items or not all(isinstance(x, dict) and x for x in items):
    return False
  head = list(map(_opened, items[:: max(1, len(items) // 50)]))
  if any(isinstance(y, dict) for x in head for y in x.values()):
    return False
  if not all(isinstance(key, str) for x in head for key in x):
    return False
  return _says_something(head) and not any(map(_is_batch, head[:4]))


def _by_video(content) -> dict[str, list] | None:
  """The segments of videos as columns, with their ids and videos.

  A segment's id has its video before it where segments of two videos are named alike.
  """
  videos = list(content.values())
  if not videos or not all(isinstance(x, dict | list | tuple) and x for x in videos):
    return None
  if _is_split(content) or _says_something([content]):
    return None
  # The entries of one sample have names of labels or features; segments have not.
  if _says_something([x for x in videos if isinstance(x, dict)]):
    return None
  named = [x if isinstance(x, dict) else dict(enumerate(x)) for x in videos]
  segments = [y for x in named for y in x.values()]
  if not _are_samples(segments) or not _are_alike(segments):
    return None
  ids = [str(key) for x in named for key in x]
  owners = [str(v) for v, x in zip(content, named, strict=True) for _ in x]
  if len(set(ids)) < len(ids):
    ids = [f"{v}_{i}" for v, i in zip(owners, ids, strict=True)]
  return {"video_id": owners, "id": ids} | _turned(segments)


def _are_alike(samples) -> bool:
  """Whether most have the entries of the first: they are samples, not its parts."""
  first = set(samples[0])
  return 2 * sum(len(first & set(x)) * 2 > len(first) for x in samples) > len(samples)


def _opened(sample) -> dict:
  """A sample whose entries may be dicts of features or labels, as one dict."""
  if not any(isinstance(x, dict) for x in sample.values()):
    return sample
  found = {}
  for key, entry in sample.items():
    inner = entry if isinstance(entry, dict) else {key: entry}
    label = inner is entry and isinstance(key, str) and rows.role(key) == "label"
    for name, x in inner.items():
      own = f"label_{name}" if label and rows.role(str(name)) != "label" else name
      found[own if own not in found else f"{key}_{own}"] = x
  return found


def _is_batch(sample) -> bool:
  """Whether a dict has several samples: more dimensions than one has, or lists."""
  labels = [x for key, x in sample.items() if rows.role(key) == "label"]
  many = any(_sized(x) and len(x) > MOST_LABELS for x in labels)
  return many or any(getattr(x, "ndim", 0) > 2 for x in sample.values())


def _sized(value) -> bool:
  return isinstance(value, list | tuple) or bool(getattr(value, "ndim", 0))


def _says_something(mappings) -> bool:
  """Whether names are of labels or features, not ids of something else."""
  keys = {key for x in mappings for key in x if isinstance(key, str)}
  # One letter may well be the name of anything.
  said = lambda x: rows.role(x) == "label" or len(x) > 1 and rows.modality(x)
  return any(map(said, keys))


def _turned(samples) -> dict[str, list]:
  """The dicts of samples as columns, None where one lacks an entry."""
  opened = {key: _opened(x) for key, x in {id(x): x for x in samples}.items()}
  keys = dict.fromkeys(
    key for x in opened.values() for key in x if isinstance(key, str)
  )
  _check_size(len(samples), len(keys))
  return {key: [opened[id(x)].get(key) for x in samples] for key in keys}


def _check_size(count, keys) -> None:
  """A file may mention one dict a million times at the cost of one."""
  most = values.LISTED_NUMBERS
  if count * keys > most:
    raise UserError(
      f"refused: {count:,} samples with {keys:,} entries each; {most:,} entries are "
      "the most. Arrays hold more: a column with an entry a sample."
    )
  memory.take(8 * count * keys, "the samples as columns")


def _by_column(content) -> dict[str, list] | None:
  """Columns that are dicts by id, as columns in one order with the ids."""
  inner = list(content.values())
  if len(inner) < 2 or not all(isinstance(x, dict) and x for x in inner):
    return None
  if _is_split(content) or not _says_something([content]):
    return None
  ids = dict.fromkeys(key for x in inner for key in x)
  # Of several dicts of something else hardly any name is in all.
  shared = sum(all(key in x for x in inner) for key in ids)
  if 2 * shared < len(ids) or set(map(str, ids)) & {"id", "ids", "labels", "label"}:
    return None
  _check_size(len(ids), len(content))
  columns = {key: [x.get(i) for i in ids] for key, x in content.items()}
  return {"id": list(map(str, ids))} | columns


def _length(columns) -> int:
  """The number of samples that columns have an entry of; 0 where they differ."""
  sizes = {len(x) if _sized(x) else 0 for x in columns.values()}
  return sizes.pop() if len(sizes) == 1 else 0


def _are_columns(content, in_split: bool) -> bool:
  """Whether columns say what no other format of dicts reads."""
  if any(key in THEIRS or key.endswith(("_lengths", "_mask")) for key in content):
    return False
  roles = {rows.role(key): key for key in content}
  if "label" not in roles:
    return False
  if "split" in roles and not in_split:
    return True
  # Labels that are words, and features of other names than the three.
  words = rows.kind(content[roles["label"]]) == "text"
  return words or not values.by_name(content) and _has_arrays(content)


def _has_arrays(content) -> bool:
  return any(rows.kind(x) == "array" for x in content.values())
