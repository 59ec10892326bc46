"""The tables of results that are kept with the code, one JSON each.

A file is the `table.json` of `python -m mcr_jax.reproduce`, or what
`benchmarks/real_data.py` leaves of a protocol, which is read as a table, too.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from docs.generate import package
from mcr_jax import files, metrics
from mcr_jax.errors import UserError

FOLDER = package.ROOT.parent / "benchmarks" / "results" / "tables"
NAMES = {"mae": "MAE", "corr": "Corr", "weighted_f1": "weighted F1"}
NAMES |= {"acc2_has0": "Acc2 has-0", "acc2_non0": "Acc2 non-0", "acc7": "Acc7"}


def tables(folder: Path = FOLDER) -> list[dict[str, Any]]:
  """All that are kept, by the names of their files."""
  return [read(path) for path in sorted(folder.glob("*.json"))]


def read(path: Path) -> dict[str, Any]:
  """A table as `reproduce` has it.

  Raises:
    UserError: it is none.
  """
  try:
    found = json.loads(path.read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{path} is no readable table ({error}).") from None
  if found.get("kind") == "table":
    return found
  if "methods" in found:
    return _of_protocol(path.stem, found)
  raise UserError(f"{path} is neither a table.json nor a protocol of real_data.py.")


def keep(source: Path, folder: Path = FOLDER) -> Path:
  """Copies the table of a workdir, or a JSON file, to those that are kept.

  Paths of the machine that made it become names of files.

  Raises:
    UserError: it is no table, or one of synthetic data.
  """
  path = source / "table.json" if source.is_dir() else source
  table = read(path)
  if table["synthetic"]:
    raise UserError(f"{path}: {table['synthetic']} It is not kept.")
  whole = json.loads(path.read_text("utf-8"))
  target = folder / f"{table['name']}.json"
  files.write(target, json.dumps(_without_places(whole), indent=1) + "\n")
  return target


def _without_places(value: Any) -> Any:
  """Every absolute path as its last part, also in `name=/path` and within a command."""
  if isinstance(value, Mapping):
    return {key: _without_places(each) for key, each in value.items()}
  if isinstance(value, Sequence) and not isinstance(value, str):
    return [_without_places(each) for each in value]
  if not isinstance(value, str) or "/" not in value:
    return value
  words = (word.partition("=/") for word in value.split(" "))
  named = lambda place: PurePath(place).name
  return " ".join(
    f"{name}={named(place)}" if mark else named(name) if name[:1] == "/" else name
    for name, mark, place in words
  )


def _of_protocol(name: str, found: Mapping[str, Any]) -> dict[str, Any]:
  """A protocol's simple methods and models as one table."""
  methods = found["methods"]
  shown = list(next(iter(methods.values()))["scores"])
  columns = [
    {
      "id": metric,
      "title": NAMES.get(metric, metric),
      "group": "",
      "better": metrics.find(metric).direction,
      "definition": metrics.find(metric).definition,
      "decimals": 3,
    }
    for metric in shown
  ]
  rows = []
  for label, entry in methods.items():
    cells = {metric: _cell(entry["scores"][metric]) for metric in shown}
    kind = "exact" if entry.get("trained") else "baseline"
    rows.append({"name": label, "kind": kind, "status": "done", "cells": cells})
  title = f"{name.replace('_', ' ')}, {found['samples']} test samples"
  shared = {"name": name, "title": title, "paper": "", "source": "", "synthetic": ""}
  return shared | {
    "notes": [found["note"]],
    "columns": columns,
    "sections": [{"title": "", "rows": rows}],
    "comparisons": [],
    "runs": {},
  }


def _cell(seeds: Sequence[float]) -> dict[str, Any]:
  known = None not in seeds and all(value == value for value in seeds)
  spread = statistics.stdev(seeds) if known and len(seeds) > 1 else None
  mean = statistics.fmean(seeds) if known else None
  return {"mean": mean, "std": spread, "published": None, "seeds": seeds}
