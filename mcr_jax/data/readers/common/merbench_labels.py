"""The labels of MERBench's utterances: a dict each, or one value.

Emotions come before valence. What is the same throughout tells nothing, and what else
there is of numbers is a choice.
"""

from collections.abc import Sequence

import numpy as np

from mcr_jax.data import words
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.unlabelled import NO_CLASS
from mcr_jax.data.words import Labels
from mcr_jax.errors import UserError

KEYS = ("emo", "val")
MOST_KEYS = 50


def read(
  rows: Sequence, names: Sequence[str], source: str, ledger: Ledger
) -> tuple[Labels, dict[str, np.ndarray]]:
  """The labels, and the other kinds of labels by name.

  Args:
    rows: of the utterances, each {"emo": class, "val": number, ...}, or one value.
    names: of the utterances, for messages.
    source: for messages.
    ledger: is told what became of every key.
  """
  rows = [x if isinstance(x, dict) else {"emo": x} for x in rows]
  keys = dict.fromkeys(str(key) for row in rows for key in row)
  if len(keys) > MOST_KEYS:
    raise UserError(f"{source}: its utterances have {len(keys)} kinds of labels.")
  found = {}
  for key in sorted(
    keys, key=lambda x: (x not in KEYS, KEYS.index(x) if x in KEYS else 0)
  ):
    cells = [_plain(row.get(key)) for row in rows]
    ledger.hold(key, sum(x is not None for x in cells), "labels")
    why = _why_not(cells)
    if why:
      ledger.leave(key, why)
    else:
      found[key] = _parsed(key, cells, names, source)
  main = next((key for key in KEYS if key in found), None)
  if main is None:
    return Labels(None), {}
  ledger.use(main, "labels")
  extras = {}
  for key, own in found.items():
    if key != main and own.values is not None:
      ledger.use(key, f"a choice for data.label, label_{key}")
      extras[f"label_{key}"] = own.values
      extras |= {f"label_{key}_names": np.array(own.names)} if own.names else {}
  return found[main], extras


def _plain(cell):
  return cell.item() if isinstance(cell, np.generic) else cell


def _why_not(cells) -> str:
  """Why a kind of labels is of no use, "" where it is."""
  known = [x for x in cells if x is not None]
  strange = next((x for x in known if not isinstance(x, str | int | float)), None)
  if strange is not None:
    return f"it holds a {type(strange).__name__}, and labels are numbers or words"
  if len(set(known)) < 2:
    return f"it is {str(known[0])[:60] if known else 'nothing'} throughout"
  return ""


def _parsed(key, cells, names, source) -> Labels:
  place = lambda i: f"utterance {names[i][:60]!r}"
  texts = [isinstance(x, str) for x in cells]
  if any(texts):
    wrong = next(
      (i for i, x in enumerate(cells) if not texts[i] and x is not None), None
    )
    if wrong is not None:
      raise UserError(
        f"{source}: {key!r} is text of some utterances, but {cells[wrong]!r} of "
        f"{place(wrong)}."
      )
    return words.labels([x or "" for x in cells], place, f"{source}: {key!r}")
  missing = [x is None or x != x for x in cells]
  absent = tuple(f"{place(i)} {cells[i]!r}" for i, x in enumerate(missing) if x)
  known = [x for x, gone in zip(cells, missing, strict=True) if not gone]
  if key != "val" and all(abs(x) < 1 << 60 and float(x).is_integer() for x in known):
    whole = [NO_CLASS if m else int(x) for m, x in zip(missing, cells, strict=True)]
    return Labels(np.array(whole, np.int64), (), absent)
  if key == "emo":
    broken = lambda i: not (missing[i] or float(cells[i]).is_integer())
    first = next(filter(broken, range(len(cells))), 0)
    raise UserError(
      f"{source}: 'emo' of {place(first)} is {cells[first]!r}; classes are whole "
      "numbers."
    )
  with np.errstate(over="ignore"):  # what overflows is not finite, and told later
    floats = [np.nan if m else float(x) for m, x in zip(missing, cells, strict=True)]
    return Labels(np.array(floats).astype(np.float32), (), absent)
