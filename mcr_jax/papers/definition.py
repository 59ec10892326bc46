"""A table as data: columns are metrics, rows say what is trained."""

import dataclasses
from collections.abc import Mapping
from typing import Any

QUICK = "quick"  # behind a table's name, and a variant of every config


@dataclasses.dataclass(frozen=True)
class Column:
  """A metric of the runs on one corpus.

  Attributes:
    metric: its name in results, such as `acc7` or `f1/joy`.
    title: over the column.
    published: its name in `published.json`; that of the metric where not given.
    corpus: on which.
    group: heading over several columns, or "".
    decimals: that the paper prints.
    scale: 100 where the paper prints per cent.
    better: direction; that of the metric where not given.
    definition: as readers want it; that of the metric where not given.
  """

  metric: str
  title: str
  published: str = ""
  corpus: str = "mosi"
  group: str = ""
  decimals: int = 1
  scale: float = 100.0
  better: str = ""
  definition: str = ""

  @property
  def key(self) -> str:
    """Its name in the table."""
    return self.published or self.metric


@dataclasses.dataclass(frozen=True)
class Source:
  """What the numbers of a row on one corpus come from.

  Attributes:
    config: as `--config` takes it, or "" where `counted` says it.
    model: name of the model that must exist.
    data: which of the data sets it reads: a corpus, or with `-unaligned` behind it.
    overrides: by dotted path.
    quick: further ones on synthetic data.
    sweep: shipped sweep, and after a slash the point whose overrides apply, or "".
    after: corpus of the source of the same row whose weights are the start.
    tests: corpus of the source of the same row that is tested here, nothing trained.
    counted: label of `efficiency.METHODS`, whose costs are counted instead.
  """

  config: str = ""
  model: str = ""
  data: str = "mosi"
  overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  quick: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  sweep: str = ""
  after: str = ""
  tests: str = ""
  counted: str = ""


@dataclasses.dataclass(frozen=True)
class Row:
  """A line of a table.

  Attributes:
    name: as published.
    sources: corpus -> what is trained; a corpus of no column only serves another one.
      A row that the paper itself quotes has none.
    published: its name in `published.json`; its own where not given.
    note: what a reader should know of it, or "".
  """

  name: str
  sources: Mapping[str, Source]
  published: str = ""
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Section:
  """Rows that compete with each other.

  Attributes:
    title: over them, or "".
    rows: in order.
    published: its name in `published.json`.
  """

  title: str
  rows: tuple[Row, ...]
  published: str = ""


@dataclasses.dataclass(frozen=True)
class Table:
  """A table of a paper, or the runs behind a figure.

  Attributes:
    name: on the command line.
    paper: `MCR` or `MIA-Net`.
    source: `Table 2`, `Figure 6`.
    title: a sentence without its end.
    columns: in order.
    sections: in order.
    notes: how to read it, a sentence each.
  """

  name: str
  paper: str
  source: str
  title: str
  columns: tuple[Column, ...]
  sections: tuple[Section, ...]
  notes: tuple[str, ...] = ()

  @property
  def rows(self) -> list[Row]:
    """Those of all sections."""
    return [row for section in self.sections for row in section.rows]

  @property
  def sources(self) -> list[Source]:
    """Those of all rows."""
    return [source for row in self.rows for source in row.sources.values()]

  @property
  def data(self) -> tuple[str, ...]:
    """The data sets that it reads, in order."""
    found = (source.data for source in self.sources if not source.counted)
    return tuple(dict.fromkeys(found))

  @property
  def figure(self) -> str:
    """Its name where it stands for a figure, else ""."""
    return self.name if self.source.startswith("Figure") else ""
