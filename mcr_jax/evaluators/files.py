"""`eval/<split>.json`, `.csv` and `.npz` of a workdir: written whole or not at all.

The results of another checkpoint than the best have files of their own,
`eval/last_<split>.*`, and are read under that name only.
"""

import contextlib
import csv
import dataclasses
import hashlib
import io
import json
import math
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.evaluators import render
from mcr_jax.evaluators.summary import Results

_ARRAYS = ("ids", "labels", "predictions")


@dataclasses.dataclass(frozen=True)
class Evaluation:
  """What an evaluation of one split left behind.

  Attributes:
    workdir: as it was given.
    results: of `summarise`.
    ids: (N,) str.
    labels: (N,) or (N, K).
    predictions: (S, N, *outputs).
  """

  workdir: str
  results: Results
  ids: np.ndarray
  labels: np.ndarray
  predictions: np.ndarray


def stem(split: str, results: Results) -> str:
  """What the files of a split are called."""
  checkpoint = results.get("checkpoint", "best")
  return split if checkpoint == "best" else f"{checkpoint}_{split}"


def write(
  workdir: str | os.PathLike,
  split: str,
  results: Results,
  ids: Sequence[str] | np.ndarray,
  labels: np.ndarray,
  predictions: np.ndarray,
) -> Path:
  """Writes the three files of a split; returns the path of the JSON.

  Args:
    workdir: of the run.
    split: names the files, see `stem`.
    results: of `summarise`; further entries are kept if JSON can hold them.
    ids: (N,).
    labels: (N,) or (N, K).
    predictions: (S, N, *outputs).
  """
  folder = Path(workdir) / "eval"
  folder.mkdir(parents=True, exist_ok=True)
  archive = io.BytesIO()
  np.savez_compressed(
    archive,
    ids=np.asarray(ids, str),
    labels=np.asarray(labels),
    predictions=np.asarray(predictions),
  )
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows(render.csv_rows(results))
  digest = hashlib.sha256(archive.getvalue()).hexdigest()
  document = render.to_json({"split": split, **results, "predictions_sha256": digest})
  # The JSON last: it names the archive that it belongs to.
  name = stem(split, results)
  _replace(folder / f"{name}.npz", archive.getvalue())
  _replace(folder / f"{name}.csv", text.getvalue().encode())
  path = folder / f"{name}.json"
  _replace(path, document.encode())
  return path


def read(workdir: str | os.PathLike, name: str) -> Evaluation:
  """What `write` wrote.

  Args:
    workdir: of the run.
    name: of the split; `last_<split>` for the results of the last checkpoint.

  Raises:
    UserError: it is not there, is damaged, or its files are of two evaluations or of
      another checkpoint.
  """
  split = name.removeprefix("last_")
  command = f"python -m mcr_jax.evaluate --workdir {workdir} --split {split}"
  again = f"run `{command}{'' if name == split else ' --checkpoint last'}`"
  path = Path(workdir) / "eval" / f"{name}.json"
  if not path.is_file():
    missing = path if Path(workdir).is_dir() else workdir
    raise UserError(f"{missing} does not exist; {again} first.")
  archive = path.with_suffix(".npz")
  try:
    results = json.loads(path.read_text(encoding="utf-8"))
    data = archive.read_bytes()
    whole = hashlib.sha256(data).hexdigest() == results["predictions_sha256"]
    _ = results["scheme"], results["class_names"]
    results["metrics"] = {
      name: {field: _nan(value) for field, value in score.items()}
      for name, score in results["metrics"].items()
    }
    for score in results["metrics"].values():
      if len(score["seeds"]) != len(results["seeds"]) or "mean" not in score:
        raise ValueError("a metric lacks its mean, or the value of a seed")
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"{error.filename if isinstance(error, OSError) else path} cannot be read "
      f"({type(error).__name__}: {error}); {again} again."
    ) from error
  if (found := stem(split, results)) != name:
    raise UserError(f"{path} holds the results of {found!r}; {again} again.")
  if not whole:
    raise UserError(f"{archive} is not the file that {path} describes; {again} again.")
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
      ids, labels, predictions = (arrays[name] for name in _ARRAYS)
    if predictions.shape[:2] != (len(results["seeds"]), len(ids)):
      raise ValueError(f"predictions of shape {predictions.shape}")
  except (ValueError, KeyError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{archive} holds no predictions of a run ({error}); {again} again."
    ) from error
  return Evaluation(str(workdir), results, ids, labels, predictions)


def _nan(value: Any) -> Any:
  if isinstance(value, list):
    return [_nan(item) for item in value]
  return math.nan if value is None else value


def _replace(path: Path, data: bytes) -> None:
  temporary = path.with_name(f".{path.name}.{os.getpid()}")
  try:
    temporary.write_bytes(data)
    os.replace(temporary, path)
  except BaseException:
    with contextlib.suppress(OSError):
      temporary.unlink()
    raise
