"""From a table and data to jobs, and to the table that waits for its numbers."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcr_jax import config as configs
from mcr_jax import metrics, models
from mcr_jax.errors import UserError, choose
from mcr_jax.papers import inputs, published
from mcr_jax.papers.definition import Column, Row, Section, Source, Table
from mcr_jax.papers.jobs import Job, config_of, implemented

FORMAT = 1
RUNS = "runs"  # folder of all jobs
# Draws of the paired bootstrap, on real and on synthetic data.
RESAMPLES, QUICK_RESAMPLES = 2_000, 500
SYNTHETIC = (
  "SYNTHETIC DATA shaped like {}: no number here says anything about a corpus."
)


@dataclasses.dataclass(frozen=True)
class Request:
  """What a user asks for.

  Attributes:
    table: to reproduce.
    quick: on synthetic data.
    data: data set of the table -> path.
    overrides: `--config.group.field=value`, of every run.
    search: draws for every system; 0 keeps the settings as published.
    partial: whether to go on where some rows are impossible.
  """

  table: Table
  quick: bool = False
  data: Mapping[str, str] = dataclasses.field(default_factory=dict)
  overrides: tuple[str, ...] = ()
  search: int = 0
  partial: bool = False


@dataclasses.dataclass(frozen=True)
class Plan:
  """What is to do, and the table without its numbers.

  Attributes:
    document: as table.json has it, without numbers of ours.
    jobs: in an order in which each comes after what it needs.
  """

  document: dict[str, Any]
  jobs: tuple[Job, ...]

  def of_rows(self, names: Sequence[str]) -> tuple[Job, ...]:
    """The jobs that stand behind rows of these names, in whichever section.

    Raises:
      UserError: a name of no row, or of one for which nothing is trained or counted.
    """
    known: dict[str, set[str]] = {}
    for section in self.document["sections"]:
      for row in section["rows"]:
        if row["runs"]:
          known.setdefault(row["name"], set()).update(row["runs"].values())
    wanted = {key for name in names for key in known[choose(name, known, "--row")]}
    wanted |= {job.after for job in self.jobs if job.key in wanted}
    return tuple(job for job in self.jobs if job.key in wanted)


def make(request: Request, workdir: Path) -> Plan:
  """The plan of a request.

  Raises:
    UserError: data that the table does not use, or rows that are impossible and not
      allowed to be.
  """
  table = request.table
  for name in request.data:
    choose(name, table.data, f"--data: what {table.name} reads")
  if request.quick and request.data:
    raise UserError(
      f"{table.name}:quick runs on synthetic data: leave out --data, or :quick."
    )
  quick = request.quick or not request.data
  planner = _Planner(request, workdir, quick)
  sections = [planner.section(section) for section in table.sections]
  planner.check_possible()
  inputs.forget()
  synthetic = bool(quick and table.data)
  like = ", ".join(dict.fromkeys(name.partition("-")[0] for name in table.data))
  document = {
    "kind": "table",
    "format": FORMAT,
    "name": table.name,
    "title": table.title,
    "paper": table.paper,
    "source": table.source,
    "synthetic": SYNTHETIC.format(like) if synthetic else "",
    "notes": [*table.notes, *planner.notes],
    "figure": table.figure,
    "settings": {"overrides": list(request.overrides), "search": request.search},
    "resamples": QUICK_RESAMPLES if synthetic else RESAMPLES,
    "data": planner.data,
    "columns": [_column(column) for column in table.columns],
    "sections": sections,
    "runs": planner.runs,
  }
  return Plan(document, tuple(planner.jobs.values()))


class _Planner:
  """Goes through a table row by row; a config that two rows ask for is one job."""

  def __init__(self, request: Request, workdir: Path, quick: bool):
    self.request, self.workdir, self.quick = request, workdir, quick
    self.jobs, self.runs, self.data, self.notes = {}, {}, {}, []
    self.impossible: dict[str, str] = {}
    self._by_config: dict[str, str] = {}

  def section(self, section: Section) -> dict[str, Any]:
    """A section as the document has it."""
    return {
      "title": section.title,
      "rows": [self._row(section, row) for row in section.rows],
    }

  def check_possible(self) -> None:
    """Raises UserError where rows are impossible and must not be."""
    if self.impossible and (not self.request.partial or not self.jobs):
      rows = "; ".join(
        f"{', '.join(row for row, own in self.impossible.items() if own == why)}: {why}"
        for why in dict.fromkeys(self.impossible.values())
      )
      left = f"--partial does without; the others are {len(self.jobs)} runs"
      raise UserError(
        f"{self.request.table.name}: impossible rows: {len(self.impossible)} "
        f"({rows}). {left if self.jobs else 'No other row is left'}."
      )

  def _row(self, section: Section, row: Row) -> dict[str, Any]:
    table = self.request.table
    printed = published.rows(table.paper, table.source, section.published)
    values = printed.get(row.published or row.name, {})
    status, reason, own = "missing", "", {}
    if not row.sources:
      status, kind = "cited", "cited"
    elif not all(map(implemented, row.sources.values())):
      status = kind = "not implemented"
    else:
      kind = _kind(row)
      try:
        own = self._sources(section, row)
      except UserError as error:
        status, reason = "impossible", str(error).rstrip(".")
        title = f"{row.name} ({section.title})" if section.title else row.name
        self.impossible[title] = reason
    return {
      "name": row.name,
      "kind": kind,
      "note": row.note,
      "status": status,
      "reason": reason,
      "runs": own,
      "cells": {
        column.key: {
          "published": values.get(column.key),
          "published_best": _is_best(column, values, printed),
          "published_dagger": values.get(column.key) is not None
          and published.has_dagger(table.paper, table.source, row.name),
        }
        for column in table.columns
      },
    }

  def _sources(self, section: Section, row: Row) -> dict[str, str]:
    """Corpus -> key of the job; nothing is kept where one of them is impossible."""
    ready, keys = {}, {}
    for corpus, source in row.sources.items():
      columns = [c for c in self.request.table.columns if c.corpus == corpus]
      ready[corpus] = self._job(section, row, corpus, source, columns, keys)
      keys[corpus] = ready[corpus].key
    for job in ready.values():
      if job.key not in self.jobs:
        self.jobs[job.key] = job
        self.runs[job.key] = self._record(job)
        if job.config is not None:
          self._by_config[configs.to_json(job.config)] = job.key
    return keys

  def _job(self, section, row, corpus, source: Source, columns, keys) -> Job:
    key = self._key(section, row, corpus)
    if source.counted:
      return Job(key, source)
    path = self._path(source.data)
    if source.tests:
      return Job(key, source, None, path, keys[source.tests])
    after = keys.get(source.after, "")
    init_from = str((self.workdir / RUNS / after).absolute()) if after else ""
    config = config_of(
      source, path, self.request.overrides, quick=self.quick, init_from=init_from
    )
    spec, samples = inputs.check(config, columns)
    self._describe(source.data, config)
    same = self._by_config.get(configs.to_json(config))
    own = Job(key, source, config, path, after, spec, samples)
    return self.jobs[same] if same else own

  def _path(self, name: str) -> str:
    if self.quick:
      return f"synthetic:{name.partition('-')[0]}"
    if name not in self.request.data:
      raise UserError(f"--data {name}=FILE is not given")
    return str(Path(self.request.data[name]).absolute())

  def _describe(self, name: str, config) -> None:
    """What the document says of a data set, and a note where it is not the paper's."""
    if name in self.data:
      return
    self.data[name] = found = {"path": config.data.path, **inputs.facts(config)}
    known = published.paper(self.request.table.paper)["samples"]
    right = known.get(name.partition("-")[0])
    sizes = [*found["samples"].values()]
    if right and not self.quick and sizes != right:
      show = lambda numbers: "/".join(map(str, numbers))
      self.notes.append(
        f"{name} has {show(sizes)} samples, the paper's {show(right)}: published "
        "numbers are of another split."
      )

  def _key(self, section, row, corpus) -> str:
    parts = [section.published, row.name, corpus if len(row.sources) > 1 else ""]
    key = "-".join(filter(None, map(slug, parts)))
    taken = [
      name for name in self.jobs if re.fullmatch(rf"{re.escape(key)}(-\d+)?", name)
    ]
    return f"{key}-{len(taken) + 1}" if taken else key

  def _record(self, job: Job) -> dict[str, Any]:
    overrides = dict(job.source.overrides)
    return {
      "folder": f"{RUNS}/{job.key}",
      "config": job.source.config or job.source.counted,
      "sweep": job.source.sweep,
      "overrides": overrides,
      "corpus": job.source.data,
      "after": job.after,
      "trained": job.config is not None,
    }


def slug(text: str) -> str:
  """A name as a part of a folder's."""
  return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("->", " to ")).strip("-")


def _kind(row: Row) -> str:
  names = [source.model for source in row.sources.values() if source.model]
  return models.load(names[-1]).card.kind if names else "exact"


def _column(column: Column) -> dict[str, Any]:
  better, definition = column.better, column.definition
  if not better:
    found = metrics.find(column.metric)
    better, definition = found.direction, definition or found.definition
  return {
    "id": column.key,
    "metric": column.metric,
    "title": column.title,
    "group": column.group,
    "corpus": column.corpus,
    "better": better,
    "decimals": column.decimals,
    "scale": column.scale,
    "definition": definition,
  }


def _is_best(column: Column, values: Mapping, printed: published.Rows) -> bool:
  """Whether a published number is the best of its section."""
  own = values.get(column.key)
  known = [row.get(column.key) for row in printed.values()]
  known = [value for value in known if value is not None]
  if own is None or not known:
    return False
  higher = _column(column)["better"] == "higher"
  return own == (max if higher else min)(known)
