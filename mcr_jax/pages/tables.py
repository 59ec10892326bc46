"""A table of a paper as values for the template: ours and the published numbers."""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcr_jax.errors import UserError

# Of a comparison: its numbers, in the order of the page's columns.
COMPARED = ("difference", "p_seeds", "p_seeds_holm", "p_samples", "low", "high")


@dataclasses.dataclass(frozen=True)
class Cell:
  """One number of ours with its published one.

  Attributes:
    ours: mean and deviation as text, or "".
    marks: of significance.
    published: as text, or "".
    difference: ours less published, as text, or "".
    best, published_best: whether it is the best of its column.
    words: seeds, or why there is none.
    sort: what the column sorts by.
  """

  ours: str
  marks: str
  published: str
  difference: str
  best: bool
  published_best: bool
  words: str
  sort: str


def sections(table: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
  """Title and rows of every section; a row is name, kind, note, status and cells.

  Raises:
    UserError: it is no table that this version knows.
  """
  try:
    return [
      {
        "title": section["title"],
        "rows": [_row(row, table["columns"]) for row in section["rows"]],
      }
      for section in table["sections"]
    ]
  except (KeyError, TypeError, AttributeError, ValueError) as error:
    raise UserError(
      f"{folder / 'table.json'} is no table that this version reads "
      f"({type(error).__name__}: {error})."
    ) from None


def comparisons(table: Mapping[str, Any]) -> list[dict[str, Any]]:
  """The best of every column against every other row, its numbers as text."""
  titles = {
    c["id"]: " ".join(filter(None, (c["group"], c["title"]))) for c in table["columns"]
  }
  decimals = {c["id"]: int(c["decimals"]) + 1 for c in table["columns"]}
  return [
    {
      "section": table["sections"][x["section"]]["title"],
      "column": titles.get(x["column"], x["column"]),
      "best": x["best"],
      "other": x["other"],
      "numbers": [
        _number(x.get(name), name, decimals.get(x["column"], 3)) for name in COMPARED
      ],
      "reason": x.get("reason", ""),
    }
    for x in table.get("comparisons", ())
  ]


def runs(table: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Where the numbers come from: a row a run."""
  return [
    {
      "key": key,
      "config": x.get("config", ""),
      "overrides": ", ".join(f"{k}={v}" for k, v in (x.get("overrides") or {}).items()),
      "corpus": x.get("corpus", ""),
      "status": x.get("status", ""),
      "seeds": ", ".join(map(str, x.get("seeds") or ())),
      "seconds": "" if x.get("seconds") is None else f"{x['seconds']:.1f}",
      "digest": (x.get("data_digest") or "")[:12],
      "commit": (x.get("commit") or "")[:12],
      "folder": x.get("folder", ""),
    }
    for key, x in table.get("runs", {}).items()
  ]


def _number(value: float | None, name: str, decimals: int) -> tuple[str, str]:
  """(text, what it sorts by) of a number of a comparison."""
  if value is None:
    return "n/a", ""
  if not name.startswith("p_"):
    return f"{value:+.{decimals}f}", repr(value)
  return "< 0.001" if value < 0.001 else f"{value:.3f}", repr(value)


def _row(row: Mapping[str, Any], columns: list) -> dict[str, Any]:
  cells = [_cell(row["cells"].get(column["id"]) or {}, column) for column in columns]
  return {
    "name": row["name"],
    "kind": row.get("kind", ""),
    "note": row.get("note", ""),
    "status": row.get("status", ""),
    "reason": row.get("reason", ""),
    "cells": cells,
  }


def _cell(cell: Mapping[str, Any], column: Mapping[str, Any]) -> Cell:
  decimals = int(column["decimals"])
  show = lambda x: "" if x is None or not math.isfinite(x) else f"{x:.{decimals}f}"
  mean, published = cell.get("mean"), cell.get("published")
  spread = show(cell.get("std"))
  difference = cell.get("difference")
  marks = "†" * bool(cell.get("dagger")) + "‡" * bool(cell.get("holm"))
  marks = marks if mean is not None else ""
  seeds = [show(x) for x in cell.get("seeds") or ()]
  value = mean if mean is not None else published
  return Cell(
    ours=show(mean) + (f" ± {spread}" if mean is not None and spread else ""),
    marks=marks,
    published=show(published) + "†" * bool(cell.get("published_dagger")),
    difference="" if difference is None else f"{difference:+.{decimals}f}",
    best=bool(cell.get("best")),
    published_best=bool(cell.get("published_best")),
    words=f"seeds {', '.join(seeds)}" if seeds else cell.get("reason", ""),
    sort="" if value is None else repr(float(value)),
  )
