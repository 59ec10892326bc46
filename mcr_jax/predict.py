"""`python -m mcr_jax.predict`: one JSON line a sample, from a trained run."""

import argparse
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mcr_jax import cli
from mcr_jax.errors import UserError


def lines(run, dataset) -> Iterator[str]:
  """A JSON line for every sample of a data set.

  `prediction` is that of the seeds together, `seeds` that of each by its number. A
  regression gives numbers; classes give `class` beside the probability of each, and
  two-way labels the probability of each label.
  """
  from mcr_jax import evaluators

  predictions = run.predict(dataset)
  kind = np.zeros(1, np.float32 if run.shape.task == "regression" else np.int32)
  if run.shape.task == "binary":
    kind = np.zeros((1, run.shape.outputs[0]), np.int32)
  together = evaluators.ensemble(predictions, kind)
  for i, name in enumerate(dataset.ids):
    seeds = {
      str(seed): _plain(run.shape, predictions[s, i])
      for s, seed in enumerate(run.seeds)
    }
    missing = [m for m, x in dataset.modalities.items() if not x.present[i]]
    line = {"id": str(name), "prediction": _plain(run.shape, together[i])}
    line |= {"seeds": seeds} | ({"missing": missing} if missing else {})
    yield json.dumps(_finite(line), allow_nan=False)


def main(argv: list[str]) -> None:
  """Predicts every sample of a file."""
  arguments = cli.parse(
    argv,
    "Predicts the samples of a feature file, which needs neither labels nor splits.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz",
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz"
      " --output clips.jsonl",
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz"
      " --checkpoint last",
    ],
  )
  if not arguments.input:
    raise UserError("--input is empty; it names a feature file.")
  if arguments.output is not None:
    cli.output_file(arguments.output)
    if Path(arguments.output).resolve() == Path(arguments.input).resolve():
      raise UserError(f"--output {arguments.output} would replace the --input.")
  cli.prepare()
  from mcr_jax.runs.run import load_run

  run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
  dataset = run.read(arguments.input)
  for note in dataset.notes:
    print(f"note: {note}", file=sys.stderr)
  if arguments.output is None:
    for line in lines(run, dataset):
      print(line)
    return
  partial = Path(f"{arguments.output}.partial")
  try:
    with open(partial, "w", encoding="utf-8") as file:
      file.writelines(f"{line}\n" for line in lines(run, dataset))
    os.replace(partial, arguments.output)
  finally:
    partial.unlink(missing_ok=True)


def _plain(shape, values: np.ndarray):
  """A prediction (*outputs) as JSON."""
  if shape.task == "regression":
    return values.tolist()[0] if values.shape == (1,) else values.tolist()
  odds = np.exp(values - values.max(-1, keepdims=True))
  odds = odds / odds.sum(-1, keepdims=True)
  names = shape.class_names or tuple(map(str, range(shape.outputs[0])))
  odds = odds[..., 1] if shape.task == "binary" else odds
  shares = dict(zip(names, map(float, odds), strict=True))
  if shape.task == "binary":
    return shares
  return {"class": names[int(values.argmax())], "probability": shares}


def _finite(value):
  """NaN and infinities, which JSON does not have, as None."""
  if isinstance(value, dict):
    return {key: _finite(item) for key, item in value.items()}
  if isinstance(value, list):
    return [_finite(item) for item in value]
  return None if isinstance(value, float) and not math.isfinite(value) else value


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--input", required=True, metavar="FILE", help="feature file")
  parser.add_argument("--output", metavar="FILE", help="instead of the screen")
  parser.add_argument(
    "--checkpoint", default="best", choices=("best", "last"), help="(best)"
  )


if __name__ == "__main__":
  cli.run(main)
