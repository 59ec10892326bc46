"""The one table of a sweep: text, table.json and table.csv."""

import csv
import dataclasses
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax import config as configs
from mcr_jax import evaluators, metrics
from mcr_jax.data.schema import SPLITS
from mcr_jax.errors import UserError
from mcr_jax.evaluators import MetricResult, render
from mcr_jax.runs import writer
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.sweeps.points import Point
from mcr_jax.sweeps.together import DIVERGED, read_json


@dataclasses.dataclass(frozen=True)
class Row:
  """What a point came to.

  Attributes:
    point: with its name and overrides.
    value: of the monitored metric on the validation split at each seed's best epoch,
      mean over seeds; NaN where it diverged.
    epochs: the best epoch of every seed.
    scores: split -> metric -> its results.
    diverged: why it has no scores, or "".
  """

  point: Point
  value: float
  epochs: tuple[int, ...]
  scores: dict[str, Mapping[str, MetricResult]]
  diverged: str = ""


def read(point: Point, workdir: Path, splits: Sequence[str] = ()) -> Row:
  """The row of a finished or diverged point.

  Args:
    point: trained in `workdir`.
    workdir: of the sweep.
    splits: those to show; all that its config evaluates where not given.
  """
  folder = workdir / point.name
  if (folder / DIVERGED).is_file():
    message = read_json(folder / DIVERGED, dict).get(
      "message", "no reason is on record"
    )
    return Row(point, math.nan, (), {}, str(message))
  epochs, values = _best(folder, f"valid/{point.config.train.monitor}")
  scores = {
    split: evaluators.read(folder, split).results.metrics
    for split in splits or point.config.evals.splits
  }
  return Row(point, float(np.mean(np.array(values, float))), epochs, scores)


def _best(folder: Path, name: str) -> tuple[tuple[int, ...], list[float]]:
  """The best epoch of every seed by the checkpoint, and what is on record of it."""
  path = folder / "metrics.jsonl"
  entries, kept = writer.read(path), Checkpoints(folder).restore_best()
  writer.check_epochs(entries, len(entries), path)
  try:
    epochs = tuple(kept.meta["epochs"])
    if tuple(entries[-1]["best/epoch"]) == epochs:
      return epochs, [entries[epoch - 1][name][i] for i, epoch in enumerate(epochs)]
  except (LookupError, TypeError, AttributeError):
    pass
  raise UserError(
    f"{path} does not belong to the checkpoints beside it; records of it "
    "were lost or changed."
  )


def best(rows: Sequence[Row]) -> Row | None:
  """The row with the best monitored value on the validation split."""
  monitor = rows[0].point.config.train.monitor  # of all: see `points.points`
  defined = [row for row in rows if not math.isnan(row.value)]
  if not defined:
    return None
  sign = -1 if metrics.higher_is_better(monitor) else 1
  return min(defined, key=lambda row: sign * row.value)


def text(rows: Sequence[Row], chosen: Row | None) -> str:
  """One block a split: a line a point, a column a metric, * at the best point."""
  monitor = rows[0].point.config.train.monitor
  parts = []
  for split in SPLITS:
    shown = [row for row in rows if split in row.scores or row.diverged]
    names = _metrics(rows, split)
    # Without a column of its own, what decides would not be seen.
    value = [monitor] * (split == "valid" and monitor not in names)
    if not names:
      continue
    lines = [["", *value, *names]]
    for row in shown:
      cells = [("* " if row is chosen else "  ") + row.point.name]
      cells += [render.number(row.value)] * len(value)
      cells += [_pair(row.scores.get(split, {}).get(name)) for name in names]
      lines.append(cells)
    parts.append(f"{split}\n{render.columns(lines)}")
  notes = [f"{row.point.name}: {row.diverged}." for row in rows if row.diverged]
  notes.append(
    f"*: best by {monitor} on the validation split ({render.better(monitor)} is "
    "better), mean over seeds; each seed's epoch was chosen there too."
  )
  notes.append("Mean +- deviation over seeds, dividing by their number minus 1.")
  return "\n\n".join([*parts, "\n".join(notes)])


def write(
  rows: Sequence[Row], chosen: Row | None, workdir: Path, facts: dict[str, Any]
) -> None:
  """table.json and table.csv of a sweep.

  Args:
    rows: in order.
    chosen: of them, the best by validation.
    workdir: of the sweep.
    facts: further entries of the JSON.
  """
  files = writer.Writer(workdir)
  listed = [
    {
      "name": row.point.name,
      "best": row is chosen,
      "overrides": configs.plain(row.point.overrides),
      "seeds": list(row.point.config.seeds),
      "epochs": list(row.epochs),
      "value": row.value,
      "diverged": row.diverged,
      "scores": row.scores,
    }
    for row in rows
  ]
  monitor = rows[0].point.config.train.monitor
  name = chosen.point.name if chosen else None
  document = {"monitor": monitor, "best": name, "points": listed}
  files.write_json("table.json", facts | document)
  table = io.StringIO(newline="")
  csv.writer(table, lineterminator="\n").writerows(_csv_rows(rows, chosen))
  files.write_text("table.csv", table.getvalue())


def _csv_rows(rows: Sequence[Row], chosen: Row | None) -> list[list[Any]]:
  """A line a point: its overrides, then mean and deviation of every metric."""
  paths = list(dict.fromkeys(path for row in rows for path in row.point.overrides))
  known = [(s, name) for s in SPLITS for name in _metrics(rows, s, every=True)]
  head = ["point", "best", "seeds", "diverged", *paths, "chosen_by"]
  for split, name in known:
    head += [f"{split}/{name}", f"{split}/{name} std"]
  lines = [head]
  for row in rows:
    line = [row.point.name, int(row is chosen), len(row.point.config.seeds)]
    line += [row.diverged, *(row.point.overrides.get(path, "") for path in paths)]
    line.append(_exact(row.value))
    for split, name in known:
      score = row.scores.get(split, {}).get(name)
      line += [_exact(score.mean), _exact(score.std)] if score else ["", ""]
    lines.append(line)
  return lines


def _metrics(rows: Sequence[Row], split: str, *, every: bool = False) -> list[str]:
  """Those of all rows; without `every`, none of a single class or for comparison."""
  names = dict.fromkeys(name for row in rows for name in row.scores.get(split, {}))
  return [name for name in names if every or metrics.find(name).shown]


def _pair(score: MetricResult | None) -> str:
  if score is None or math.isnan(score.mean):
    return "n/a"
  spread = "" if math.isnan(score.std) else f" +- {score.std:.3f}"
  return render.number(score.mean) + spread


def _exact(value: float) -> str:
  return "" if math.isnan(value) else repr(value)
