"""`python -m mcr_jax.predict`: one JSON line a sample, from a trained run."""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mcr_jax import cli, evaluators, files
from mcr_jax.errors import UserError
from mcr_jax.extract import places


def lines(run, dataset) -> Iterator[str]:
  """A JSON line for every sample of a data set.

  `prediction` is that of the seeds together, `seeds` that of each by its number. A
  regression gives numbers; classes give `class` beside the probability of each, and
  two-way labels the probability of each label. Several targets are told by name.
  """
  spec, predictions = run.spec, run.predict(dataset)
  together = evaluators.ensemble(predictions, spec.task, spec.class_names)
  for i, name in enumerate(dataset.ids):
    seeds = {seed: _plain(spec, predictions[s, i]) for s, seed in enumerate(run.seeds)}
    missing = [m for m, x in dataset.modalities.items() if not x.present[i]]
    line = {"id": str(name), "prediction": _plain(spec, together[i])}
    line |= {"seeds": seeds} | ({"missing": missing} if missing else {})
    yield files.json_text(line)


def main(argv: list[str]) -> None:
  """Predicts every sample of a file."""
  arguments = cli.parse(
    argv,
    "Predicts the samples of a feature file, which needs neither labels nor splits.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    overrides=True,
    examples=[
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz",
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz"
      " --output clips.jsonl",
      "python -m mcr_jax.predict --workdir runs/mosi --input clips.npz"
      " --checkpoint last",
      "python -m mcr_jax.predict --workdir runs/mosi --input long.npz"
      " --overlong truncate",
      "python -m mcr_jax.predict --workdir runs/mine --input clip.mp4"
      " --transcript clip.srt",
    ],
  )
  if not arguments.input:
    raise UserError("--input is empty; it names a feature file.")
  if arguments.output is not None:
    cli.output_file(arguments.output)
    if Path(arguments.output).resolve() == Path(arguments.input).resolve():
      raise UserError(f"--output {arguments.output} would replace the --input.")
  cli.prepare()
  from mcr_jax.runs.progress import Waiting
  from mcr_jax.runs.reading import Reading
  from mcr_jax.runs.run import load_run

  run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
  source = _source(run, arguments)
  dataset = run.read(source, reading=Reading.of(arguments, run.config))
  for note in dataset.notes:
    print(f"note: {note}", file=sys.stderr)
  with Waiting(lambda line: print(line, file=sys.stderr, flush=True)):
    found = list(lines(run, dataset))
  if arguments.output is None:
    print(*found, sep="\n")
    return
  with (
    files.replacing(arguments.output) as draft,
    open(draft, "w", encoding="utf-8") as file,
  ):
    file.writelines(f"{line}\n" for line in found)


def _source(run, arguments):
  """The file, or the data set of a clip by the recipe of the run's own features."""
  from mcr_jax.extract import collect, media, transcript

  if not media.is_clip(arguments.input):
    if arguments.transcript:
      raise UserError(f"--transcript is of a clip; {arguments.input} is none.")
    return arguments.input
  if run.extract is None:
    widths = ", ".join(f"{m} of {x}" for m, x in run.spec.widths.items())
    raise UserError(
      f"{arguments.input} is a clip, and {run.workdir} was trained on features "
      f"({widths}) of an unknown making. Train on a file of mcr_jax.extract."
    )
  said = arguments.transcript
  cues = transcript.read(said) if said else transcript.beside(Path(arguments.input))
  return collect.of_clip(
    arguments.input, cues, json.dumps(run.extract), places.Places.of(arguments)
  )


def _plain(spec, values: np.ndarray):
  """A prediction (*outputs) as JSON can hold it."""
  targets = spec.target_names or _numbered(spec.outputs[0])
  if spec.task == "regression":
    if values.shape == (1,):
      return values[0]
    return dict(zip(targets, values, strict=True)) if spec.target_names else values
  shares = evaluators.shares(values, spec.task, spec.class_names)
  if spec.task == "binary":
    names = spec.class_names or targets
    return dict(zip(names, shares[:, 1], strict=True))
  if spec.task == "multitask":
    classes = spec.class_names or [_numbered(spec.outputs[1])] * len(targets)
    return {
      target: _classes(names, odds[: len(names)])
      for target, names, odds in zip(targets, classes, shares, strict=True)
    }
  return _classes(spec.class_names or targets, shares)


def _classes(names: Sequence[str], shares: np.ndarray) -> dict:
  """The likeliest class, and the probability of each."""
  odds = dict(zip(names, shares, strict=True))
  return {"class": names[int(shares.argmax())], "probability": odds}


def _numbered(count: int) -> tuple[str, ...]:
  return tuple(map(str, range(count)))


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--input", required=True, metavar="FILE", help="feature file, or a clip"
  )
  parser.add_argument(
    "--transcript", metavar="FILE", help="of a clip: .txt, .srt, .vtt or .ass"
  )
  places.add_arguments(parser)
  parser.add_argument("--output", metavar="FILE", help="instead of the screen")
  parser.add_argument(
    "--checkpoint", default="best", choices=("best", "last"), help="(best)"
  )
  cli.reading_arguments(parser)


if __name__ == "__main__":
  cli.run(main)
