"""`python -m mcr_jax.evaluate`: the metrics of a trained run on a split."""

import argparse
import sys
from pathlib import Path

from mcr_jax import cli


def main(argv: list[str]) -> None:
  """Evaluates every seed of a run; leaves eval/<split>.json, .csv and .npz.

  With `--checkpoint last` they are eval/last_<split>.*: a table that is read later
  takes the best. A model file stays as it is. Of a folder of folds, each is evaluated,
  and all are pooled.
  """
  arguments = cli.parse(
    argv,
    "Evaluates all seeds of a trained run.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    overrides=True,
    examples=[
      "python -m mcr_jax.evaluate --workdir runs/mosi",
      "python -m mcr_jax.evaluate --workdir runs/mosi --split valid --json",
      "python -m mcr_jax.evaluate --workdir runs/mosei --split test --input mosi.npz",
    ],
  )
  cli.prepare()
  from mcr_jax import evaluators
  from mcr_jax.runs import folds
  from mcr_jax.runs.progress import Waiting
  from mcr_jax.runs.reading import Reading
  from mcr_jax.runs.run import load_run

  workdir = Path(arguments.workdir)
  cli.check_reading(arguments)
  if folds.there(workdir) and arguments.input is None:
    found = folds.evaluate(workdir, arguments.split, checkpoint=arguments.checkpoint)
    text = folds.table(found, arguments.split, full=arguments.full)
    _show(arguments, found.results, text)
    return
  run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
  reading, source = Reading.of(arguments, run.config), arguments.input
  if source is not None:
    source = run.read(source, labels=True, reading=reading)
    for note in source.notes:
      print(f"note: {note}", file=sys.stderr)
  with Waiting(lambda line: print(line, file=sys.stderr, flush=True)):
    results = run.evaluate(arguments.split, source)
  text = evaluators.table(results, arguments.split, full=arguments.full)
  _show(arguments, results, text)


def _show(arguments: argparse.Namespace, results, table: str) -> None:
  from mcr_jax import evaluators, files

  if arguments.json:
    print(files.json_text(results.to_json(), indent=1))
    return
  name = evaluators.stem(arguments.split, results.checkpoint)
  print(table)
  if arguments.input is None and not Path(arguments.workdir).is_file():
    print(f"\nwritten to {arguments.workdir}/eval/{name}.json, .csv, .npz")


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--split", default="test", choices=("train", "valid", "test"), help="(test)"
  )
  parser.add_argument(
    "--input",
    metavar="FILE",
    help="another data set with the same features and labels; leaves no files",
  )
  parser.add_argument(
    "--checkpoint",
    default="best",
    choices=("best", "last"),
    help="(best); of the last, the files are eval/last_SPLIT.*",
  )
  cli.reading_arguments(parser)
  parser.add_argument(
    "--full",
    action="store_true",
    help="every metric of every one of many targets, by seed",
  )
  parser.add_argument("--json", action="store_true", help="print JSON, no table")


if __name__ == "__main__":
  cli.run(main)
