"""Tables whose rows are the steps of samples: the same id again, and a time."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax.data.readers.common import rows, values
from mcr_jax.data.readers.common.rows import Rows
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Steps:
  """How rows become the steps of samples.

  Attributes:
    order: (rows,) the rows of the first sample, then those of the second, and so on.
    offsets: (N + 1,) where each sample begins.
    time: the column in whose order the steps of a sample are.
    how: a sentence on it.
  """

  order: np.ndarray
  offsets: np.ndarray
  time: str
  how: str

  def one_each(self, column: Sequence, source: str) -> list:
    """The entry of every sample, which all of its rows must have."""
    found = []
    for start, end in zip(self.offsets[:-1], self.offsets[1:], strict=True):
      own = [column[i] for i in self.order[start:end]]
      if any(x != own[0] for x in own if not rows.is_nothing(x)):
        raise UserError(
          f"{source}: the rows of one sample differ: {str(own[0])[:40]!r} and "
          f"{str(next(x for x in own if x != own[0]))[:40]!r}; a label, a split and a "
          "speaker are those of all of its steps."
        )
      found.append(own[0])
    return found

  def modality(self, table: np.ndarray) -> Modality:
    """Features (rows, D) as sequences."""
    found = table[self.order]
    return Modality(found, self.offsets, np.ones(len(found), bool))


def of(
  found: Rows, key: str, left: Mapping[str, str], source: str
) -> tuple[np.ndarray, Steps | None]:
  """The ids of the samples, and how rows are steps of them; None of a row a sample.

  Args:
    found: the rows.
    key: of the column of ids; "" where there is none.
    left: the other columns and their kinds.
    source: for messages.
  """
  time = rows.first([x for x in left if rows.role(x) == "time"], rows.TIMES)
  labelled = any(rows.role(x) in ("label", "split") for x in left)
  if not key and not (time and not labelled and found.count > 1):
    ids = [
      f"{part.place or 'sample'}{i}" for part in found.parts for i in range(part.count)
    ]
    return values.strings(ids, f"{source}: ids"), None
  if not key:
    name = source.replace("\\", "/").rpartition("/")[2].rpartition(".")[0]
    ids = [name or "clip0"] * found.count
  else:
    ids = [_name(x, key, i, found, source) for i, x in enumerate(found.column(key))]
  names = list(dict.fromkeys(ids))
  if len(names) == len(ids) or not time:
    return values.strings(ids, f"{source}: {key!r}"), None
  number = {name: i for i, name in enumerate(names)}
  sample = np.array([number[x] for x in ids])
  times = np.array([_seconds(x) for x in found.column(time)])
  order = np.lexsort((times, sample))
  counts = np.bincount(sample, minlength=len(names))
  offsets = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])
  how = f"Its rows are steps, those of one id in the order of {time!r}."
  if not key:
    how = f"It is one clip, named {names[0]!r}, whose rows are steps by {time!r}."
  return values.strings(names, f"{source}: {key!r}"), Steps(order, offsets, time, how)


def _name(entry, key, i, found, source) -> str:
  if rows.is_nothing(entry) or entry == "":
    raise UserError(f"{source}: {found.where(i)} has no {key!r}.")
  text = values.name(entry)
  # openSMILE puts its strings into quotes, which are none of the name.
  return text.strip().strip("'\"") or text


def _seconds(entry) -> float:
  try:
    return float(entry)
  except (TypeError, ValueError):
    return np.nan
