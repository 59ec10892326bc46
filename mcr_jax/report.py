"""Writes one HTML file that shows runs or tables, to be opened by a double click.

  python -m mcr_jax.report DIR [DIR ...] --out report.html

A DIR is a run, folds, a sweep, or the folder of a table. The file needs no network and
loads nothing.
"""

import argparse

from mcr_jax import cli, files
from mcr_jax.errors import UserError


def main(argv: list[str]) -> None:
  """Writes the page of some folders."""
  arguments = cli.parse(
    argv,
    "Writes one HTML file that shows runs: results, curves, samples, attention.",
    flags=(),
    required=(),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.report runs/mosi --out report.html",
      "python -m mcr_jax.report runs/mcr runs/mult --out both.html",
      "python -m mcr_jax.report runs/mosi --sample 03bSnISJMiM_11 --out report.html",
    ],
  )
  if not arguments.out.lower().endswith((".html", ".htm")):
    raise UserError(f"--out {arguments.out} must end in .html.")
  cli.output_file(arguments.out)
  cli.prepare()
  from mcr_jax.figures.samples import Choice
  from mcr_jax.pages.build import page

  fields = ("sample", "split", "seed", "metric")
  choice = Choice(**{name: getattr(arguments, name) for name in fields})
  text = page(arguments.folders, choice)
  files.write(arguments.out, text)
  print(f"written to {arguments.out}, {len(text.encode()) / 1e6:.1f} MB")


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("folders", nargs="+", metavar="DIR", help="a run, or many")
  parser.add_argument("--out", required=True, metavar="FILE.html", help="the page")
  parser.add_argument(
    "--split", default="test", choices=("train", "valid", "test"), help="(test)"
  )
  parser.add_argument(
    "--sample",
    default="",
    metavar="ID",
    help="whose attention to show",
  )
  parser.add_argument("--seed", type=int, help="whose attention to show (the first)")
  parser.add_argument(
    "--metric", default="", help="of the test of significance (one that suits the task)"
  )


if __name__ == "__main__":
  cli.run(main)
