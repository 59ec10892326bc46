"""The features among the columns of rows: arrays, and numbers by their names."""

import dataclasses
import re

import numpy as np

from mcr_jax.data import memory, words
from mcr_jax.data.readers.common import feature_groups, rows, sequences, values
from mcr_jax.data.readers.common.rows import Part, Reading
from mcr_jax.data.readers.common.steps_of_rows import Steps
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError

NUMBERS = re.compile(f"({words.NUMBER.pattern})|{words.COMMA.pattern}|", words.FLAGS)
ALONE = "it is one number a sample, of no group of columns; data.fold_by may name it"


def of(made: Reading, left: dict[str, str], steps: Steps | None) -> dict[str, Modality]:
  """Arrays are a modality each; columns of numbers are grouped by their names.

  Args:
    made: is told what became of them.
    left: columns that are not used yet -> their kinds; those of features are taken out.
    steps: how rows become steps of samples; None of a row a sample.
  """
  found = {}
  arrays = [x for x in left if left[x] == "array"]
  said = [rows.modality(key) for key in arrays]
  for key, own in zip(arrays, said, strict=True):
    # Of several for one modality each is one of its own.
    name = own if own and said.count(own) == 1 else key
    blocks = [_block(part, key, made.source) for part in made.rows.parts]
    if steps is not None:
      raise UserError(
        f"{made.source}: {key!r} has an array in every row, and rows are steps of "
        "samples of the same id; right is one row a sample, or one number a column."
      )
    found[name], note = sequences.from_blocks(name, blocks, ledger=made.ledger)
    made.notes.append(note if name == key else f"{note[:-1]}; {key!r} in the file.")
    made.ledger.use(key, f"the modality {name}")
    del left[key]
  found |= _grouped(made, left, steps, bool(found))
  if not found:
    _refuse_featureless(made)
  order = (*(x for x in values.MODALITIES if x in found), *found)
  return {name: found[name] for name in dict.fromkeys(order)}


def _refuse_featureless(made: Reading):
  held = ", ".join(repr(x)[:40] for x in made.rows.keys[:8])
  raise UserError(
    f"{made.source} has {made.rows.count:,} samples with {held}, and no features: "
    "no column is of arrays, or of numbers whose name says a modality. A model reads "
    "vectors: (T, D) or (D,) of every sample, columns such as audio_0, audio_1, ... or "
    "audio_pitch, audio_energy, or in a table a column of names of .npy files."
  )


def _block(part: Part, key, source):
  """One part of a modality for `sequences.from_blocks`."""
  column = part.columns.get(key)
  if column is None or all(map(rows.is_nothing, column)):
    return part.count
  if not isinstance(column, np.ndarray) or column.dtype.kind == "O":
    empty = np.zeros(0, np.float32)
    column = [empty if rows.is_nothing(x) else x for x in column]
  return sequences.block(column, f"{source}: {key}")


def _grouped(made: Reading, left, steps, having: bool) -> dict[str, Modality]:
  numbers = {}
  for key in [x for x in left if left[x] in ("number", "text") and not rows.role(x)]:
    array = _numbers(made, key, made.rows.column(key))
    if array is None:
      continue
    left[key] = "number"
    if rows.plain(key) in feature_groups.ABOUT or _is_nameless(key):
      made.ledger.leave(key, "it numbers the rows, or says how well they were found")
      del left[key]
    else:
      numbers[key] = array
  groups = feature_groups.of(numbers)
  if having:
    groups.pop(feature_groups.REST, None)
  found = {}
  for name, keys in groups.items():
    memory.take(12 * len(keys) * made.rows.count, f"{made.source}: {name}")
    with np.errstate(over="ignore"):  # what overflows is not finite, and told later
      table = np.stack([numbers[x] for x in keys], 1).astype(np.float32)
    modality = Modality.from_vectors(table) if steps is None else steps.modality(table)
    found[name] = dataclasses.replace(modality, names=tuple(x.strip() for x in keys))
    first, *_, last = keys * 2
    title = f"{first} to {last}" if len(keys) > 1 else first
    made.ledger.gather(keys, title, f"the modality {name}", "columns")
    for key in keys:
      del left[key]
  return found


def _is_nameless(key) -> bool:
  """Whether nobody named a column: pandas and R write the numbers of rows so."""
  return not key.strip() or key.lower().startswith("unnamed")


def _numbers(made: Reading, key, column) -> np.ndarray | None:
  """(N,) of a column, NaN where there is none; None of words.

  Raises:
    UserError: most entries are numbers, also with a decimal comma, thousands set apart
      or a percent sign, and some are not as numbers are read.
  """
  cells = ["" if rows.is_nothing(x) else x for x in column]
  nothing = lambda x: isinstance(x, str) and x.strip().lower() in words.NOTHING
  empty = [nothing(x) for x in cells]
  plain = [np.nan if e else x for x, e in zip(cells, empty, strict=True)]
  texts = [str(x).strip() for x in cells]
  points = made.decimal == "." or not any("." in x for x in cells if isinstance(x, str))
  try:
    if made.decimal == ",":
      plain = [x.replace(",", ".") if isinstance(x, str) else x for x in plain]
    if points:
      return np.array(plain).astype(np.float64)
  except ValueError:
    pass
  comma = [bool(words.COMMA.fullmatch(x)) for x in texts]
  number = [bool(words.NUMBER.fullmatch(x)) for x in texts]
  dressed = [_is_dressed(x) for x in texts]
  likely = [any(x) for x in zip(comma, number, dressed, strict=True)]
  if 2 * sum(likely) < len(texts):
    return None
  if made.decimal == ",":
    number = [
      c or n and "." not in x for x, c, n in zip(texts, comma, number, strict=True)
    ]
  wrong = [i for i in range(len(texts)) if not (number[i] or empty[i])]
  shown = ", ".join(f"{made.rows.where(i)} {texts[i][:40]!r}" for i in wrong[:5])
  plainly = any(d and not c for d, c in zip(dressed, comma, strict=True))
  hint = words.DECIMAL * (made.decimal == "." and any(comma) and not plainly)
  hint = hint or " Write 1234.5 for 1,234.5 and 0.5 or 50 for 50%." * plainly
  raise UserError(
    f"{made.source}: {len(wrong):,} of {len(texts):,} entries of {key!r} are no "
    f"numbers: {shown}{', ...' * (len(wrong) > 5)}.{hint}"
  )


def _is_dressed(text: str) -> bool:
  """Whether a number is written for people: `1,234.5`, `1 234`, `50%`."""
  return bool(words.THOUSANDS.fullmatch(text) or words.PERCENT.fullmatch(text))
