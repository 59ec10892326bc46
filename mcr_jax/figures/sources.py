"""The runs that a folder stands for: itself, rows of a table, points of a sweep."""

import dataclasses
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mcr_jax.errors import UserError

TABLE = "table.json"


@dataclasses.dataclass(frozen=True)
class Source:
  """A run, finished or not.

  Attributes:
    label: what figures call it.
    folder: of the run, or its file.
    corpus: that a table trains it on, else "".
  """

  label: str
  folder: Path
  corpus: str = ""


def table_of(folder: Path) -> dict[str, Any] | None:
  """The table of a folder that holds one, of many runs.

  Raises:
    UserError: its file is damaged.
  """
  path = folder / TABLE
  if not path.is_file():
    return None
  try:
    found = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{path} cannot be read ({error}).") from None
  # Sweeps write a file of this name, too.
  is_table = isinstance(found, dict) and found.get("kind") == "table"
  return found if is_table else None


def sources(folders: Sequence[str | Path]) -> list[Source]:
  """The runs of folders, each with a label of its own, in order.

  Raises:
    UserError: a folder is not there, or holds no run.
  """
  found = [source for folder in folders for source in _of(Path(folder))]
  labels = [source.label for source in found]
  if len(set(labels)) == len(labels):
    return found
  # Folders of one name: by as much of their paths as tells them apart.
  return [
    dataclasses.replace(x, label=str(x.folder)) if labels.count(x.label) > 1 else x
    for x in found
  ]


def _of(folder: Path) -> list[Source]:
  if folder.is_file():
    return [Source(folder.stem, folder)]
  if not folder.is_dir():
    raise UserError(f"{folder} is no folder; give that of a run.")
  table = table_of(folder)
  if table is not None:
    return _rows(folder, table)
  if (folder / "config.json").is_file():
    return [Source(folder.resolve().name, folder)]
  parts = sorted((x.parent for x in folder.glob("*/config.json")), key=_natural)
  if not parts:
    raise UserError(f"{folder} holds no run: there is no config.json.")
  return [Source(part.name, part) for part in parts]


def _rows(folder: Path, table: dict[str, Any]) -> list[Source]:
  found = {}
  try:
    rows = [row for section in table["sections"] for row in section["rows"]]
    several = len({corpus for row in rows for corpus in row["runs"]}) > 1
    for section in table["sections"]:
      for row in section["rows"]:
        for corpus, key in row["runs"].items():
          path = folder / table["runs"][key]["folder"]
          label = f"{row['name']}, {corpus}" if several else row["name"]
          if len(table["sections"]) > 1 and section["title"]:
            label = f"{label} ({section['title']})"
          if path.is_dir():
            found.setdefault(path, Source(label, path, corpus))
  except (KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"{folder / TABLE} is no table ({type(error).__name__}: {error})."
    ) from None
  if not found:
    raise UserError(f"{folder} holds a table, but none of its runs yet.")
  return list(found.values())


def _natural(path: Path) -> list:
  """`layers_10` comes after `layers_9`."""
  return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", path.name)]
