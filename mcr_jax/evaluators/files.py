"""`eval/<split>.json`, `.csv` and `.npz` of a workdir: written whole or not at all.

The results of another checkpoint than the best have files of their own,
`eval/last_<split>.*`, and are read under that name only.
"""

import csv
import dataclasses
import io
import json
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcr_jax import files
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


def stem(split: str, checkpoint: str) -> str:
  """What the files of a split are called."""
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
    results: of `summarise`.
    ids: (N,).
    labels: (N,) or (N, K).
    predictions: (S, N, *outputs).
  """
  folder = Path(workdir) / "eval"
  archive = io.BytesIO()
  np.savez_compressed(
    archive,
    ids=np.asarray(ids, str),
    labels=np.asarray(labels),
    predictions=np.asarray(predictions),
  )
  text = io.StringIO(newline="")
  csv.writer(text, lineterminator="\n").writerows(render.csv_rows(results))
  name = stem(split, results.checkpoint)
  files.write(folder / f"{name}.npz", archive.getvalue())
  files.write(folder / f"{name}.csv", text.getvalue())
  # The JSON last: it names the archive that it belongs to.
  path = folder / f"{name}.json"
  digest = files.digest([archive.getvalue()])
  facts = {"split": split, **results.to_json(), "predictions_sha256": digest}
  files.write_json(path, files.sealed(facts), indent=1)
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
    found = json.loads(path.read_text(encoding="utf-8"))
    data = archive.read_bytes()
    # Those of older versions have no seal.
    seal = found.pop(files.SEAL, None)
    if seal not in (None, files.digest_of(found)):
      raise ValueError("it is not what was written")
    whole = files.digest([data]) == found["predictions_sha256"]
    results = Results.from_json(found)
  except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
    raise UserError(
      f"{error.filename if isinstance(error, OSError) else path} cannot be read "
      f"({type(error).__name__}: {error}); {again} again."
    ) from error
  if (held := stem(split, results.checkpoint)) != name:
    raise UserError(f"{path} holds the results of {held!r}; {again} again.")
  if not whole:
    raise UserError(f"{archive} is not the file that {path} describes; {again} again.")
  try:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
      ids, labels, predictions = (arrays[name] for name in _ARRAYS)
    if predictions.shape[:2] != (len(results.seeds), len(ids)):
      raise ValueError(f"predictions of shape {predictions.shape}")
  except (ValueError, KeyError, zipfile.BadZipFile) as error:
    raise UserError(
      f"{archive} holds no predictions of a run ({error}); {again} again."
    ) from error
  return Evaluation(str(workdir), results, ids, labels, predictions)
