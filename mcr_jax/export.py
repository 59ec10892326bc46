"""Writes a trained run into one file, to hand on.

  python -m mcr_jax.export --workdir DIR --out model.mcr [--seed N] [--licence NAME]
  python -m mcr_jax.export --show model.mcr

A model file goes wherever the folder of a run does. It holds no sample of the data, and
opening it runs no code. Its digest shows that it is whole, not who made it.
"""

import argparse
from pathlib import Path

from mcr_jax import cli, files
from mcr_jax.errors import UserError
from mcr_jax.runs import model_file

FORMATS = ("mcr", "stablehlo")


def main(argv: list[str]) -> None:
  """Exports a run, or shows the card of a model file."""
  arguments = cli.parse(
    argv,
    "Writes a trained run into one file, to hand on.",
    flags=("workdir",),
    required=(),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.export --workdir runs/mosi --out model.mcr",
      "python -m mcr_jax.export --workdir runs/mosi --out model.mcr --seed 0"
      " --licence CC-BY-4.0",
      "python -m mcr_jax.export --workdir runs/mosi --out model.stablehlo"
      " --format stablehlo",
      "python -m mcr_jax.export --show model.mcr",
    ],
  )
  if arguments.show:
    _show(arguments)
    return
  if not arguments.workdir or not arguments.out:
    raise UserError("--workdir and --out are needed, or --show.")
  for path in _outputs(arguments):
    model_file.check_free(path, arguments.overwrite)
    cli.output_file(path)
  cli.prepare()
  from mcr_jax.runs.run import load_run

  run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
  write = _stablehlo if arguments.format == "stablehlo" else _model_file
  write(_of_seed(run, arguments.seed), arguments)


def _model_file(run, arguments: argparse.Namespace) -> None:
  from mcr_jax.runs import card, packed, workspace

  if run.workdir.is_file():
    raise UserError(f"{run.workdir} is a model file already; copy it.")
  facts = workspace.facts(run.workdir)
  own = card.of(run, facts, licence=arguments.licence, seed=arguments.seed)
  path = arguments.out
  contents = packed.pack(run, facts, own)
  digest = model_file.write(path, *contents, overwrite=arguments.overwrite)
  size = Path(path).stat().st_size
  print(f"written to {path}, {size:,} bytes, {_seeds(run)}")
  print(f"SHA-256 of all but its last 32 bytes, which it ends with: {digest}")


def _stablehlo(run, arguments: argparse.Namespace) -> None:
  from mcr_jax.runs import card, packed, stablehlo, workspace

  path, beside = _outputs(arguments)
  if run.workdir.is_file():
    own = packed.facts(run.workdir)["card"]
    own |= (
      {"seeds": list(run.seeds), "scores": {}} if arguments.seed is not None else {}
    )
    own |= {"licence": arguments.licence} if arguments.licence else {}
  else:
    facts = workspace.facts(run.workdir)
    own = card.of(run, facts, licence=arguments.licence, seed=arguments.seed)
  exported = stablehlo.program(run)
  data = bytes(exported.serialize())
  digest = files.digest([data])
  model_file.check_free(path, arguments.overwrite)
  files.write_json(beside, {**own, **stablehlo.card(run, exported), "sha256": digest})
  files.write(path, data)
  print(f"written to {path}, {len(data):,} bytes, {_seeds(run)}; its card to {beside}")
  print(f"SHA-256: {digest}")


def _outputs(arguments: argparse.Namespace) -> list[Path]:
  path = Path(arguments.out)
  beside = [path.with_name(f"{path.name}.json")]
  return [path, *beside * (arguments.format == "stablehlo")]


def _of_seed(run, seed: int | None):
  """The run with one of its seeds alone."""
  import dataclasses

  import jax

  from mcr_jax.errors import choose

  if seed is None:
    return run
  place = run.seeds.index(choose(seed, run.seeds, f"{run.workdir}: seed"))
  one = jax.tree.map(lambda x: x[place : place + 1], run.variables)
  chosen = run.chosen[place : place + 1]
  return dataclasses.replace(run, variables=one, seeds=(seed,), chosen=chosen)


def _seeds(run) -> str:
  numbers = ", ".join(map(str, run.seeds))
  return f"{'seed' if len(run.seeds) == 1 else 'seeds'} {numbers}"


def _show(arguments: argparse.Namespace) -> None:
  from mcr_jax.runs import card, packed

  found = packed.facts(arguments.show)
  print(card.text(found["card"], found["recipe"]))


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument("--out", metavar="FILE", help="the file, such as model.mcr")
  parser.add_argument(
    "--format",
    default="mcr",
    choices=FORMATS,
    help="mcr, for this library; stablehlo, a program for JAX alone (mcr)",
  )
  parser.add_argument("--seed", type=int, metavar="N", help="of the run (all of them)")
  parser.add_argument(
    "--licence", default="", metavar="NAME", help="of the weights, such as CC-BY-4.0"
  )
  parser.add_argument(
    "--checkpoint", default="best", choices=("best", "last"), help="(best)"
  )
  parser.add_argument("--overwrite", action="store_true", help="replace the file")
  parser.add_argument("--show", metavar="FILE", help="print the card of a model file")


if __name__ == "__main__":
  cli.run(main)
