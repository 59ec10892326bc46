"""Draws a figure of trained runs, as PNG and SVG.

  python -m mcr_jax.draw FIGURE --workdir DIR [DIR ...] [--sample ID] [--out OUT.png]

A DIR is a run, a sweep, or the folder of a table; the figures of the papers go by
their names, too, such as mcr-figure3.
"""

import argparse
from pathlib import Path

from mcr_jax import cli, visualize
from mcr_jax.errors import UserError


def main(argv: list[str]) -> None:
  """Draws one figure, and says where."""
  if argv == ["list"]:
    print(listing())
    return
  arguments = cli.parse(
    argv,
    "Draws a figure of trained runs; `list` names the figures.",
    flags=(),
    required=(),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.draw list",
      "python -m mcr_jax.draw words --workdir runs/mcr runs/mult --sample video_11",
      "python -m mcr_jax.draw curves --workdir runs/mcr runs/mult --metric valid/mae",
      "python -m mcr_jax.draw setting --workdir runs/mcr_depth --out depth.svg",
    ],
  )
  out = [Path(arguments.out)] if arguments.out else []
  if not out:
    folder = Path(arguments.workdir[0])
    if folder.is_file():
      raise UserError(f"{folder} is a file; say with --out where to draw.")
    if not folder.is_dir():
      raise UserError(f"{folder} is no folder; give that of a run.")
    out = [folder / "figures" / f"{arguments.figure}.{kind}" for kind in ("png", "svg")]
  for path in out:
    visualize.check_name(path)
    cli.output_file(path)
  cli.prepare()
  from mcr_jax.figures import catalog, samples
  from mcr_jax.figures.sources import sources

  entry = catalog.find(arguments.figure)
  fields = ("sample", "split", "target", "layer", "step", "seed", "metric")
  choice = samples.Choice(**{name: getattr(arguments, name) for name in fields})
  figure = entry.draw(sources(arguments.workdir), choice)
  for path in out:
    visualize.save(figure, path)
    print(f"drawn in {path}")


def listing() -> str:
  """A line a figure."""
  from mcr_jax.figures import catalog

  lines = []
  for name, entry in catalog.FIGURES.items():
    own = ", ".join(k for k, x in catalog.PAPERS.items() if x == name)
    lines.append(f"{name:10} {entry.words}" + (f" ({own})" if own else ""))
  return "\n".join(lines)


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("figure", metavar="FIGURE", help="its name; list names all")
  parser.add_argument(
    "--workdir",
    nargs="+",
    required=True,
    metavar="DIR",
    help="a run, several, a sweep, or a table",
  )
  parser.add_argument("--sample", default="", metavar="ID", help="of words and layers")
  parser.add_argument(
    "--split", default="test", choices=("train", "valid", "test"), help="(test)"
  )
  parser.add_argument("--target", default="", help="whose steps are rows (text)")
  parser.add_argument(
    "--layer", type=int, default=0, metavar="N", help="of words, from 1 (the last)"
  )
  parser.add_argument(
    "--step", default="", metavar="WORD", help="of layers: a word, or its number from 0"
  )
  parser.add_argument("--seed", type=int, help="of words and layers (the first)")
  parser.add_argument("--metric", default="", help="of curves, setting and scores")
  parser.add_argument(
    "--out",
    metavar="FILE",
    help="in its ending's format (DIR/figures/FIGURE.png, .svg)",
  )


if __name__ == "__main__":
  cli.run(main)
