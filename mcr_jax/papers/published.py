"""What the papers print, from `published.json`: facts with the name of their table."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

# Stands for a paper where no paper prints a table.
PUBLIC = "Public data"
# Of a table section by section: row -> column -> value, None where a dash is printed.
Rows = Mapping[str, Mapping[str, float | None]]


@functools.cache
def paper(name: str) -> dict[str, Any]:
  """Everything on record of a paper: `citation`, `tables`, and whom a dagger marks."""
  text = Path(__file__).with_name("published.json").read_text("utf-8")
  return json.loads(text)[name]


def rows(of: str, table: str, section: str) -> Rows:
  """The rows of a section, {} where the paper has no such table with numbers."""
  return paper(of)["tables"].get(table, {}).get(section, {})


def has_dagger(of: str, table: str, row: str) -> bool:
  """Whether the paper marks the numbers of a row as significantly better."""
  marked = paper(of)["dagger"]
  return table in marked["tables"] and row in marked["rows"]


def where(of: str, table: str) -> str:
  """Where a table is printed, as words."""
  return (
    f"simple methods on {table}" if of == PUBLIC else f"{table} of the paper of {of}"
  )
