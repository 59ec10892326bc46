"""From folders to the text of one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mcr_jax
from mcr_jax import metrics
from mcr_jax.errors import UserError
from mcr_jax.evaluators import render as numbers
from mcr_jax.figures.samples import Choice
from mcr_jax.figures.sources import Source, sources, table_of
from mcr_jax.pages import assets, charts, run, significance, tables
from mcr_jax.runs import writer

# Charts of all runs together; of what goes beyond, the maps are left out.
MOST_BYTES = 3 << 20
MOST_CURVES = 12


def page(folders: Sequence[str | Path], choice: Choice) -> str:
  """The HTML of a report.

  Args:
    folders: of runs, of folds, of sweeps, or of tables.
    choice: of split, sample and seed.

  Raises:
    UserError: a folder is not there, holds nothing to show, or is damaged.
  """
  paths = [Path(folder) for folder in folders]
  papers, single = [], []
  for path in paths:
    if path.is_dir() and (found := table_of(path)) is not None:
      papers.append(_table(path, found))
    else:
      single += sources([path])
  runs = _runs(sources([x.folder for x in single]) if single else [], choice)
  if not papers and not any(r.evaluation or r.charts for r in runs):
    why = " ".join(note for r in runs for note in r.notes)
    raise UserError(f"There is nothing to show yet: {why}")
  several = _several(runs, choice) if len(runs) > 1 else None
  blocks = _embedded(papers, runs, several)
  scripts = [assets.sort_script(), assets.charts_script()]
  return assets.render(
    "page.html",
    title=_title(papers, runs),
    version=mcr_jax.__version__,
    split=choice.split,
    papers=papers,
    runs=runs,
    several=several,
    blocks=blocks,
    definitions=_definitions(papers, runs),
    style=(assets.HERE / "templates" / "style.css").read_text("utf-8"),
    licence=(assets.HERE / "vendor" / "vega.LICENSE").read_text("utf-8"),
    sort_script=scripts[0],
    charts_script=scripts[1],
    policy=assets.policy(scripts),
  )


def _title(papers: Sequence[dict], runs: Sequence[run.Page]) -> str:
  names = [f"{p['paper']}, {p['source']}" for p in papers] + [r.label for r in runs]
  return f"{', '.join(names[:3])}{', …' if len(names) > 3 else ''}"


def _table(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
  """A table with what the template asks for."""
  parts = tables.sections(found, folder)
  shown = {
    name: found.get(name, "")
    for name in ("name", "title", "paper", "source", "synthetic", "figure", "command")
  }
  data = [
    (name, f"{x.get('path', '')}, digest {x.get('digest', '')[:12]}")
    for name, x in (found.get("data") or {}).items()
  ]
  try:
    each = sources([folder])
  except UserError:
    each = []
  return shown | {
    "folder": str(folder),
    "notes": found.get("notes", ()),
    "columns": found["columns"],
    "sections": parts,
    "comparisons": tables.comparisons(found),
    "runs": tables.runs(found),
    "data": data,
    "curves": _curves(each[:MOST_CURVES]),
  }


def _curves(each: Sequence[Source]) -> run.Chart | None:
  """The loss of several runs by epoch."""
  rows = {
    x.label: writer.read(path)
    for x in each
    if (path := x.folder / "metrics.jsonl").is_file()
  }
  rows = {k: v for k, v in rows.items() if any("valid/loss" in row for row in v)}
  if not rows:
    return None
  spec = charts.history(rows, "loss", ["loss"])
  return run.Chart("Loss by epoch", "Every seed of every run; train and valid.", spec)


def _runs(found: Sequence[Source], choice: Choice) -> list[run.Page]:
  pages, size = [], 0
  for source in found:
    one = run.page(source, choice, attention=size < MOST_BYTES)
    for chart in list(one.charts):
      size += len(assets.json_for_page(chart.spec))
      if size > MOST_BYTES and chart.title == "Attention":
        one.charts.remove(chart)
        one.notes.append(
          f"The attention is left out, to keep the page small: report {source.folder}."
        )
    pages.append(one)
  return pages


def _several(runs: Sequence[run.Page], choice: Choice) -> dict[str, Any] | None:
  """Runs beside one another: their scores, their curves, what is more than chance."""
  having = [r for r in runs if r.evaluation]
  names = run.names_in_common(having)
  if len(having) < 2 or not names:
    return None
  scheme = having[0].evaluation.results.scheme
  headline = metrics.scheme_of(scheme).headline
  metric = choice.metric or (headline if headline in names else names[0])
  if metric not in names:
    raise UserError(f"metric={metric!r} must be one of {', '.join(names)}.")
  rows = []
  for r in having:
    scores = [r.evaluation.results.metrics[name] for name in names]
    cells = [
      numbers.number(x.mean)
      + (f" ± {numbers.number(x.std)}" if len(x.seeds) > 1 else "")
      for x in scores
    ]
    rows.append((r.label, list(zip(cells, [x.mean for x in scores], strict=True))))
  labels, cells = significance.matrix({r.label: r.evaluation for r in having}, metric)
  return {
    "names": names,
    "rows": rows,
    "metric": metric,
    "better": numbers.better(metric),
    "labels": labels,
    "cells": list(zip(labels, cells, strict=True)),
    "left_out": len(having) - len(labels),
  }


def _embedded(papers, runs, several) -> list[tuple[str, str]]:
  """(id, JSON) of every chart; each gets its id."""
  blocks = []
  of_papers = [p["curves"] for p in papers if p["curves"]]
  for chart in [*of_papers, *(c for r in runs for c in r.charts)]:
    chart.id = f"chart{len(blocks)}"
    blocks.append((chart.id, assets.json_for_page(chart.spec)))
  return blocks


def _definitions(papers, runs) -> list[tuple[str, str]]:
  """Metric and what it is, once each."""
  found = {
    " ".join(filter(None, (c["group"], c["title"]))): c["definition"]
    for p in papers
    for c in p["columns"]
  }
  for r in runs:
    if r.evaluation:
      for name in r.evaluation.results.metrics:
        own = metrics.find(name)
        found[own.name] = own.definition
  return list(found.items())
