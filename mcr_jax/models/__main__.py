"""`python -m mcr_jax.models`: lists the models, or checks one in a file of your own."""

import argparse
import ast
import textwrap
from typing import Any

import jax

from mcr_jax import cli, conformance, flops, models
from mcr_jax.config.completion import merge
from mcr_jax.contract import Card, Spec
from mcr_jax.errors import UserError

EXAMPLES = (
  "python -m mcr_jax.models",
  "python -m mcr_jax.models check my_model.py",
  "python -m mcr_jax.models check my_model.py width=8 heads=2",
)
HEAD = ("name", "system", "kind", "reads", "sample", "modalities", "parameters")
NOTE = (
  "Parameters are those of the defaults on aligned MOSI, 50 steps of 300 features of "
  "text, 74 of audio and 35 of vision."
)
MOSI = {"text": 300, "audio": 74, "vision": 35}


def main(argv: list[str]) -> None:
  """Runs the command that the arguments name."""
  description = "Lists the models, or checks one in a file of your own."
  arguments = cli.parse(
    argv, description, flags=(), required=(), examples=EXAMPLES, extra=_arguments
  )
  if arguments.command == "check":
    fields = dict(map(_field, arguments.fields))
    check(arguments.file, fields)
  else:
    print(table())


def table() -> str:
  """A line a model, and its paper below."""
  rows = [HEAD, *map(row, models.names())]
  sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
  papers = ["", *(models.load(name).card.paper for name in models.names())]
  lines = []
  for cells, paper in zip(rows, papers, strict=True):
    lines.append("  ".join(map(str.ljust, cells, sizes)).rstrip())
    lines += textwrap.wrap(paper, 84, initial_indent="  ", subsequent_indent="  ")
  return "\n".join([*lines, "", *textwrap.wrap(NOTE, 88)])


def row(name: str) -> tuple[str, ...]:
  """What `HEAD` names of a model."""
  card = models.load(name).card
  size = f"{parameters(name):,}"
  return (name, card.title, card.kind, card.reads, card.unit, counted(card), size)


def counted(card: Card) -> str:
  """How many modalities a model takes, in words."""
  fewest, most = card.modalities
  if most is None:
    return f"{fewest} or more"
  return f"{fewest}" if fewest == most else f"{fewest} to {most}"


def parameters(name: str) -> int:
  """Those of the defaults on aligned MOSI."""
  card = models.load(name).card
  names = list(MOSI)[: card.modalities[1]]
  spec = Spec(
    dict.fromkeys(names, 50),
    {m: MOSI[m] for m in names},
    unit=card.unit,
    columns=("speaker", "index", "turn") if card.unit == "dialogue" else ("index",),
    samples=1,
  )
  model = models.build(name, spec)
  shapes = jax.eval_shape(model.init, jax.random.key(0), spec.example())
  return flops.parameters(shapes["params"])


def check(path: str, fields: dict[str, Any]) -> None:
  """Holds the model of a file to the contract, and prints what it keeps.

  Args:
    path: of the file.
    fields: of the model, such as a small width; the others are its defaults.

  Raises:
    UserError: the file has no model, or it breaks the contract.
  """
  kind = models.load_file(path)
  fields = {
    k: v for k, v in merge(models.fields(kind), fields, "model").items() if k in fields
  }
  subject = conformance.Subject(kind, **fields)
  broken = 0
  for sentence, wrong in conformance.results(subject):
    print(f"{'BROKEN' if wrong else 'kept  '} {sentence}", flush=True)
    if wrong:
      print(textwrap.indent(wrong, "       "), flush=True)
    broken += bool(wrong)
  if broken:
    raise UserError(f"{path} breaks {broken} of {len(conformance.CHECKS)} promises.")


def _arguments(parser: argparse.ArgumentParser) -> None:
  commands = parser.add_subparsers(dest="command", metavar="check")
  words = "hold a file with a class Model to what every model promises"
  command = commands.add_parser("check", help=words, description=words)
  command.add_argument("file", metavar="FILE.py")
  command.add_argument(
    "fields", nargs="*", metavar="FIELD=VALUE", help="of the model, such as width=8"
  )


def _field(text: str) -> tuple[str, Any]:
  name, equals, value = text.partition("=")
  if not equals:
    raise UserError(f"{text!r} must be FIELD=VALUE.")
  try:
    return name, ast.literal_eval(value)
  except (ValueError, SyntaxError):
    return name, value


if __name__ == "__main__":
  cli.run(main)
