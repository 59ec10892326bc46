"""Which runs differ by more than chance: every pair of them, in one metric."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax import compare, metrics
from mcr_jax.errors import UserError
from mcr_jax.evaluators import Evaluation

RESAMPLES = 2000
MOST = 8


@dataclasses.dataclass(frozen=True)
class Cell:
  """The run of a row against that of a column.

  Attributes:
    text: the difference, row minus column.
    verdict: `better`, `worse` or "" by the bootstrap, corrected for all pairs.
    words: both tests, in a sentence.
  """

  text: str
  verdict: str = ""
  words: str = ""


def matrix(
  runs: Mapping[str, Evaluation], metric: str
) -> tuple[list[str], list[list[Cell]]]:
  """(labels, a row of cells a run), of at most `MOST` runs.

  Args:
    runs: label -> evaluation.
    metric: that all have.
  """
  labels = list(runs)[:MOST]
  pairs = [(i, j) for i in range(len(labels)) for j in range(i)]
  found, reasons = {}, {}
  for i, j in pairs:
    try:
      first, second = runs[labels[i]], runs[labels[j]]
      (found[i, j],) = compare.compare(first, second, [metric], resamples=RESAMPLES)
    except UserError as error:
      reasons[i, j] = str(error)
  corrected = dict(
    zip(found, holm([x.bootstrap.p for x in found.values()]), strict=True)
  )
  cells = [[Cell("") for _ in labels] for _ in labels]
  for i, j in pairs:
    if (i, j) in reasons:
      cells[i][j] = cells[j][i] = Cell("n/a", words=reasons[i, j])
      continue
    for row, column, sign in ((i, j, 1), (j, i, -1)):
      cells[row][column] = _cell(found[i, j], corrected[i, j], sign, metric)
  return labels, cells


def holm(p: Sequence[float]) -> list[float]:
  """p corrected by Holm's method for as many tests; NaN counts as none."""
  p = np.asarray(p, float)
  corrected = np.full(len(p), np.nan)
  order = [i for i in np.argsort(p) if not np.isnan(p[i])]
  highest = 0.0
  for done, i in enumerate(order):
    highest = max(highest, min(1.0, (len(order) - done) * p[i]))
    corrected[i] = highest
  return corrected.tolist()


def _cell(row: compare.Row, corrected: float, sign: int, metric: str) -> Cell:
  difference = sign * (row.first - row.second)
  if np.isnan(difference):
    return Cell("n/a", words="undefined for one of the two")
  verdict = ""
  if corrected < compare.LEVEL and difference != 0:
    verdict = (
      "better" if (difference > 0) == metrics.higher_is_better(metric) else "worse"
    )
  seeds = f"p = {row.p:.2g}" if not np.isnan(row.p) else f"no test ({row.reason})"
  words = (
    f"over samples p = {row.bootstrap.p:.2g}, corrected {corrected:.2g}; over seeds "
    f"{seeds}"
  )
  return Cell(f"{difference:+.4f}", verdict, words)
