"""table.json of a workdir: written, read, and computed again to be checked."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcr_jax import files
from mcr_jax.errors import UserError
from mcr_jax.papers import cells, render
from mcr_jax.papers.plan import FORMAT

PLAN, TABLE = "plan.json", "table.json"
# What is asked for; all else of a plan follows from it.
ASKED = ("name", "synthetic", "settings")


def begin(document: Mapping[str, Any], workdir: Path) -> None:
  """Notes what is asked for, unless the folder was asked for something else before.

  Raises:
    UserError: it holds another table, other data or settings, or other files.
  """
  if (workdir / PLAN).is_file():
    _check_same(_load(workdir, PLAN), document, workdir)
  elif workdir.is_dir() and (strange := [p.name for p in workdir.iterdir() if _is(p)]):
    raise UserError(
      f"--workdir {workdir} holds no table, but other files ({min(strange)!r}): choose "
      "a new folder."
    )
  elif workdir.exists() and not workdir.is_dir():
    raise UserError(f"--workdir {workdir} is a file; it must be a folder.")
  files.write_json(workdir / PLAN, document)


def write(workdir: Path) -> dict[str, Any]:
  """Computes the table of a workdir and writes it in every form; answers it."""
  document = cells.fill(_load(workdir, PLAN), workdir)
  files.write(workdir / "table.txt", render.text(document) + "\n")
  files.write(workdir / "table.csv", render.csv(document))
  files.write(workdir / "table.tex", render.latex(document))
  files.write_json(workdir / TABLE, document)
  return document


def read(workdir: Path) -> dict[str, Any]:
  """The table of a workdir.

  Raises:
    UserError: there is none, or it is damaged.
  """
  return _load(Path(workdir), TABLE)


def check(workdir: Path) -> str:
  """Computes the table of a workdir again from its predictions; a line that says so.

  Raises:
    UserError: a number is not what was written.
  """
  before = read(workdir)
  after = json.loads(files.json_text(cells.fill(_load(workdir, PLAN), workdir)))
  old, new = dict(_numbers(before)), dict(_numbers(after))
  differing = [p for p in {**old, **new} if old.get(p) != new.get(p)]
  if differing:
    path = differing[0]
    raise UserError(
      f"{workdir / TABLE}: {len(differing)} of {len(new)} entries are not what the "
      f"predictions give; first {path}: {old.get(path)} on record, {new.get(path)} now."
    )
  count = sum(isinstance(value, float) for value in new.values())
  return f"{workdir / TABLE}: all {count} numbers are what the predictions give."


def _numbers(document: Mapping[str, Any]):
  """(path, value) of all cells and comparisons."""
  for number, section in enumerate(document["sections"]):
    for row in section["rows"]:
      for column, cell in row["cells"].items():
        for name, value in cell.items():
          place = f"{row['name']}, {column}, {name}"
          yield f"section {number + 1}, {place}", _frozen(value)
  for entry in document["comparisons"]:
    names = (entry["section"], entry["column"], entry["best"], entry["other"])
    for name, value in entry.items():
      yield f"comparison {names}, {name}", value


def _frozen(value):
  return tuple(value) if isinstance(value, list) else value


def _load(workdir: Path, name: str) -> dict[str, Any]:
  path = workdir / name
  try:
    found = json.loads(path.read_text("utf-8"))
    right = found["kind"] == "table" and found["format"] == FORMAT
    _ = found["sections"], found["runs"], found["columns"], found["settings"]
  except FileNotFoundError:
    raise UserError(
      f"{workdir} holds no table of a paper: {path} is missing."
    ) from None
  except (ValueError, KeyError, TypeError) as error:
    raise UserError(f"{path} is damaged ({type(error).__name__}: {error}).") from error
  if not right:
    raise UserError(f"{path} is not the table of a paper in format {FORMAT}.")
  return found


def _check_same(before: Mapping, now: Mapping, workdir: Path) -> None:
  now = json.loads(files.json_text(dict(now)))
  digests = lambda x: {name: data["digest"] for name, data in x["data"].items()}
  pairs = {name: (before[name], now[name]) for name in ASKED}
  old, new = digests(before), digests(now)
  pairs |= {f"data of {n}": (old[n], new[n]) for n in old if n in new}
  for what, (one, other) in pairs.items():
    if one != other:
      raise UserError(
        f"{workdir} was begun with {what} {_short(one)}, and this is {_short(other)}: "
        "choose another --workdir."
      )


def _short(value: Any) -> str:
  text = json.dumps(value)
  return text if len(text) < 60 else f"{text[:57]}..."


def _is(path: Path) -> bool:
  """Whether a file is none that a start which was cut off may have left."""
  return not files.is_draft(path.name, PLAN) and not path.name.startswith(".share_")
