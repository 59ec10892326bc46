"""The labels among the columns of rows: words, numbers, or several a sample."""

from collections.abc import Callable

import numpy as np

from mcr_jax.data import words
from mcr_jax.data.readers.common import label_arrays, rows, values
from mcr_jax.data.readers.common.rows import Reading


def of(
  made: Reading, left: dict[str, str], one: Callable[[list], list]
) -> tuple[np.ndarray | None, tuple[str, ...], dict[str, np.ndarray]]:
  """The likeliest column of labels, names of classes, and other labels as choices.

  Args:
    made: is told what became of them.
    left: columns that are not used yet -> their kinds; those of labels are taken out.
    one: makes of a column an entry a sample.
  """
  found = {x: kind for x, kind in left.items() if rows.role(x) == "label"}
  main = rows.first(found, rows.LABELS)
  result, names, extras = None, (), {}
  for key in found:
    kind = left.pop(key)
    array, own = _label(made, key, kind, one(made.rows.column(key)))
    if array is None:
      made.ledger.leave(key, "it holds no labels that are numbers or words")
    elif key == main:
      result, names = array, own
      made.ledger.use(key, "labels")
    else:
      title = key if key.startswith("label") else f"label_{key}"
      extras[title] = array
      extras |= {f"{title}_names": np.array(own)} if own else {}
      made.ledger.use(key, f"a choice for data.label, {title}")
  if main and extras:
    made.notes.append(f"The label is its column {main!r}; data.label chooses another.")
  return result, names, extras


def _label(made: Reading, key, kind, column):
  what = f"{made.source}: {key!r}"
  if kind == "text":
    cells = [rows.text(x) for x in column]
    read = words.labels(cells, made.rows.where, what, made.decimal)
    for entry in read.entries(key):
      made.ledger.part(key, entry.count, entry.why, entry.unit, entry.items)
    return read.values, read.names
  if kind == "number":
    array = np.array([np.nan if rows.is_nothing(x) else x for x in column])
    return array, ()
  if kind == "array" and not any(map(rows.is_nothing, column)):
    return label_arrays.reshaped(values.numbers(list(column), what), made.source)
  return None, ()
