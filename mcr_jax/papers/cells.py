"""The numbers of a table: scores of what is trained, and which differences are real."""

import copy
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcr_jax import compare, files
from mcr_jax.evaluators import paired
from mcr_jax.papers import results
from mcr_jax.papers.results import Result


def fill(document: Mapping[str, Any], workdir: Path) -> dict[str, Any]:
  """The document of a plan with everything that its runs have come to.

  Scores are computed from the saved predictions. In every section and column the best
  of ours is compared with each other of ours, never with a published mean.

  Raises:
    UserError: files of a run are damaged.
  """
  document = copy.deepcopy(dict(document))
  runs, found = document["runs"], {}
  for key, run in runs.items():
    found[key] = results.read(workdir, run, runs.get(run["after"]))
  for key, result in found.items():
    runs[key] |= result.record | {"status": result.status}
  document["comparisons"] = []
  for number, section in enumerate(document["sections"]):
    for row in section["rows"]:
      _fill_row(row, document["columns"], found, bool(document["synthetic"]))
    for column in document["columns"]:
      _mark_best(section["rows"], column)
    compared = _compare(section["rows"], document, found)
    document["comparisons"] += [{"section": number, **entry} for entry in compared]
  return files.finite(files.plain(document))


def _fill_row(
  row: dict, columns: Sequence[dict], found: Mapping[str, Result], synthetic: bool
) -> None:
  own = {corpus: found[key] for corpus, key in row["runs"].items()}
  if own:
    states = [result.status for result in own.values()]
    row["status"] = next((s for s in ("diverged", "missing") if s in states), "done")
    row["reason"] = next((r.reason for r in own.values() if r.reason), "")
  for column in columns:
    cell = row["cells"][column["id"]]
    cell |= {"mean": None, "std": None, "seeds": [], "difference": None}
    cell |= {"best": False, "dagger": False, "holm": False, "reason": row["reason"]}
    result = own.get(column["corpus"])
    if result is not None and result.status == "done":
      cell |= _score(column, result)
    comparable = cell["mean"] is not None and cell["published"] is not None
    if comparable and not synthetic:
      cell["difference"] = cell["mean"] - cell["published"]


def _score(column: dict, result: Result) -> dict[str, Any]:
  """Mean, deviation and seeds in the unit of the paper, or why there are none."""
  name, scale = column["metric"], column["scale"]
  if name in result.counts:
    value = scale * result.counts[name]
    return {"mean": value, "seeds": [value]}
  known = result.evaluation.results.metrics if result.evaluation else {}
  if name not in known:
    return {"reason": f"the labels of this run have no {name}"}
  score = known[name]
  if math.isnan(score.mean):
    return {"reason": score.reason}
  std = None if math.isnan(score.std) else scale * score.std
  return {
    "mean": scale * score.mean,
    "std": std,
    "seeds": [scale * value for value in score.seeds],
    "reason": "",
  }


def _mark_best(rows: Sequence[dict], column: dict) -> None:
  cells = [row["cells"][column["id"]] for row in rows]
  values = [cell["mean"] for cell in cells if cell["mean"] is not None]
  if not values:
    return
  best = max(values) if column["better"] == "higher" else min(values)
  for cell in cells:
    cell["best"] = cell["mean"] == best


def _compare(rows, document: Mapping, found: Mapping[str, Result]) -> list[dict]:
  """Both tests of the best row of every column against each other one."""
  columns, resamples = document["columns"], document["resamples"]
  drawn: dict[tuple[str, str], list[str]] = {}
  pairs = []
  for column in columns:
    ours = _comparable(rows, column, found)
    best = next((pair for pair in ours if pair[0]["cells"][column["id"]]["best"]), None)
    for row, key in ours:
      if best is not None and key != best[1]:
        pairs.append((column, *best, row, key))
        drawn.setdefault((best[1], key), []).append(column["metric"])
  tested = {
    (first, second, line.name): line
    for (first, second), names in drawn.items()
    for line in compare.compare(
      found[first].evaluation, found[second].evaluation, names, resamples=resamples
    )
  }
  entries = []
  for column in columns:
    own = [pair for pair in pairs if pair[0] is column]
    lines = [tested[first, second, column["metric"]] for _, _, first, _, second in own]
    corrected = paired.holm([line.p for line in lines])
    for (_, best, _, other, _), line, p in zip(own, lines, corrected, strict=True):
      entries.append(_entry(column, best["name"], other["name"], line, p))
    if own:
      cell = own[0][1]["cells"][column["id"]]
      cell["dagger"] = all(line.p < compare.LEVEL for line in lines)
      cell["holm"] = all(p < compare.LEVEL for p in corrected)
  return entries


def _comparable(rows, column, found) -> list[tuple[dict, str]]:
  """The rows with predictions for a column, with their runs' keys; each run once."""
  kept: dict[str, dict] = {}
  for row in rows:
    key = row["runs"].get(column["corpus"], "")
    cell = row["cells"][column["id"]]
    if cell["mean"] is not None and found[key].evaluation is not None:
      kept.setdefault(key, row)
  return [(row, key) for key, row in kept.items()]


def _entry(column, best, other, line: compare.Row, corrected: float) -> dict[str, Any]:
  scale = column["scale"]
  return {
    "column": column["id"],
    "best": best,
    "other": other,
    "difference": scale * (line.first - line.second),
    "p_seeds": line.p,
    "p_seeds_holm": corrected,
    "reason": line.reason,
    "p_samples": line.bootstrap.p,
    "low": scale * line.bootstrap.low,
    "high": scale * line.bootstrap.high,
  }
