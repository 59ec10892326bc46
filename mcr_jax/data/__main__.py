"""Looks into a data file, or converts it.

examples:
  python -m mcr_jax.data inspect aligned_50.pkl --plot lengths.png
  python -m mcr_jax.data convert aligned_50.pkl mosi.npz
  python -m mcr_jax.data convert MER2023 mer.npz --feature text=bert --memory-gb 8
"""

import argparse
import math
import pathlib
import sys

from mcr_jax.cli import output_file, run
from mcr_jax.data import alignment, npz, plot, readers, report
from mcr_jax.data.checks import validate
from mcr_jax.data.label_report import readable
from mcr_jax.errors import UserError


class _Parser(argparse.ArgumentParser):
  """Mistakes end as all others do: in one line, with exit code 2."""

  def error(self, message):
    raise UserError(f"{message} (see python -m mcr_jax.data --help)")


def main(argv: list[str]) -> int:
  """Runs one of the two commands."""
  description, examples = __doc__.split("\n\n")
  parser = _Parser(
    prog="python -m mcr_jax.data",
    description=description,
    epilog=examples,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  commands = parser.add_subparsers(dest="command", required=True)
  for name, words in (
    ("inspect", "say what a data file holds, and how to use it"),
    ("convert", "write a data file as .npz, which loads fastest"),
  ):
    command = commands.add_parser(name, help=words, description=words)
    command.add_argument("file", type=pathlib.Path, help="a data file or folder")
    command.add_argument("--align", help="mean by time over this modality's steps")
    command.add_argument(
      "--feature",
      action="append",
      default=[],
      metavar="MODALITY=FOLDER",
      help="of MERBench folders: which features to use",
    )
    command.add_argument(
      "--part",
      action="append",
      default=[],
      metavar="SPLIT=NAME",
      help="what the file calls its train, valid or test split",
    )
    command.add_argument("--decimal", help="of tables: the decimal sign, . or ,")
    command.add_argument("--encoding", help="of tables that are not UTF-8")
    command.add_argument(
      "--layers", help="of layers of text: mean, join, or one by name"
    )
    command.add_argument("--vectors", help="of words or their numbers: file of vectors")
    command.add_argument(
      "--memory-gb",
      type=float,
      metavar="GB",
      help="the most that reading may take (what is free now)",
    )
    if name == "inspect":
      command.add_argument("--plot", type=pathlib.Path, metavar="OUT.png")
    else:
      command.add_argument("out", type=pathlib.Path, metavar="OUT.npz")
  arguments = parser.parse_args(argv)
  pairs = _pairs("--feature", arguments.feature, "MODALITY=FOLDER")
  parts = _pairs("--part", arguments.part, "SPLIT=NAME")
  _check_output(arguments)
  most = arguments.memory_gb
  if most is not None and not 0 < most < math.inf:
    raise UserError(f"--memory-gb {most} must be a number above 0.")
  stated = {
    x: getattr(arguments, x) for x in ("decimal", "encoding", "layers", "vectors")
  }
  dataset = readers.read(
    arguments.file,
    optional={"align": arguments.align},
    features=pairs or None,
    parts=parts,
    **stated,
    limit=None if most is None else most * 1e9,
  )
  alignable = alignment.alignable(dataset)
  if arguments.align:
    dataset = alignment.to_steps(dataset, arguments.align)
  if arguments.command == "convert":
    validate(dataset, need_labels=False)
    npz.write(arguments.out, dataset)
    print(f"wrote {arguments.out}: {len(dataset):,} samples")
    if arguments.align:
      print(dataset.notes[-1])
    if reason := report.problem(dataset):
      print(f"Not ready for training: {reason}")
    return 0
  given = {"align": arguments.align} if arguments.align else {}
  given |= {f"features.{name}": folder for name, folder in pairs.items()}
  given |= {f"parts.{split}": name for split, name in parts.items()}
  given |= {name: value for name, value in stated.items() if value}
  lines = report.write(
    dataset,
    str(arguments.file),
    given=given,
    alignable=() if given else alignable,
  )
  if arguments.plot:
    plot.draw(readable(dataset), arguments.plot)
    lines += ["", f"drew {arguments.plot}"]
  text = "\n".join(lines) + "\n"
  encoding = sys.stdout.encoding or "utf-8"
  sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
  return 0


def _pairs(flag: str, given: list[str], right: str) -> dict[str, str]:
  pairs = dict(x.partition("=")[::2] for x in given)
  if not all(pairs.values()):
    raise UserError(f"{flag}={given} must be {right}.")
  return pairs


def _check_output(arguments: argparse.Namespace) -> None:
  """What cannot be written is told before hours of reading, not after."""
  if arguments.command == "convert":
    if arguments.out.suffix != ".npz":
      raise UserError(f"{arguments.out} must end in .npz.")
    output_file(arguments.out)
  elif arguments.plot:
    plot.check_name(arguments.plot)
    output_file(arguments.plot)


if __name__ == "__main__":
  run(main)
