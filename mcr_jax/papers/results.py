"""What the folder of a job came to."""

import dataclasses
import json
from pathlib import Path
from typing import Any

from mcr_jax import evaluators, files
from mcr_jax.papers.origin import ORIGIN
from mcr_jax.papers.search import chosen
from mcr_jax.papers.work import COUNTS
from mcr_jax.runs import folds, workspace, writer
from mcr_jax.sweeps.together import DIVERGED, read_json

# Of run.json, what a reader of a table wants to know of a number.
FACTS = ("versions", "device", "machine", "command", "started", "seeds", "together")


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
  """What there is of a job.

  Attributes:
    status: `done`, `missing` or `diverged`.
    evaluation: on the test split, scored anew from its predictions, or None.
    counts: name -> number, of what is counted.
    reason: why it has no numbers, or "".
    record: entries for `runs` of the document.
  """

  status: str
  evaluation: evaluators.Evaluation | None = None
  counts: dict[str, float] = dataclasses.field(default_factory=dict)
  reason: str = ""
  record: dict[str, Any] = dataclasses.field(default_factory=dict)


def read(workdir: Path, run: dict[str, Any], before: dict[str, Any] | None) -> Result:
  """The result of a job.

  Args:
    workdir: of the table.
    run: of the document's `runs`.
    before: that of the job which this one comes after.

  Raises:
    UserError: files of it are damaged.
  """
  folder = workdir / run["folder"]
  for place in (folder, workdir / before["folder"] if before else folder):
    if (place / DIVERGED).is_file():
      why = str(read_json(place / DIVERGED, dict).get("message", "diverged"))
      return Result("diverged", reason=why)
  folder = chosen(folder) or folder
  if (folder / COUNTS).is_file():
    return Result("done", counts=read_json(folder / COUNTS, dict), record=_of(folder))
  if not (folder / "eval" / "test.json").is_file():
    return Result("missing")
  record = {"folder": folder.relative_to(workdir).as_posix(), **_of(folder)}
  if (folder / "run.json").is_file():
    facts = workspace.facts(folder)
    if not facts.get("finished"):
      return Result("missing")
    found = {name: facts[name] for name in FACTS if name in facts}
    record |= found | {"data_digest": facts["data"]["digest"]}
    record["seconds"] = _seconds(folder)
  return Result("done", _scored(evaluators.read(folder, "test")), record=record)


def _scored(found: evaluators.Evaluation) -> evaluators.Evaluation:
  """The evaluation with the metrics of its predictions, whatever was on record."""
  old = found.results
  results = evaluators.summarise(
    old.scheme,
    found.predictions,
    found.labels,
    old.class_names,
    old.seeds,
    target_names=old.target_names,
    checkpoint=old.checkpoint,
    unchosen=old.unchosen,
  )
  return dataclasses.replace(found, results=results)


def _of(folder: Path) -> dict[str, Any]:
  """What the program that reproduces left of itself, here or in the folder above."""
  for place in (folder / ORIGIN, folder.parent / ORIGIN):
    if place.is_file():
      return json.loads(place.read_text("utf-8"))
  return {"commit": ""}


def _seconds(folder: Path) -> float | None:
  """Of all epochs of a run, or of all its folds."""
  parts = sorted(folder.glob(f"{workspace.FOLD}*")) if folds.there(folder) else [folder]
  found = [
    epoch["seconds"]
    for part in parts
    if (part / "metrics.jsonl").is_file()
    for epoch in writer.read(part / "metrics.jsonl")
  ]
  return files.plain(round(sum(found), 1)) if found else None
