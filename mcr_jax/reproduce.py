"""`python -m mcr_jax.reproduce`: a table or figure of a paper, on your data."""

import argparse
import shlex
from pathlib import Path

from mcr_jax import cli
from mcr_jax.errors import UserError, choose


def main(argv: list[str]) -> int | None:
  """Runs what is missing of a table, or lists them, or checks one that is there."""
  arguments, overrides = _parse(argv)
  if arguments.table == "list":
    return _list(arguments)
  if arguments.table == "check":
    return _check(arguments)
  from mcr_jax.papers import catalog, plan

  table, quick = catalog.find(arguments.table)
  if arguments.folder is not None:
    raise UserError(f"{arguments.folder!r}: a folder behind {table.name} is --workdir.")
  if arguments.workdir is None:
    raise UserError("--workdir DIR must be given: the folder of the table.")
  if arguments.search < 0:
    raise UserError(f"--search {arguments.search} must be a number of draws, from 1.")
  request = plan.Request(
    table,
    quick,
    _data(arguments.data),
    tuple(overrides),
    arguments.search,
    arguments.partial,
  )
  cli.prepare()
  command = shlex.join(["python", "-m", "mcr_jax.reproduce", *argv])
  workdir, rows = Path(arguments.workdir), arguments.row
  return _reproduce(request, workdir, arguments.share, rows, command)


def _reproduce(request, workdir: Path, text: str, rows: list[str], command: str):
  from mcr_jax.papers import document, estimate, plan, work
  from mcr_jax.runs import progress
  from mcr_jax.sweeps import share as shares

  share = shares.parse(text)
  made = plan.make(request, workdir)
  jobs = made.of_rows(rows) if rows else made.jobs
  work.check_search(jobs, request.search)
  made.document["command"] = command
  document.begin(made.document, workdir)
  for line in filter(None, (_heading(made.document), made.document["synthetic"])):
    print(line, flush=True)
  # What takes a moment needs no estimate of how long.
  weights = {}
  if request.data:
    weights = estimate.of_jobs(jobs, request.search)
    seconds = sum(weights.values()) / share.of
    print(f"at most about {progress.duration(seconds)}, without compiling", flush=True)
  left = work.work(
    jobs,
    workdir,
    share,
    draws=request.search,
    heading=estimate.heading(weights),
  )
  if share != shares.WHOLE:
    print(f"\n{share.ending(left)}")
    return
  document.write(workdir)
  print(f"\n{(workdir / 'table.txt').read_text('utf-8')}")
  written = ["table.json", "table.csv", "table.tex", "table.txt", *_page(workdir)]
  print(f"written to {workdir}: {', '.join(written)}")
  left = [
    job.key
    for job in made.jobs
    if not work.done(job, workdir / plan.RUNS, request.search)
  ]
  if left:
    print(f"not done: {', '.join(left)}")
  if name := made.document["figure"]:
    print(f"python -m mcr_jax.draw {name} --workdir {workdir} draws it.")


def _heading(table: dict) -> str:
  """What is about to be done, and what not."""
  rows = [row for section in table["sections"] for row in section["rows"]]
  lacking = {row["name"] for row in rows if row["status"] == "not implemented"}
  lacking = f"; not implemented: {', '.join(sorted(lacking))}" if lacking else ""
  return f"{table['paper']}, {table['source']}: {len(table['runs'])} runs{lacking}"


def _page(workdir: Path) -> list[str]:
  """The name of the table's page, where the packages for pages are there."""
  from mcr_jax import files
  from mcr_jax.figures.samples import Choice
  from mcr_jax.pages.build import page

  try:
    text = page([workdir], Choice())
  except UserError as error:
    print(f"no page: {error}")
    return []
  files.write(workdir / "report.html", text)
  return ["report.html"]


def _list(arguments: argparse.Namespace) -> None:
  from mcr_jax.papers import catalog, listing

  if arguments.folder is not None:
    choose(arguments.folder, catalog.TABLES, "table")
  cli.prepare()
  names = [arguments.folder] if arguments.folder else list(catalog.TABLES)
  for line in listing.lines([catalog.TABLES[name] for name in names]):
    print(line, flush=True)


def _check(arguments: argparse.Namespace) -> None:
  if arguments.folder is None:
    raise UserError("check wants the folder of a table: reproduce check DIR.")
  from mcr_jax.papers import document

  print(document.check(Path(arguments.folder)))


def _data(given: list[str]) -> dict[str, str]:
  found = {}
  for text in given:
    name, equals, path = text.partition("=")
    if not (name and equals and path):
      raise UserError(f"--data {text!r} must be NAME=FILE, such as mosi=mosi.pkl.")
    if name in found:
      raise UserError(f"--data names {name} twice: {found[name]} and {path}.")
    if not Path(path).exists():
      raise UserError(f"--data {name}={path}: there is no such file or folder.")
    found[name] = path
  return found


def _parse(argv: list[str]) -> tuple[argparse.Namespace, list[str]]:
  arguments = cli.parse(
    argv,
    "Trains every system of a table of the papers of MCR and MIA-Net on your data, "
    "or on synthetic data, and prints it beside what is published.",
    flags=(),
    required=(),
    extra=_arguments,
    overrides=True,
    examples=[
      "python -m mcr_jax.reproduce list",
      "python -m mcr_jax.reproduce mcr-table2:quick --workdir runs/table2",
      "python -m mcr_jax.reproduce mcr-table2 --workdir runs/table2"
      " --data mosi=aligned_50.pkl --data mosi-unaligned=unaligned_50.pkl",
      "python -m mcr_jax.reproduce check runs/table2",
    ],
  )
  return arguments, arguments.overrides


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "table",
    metavar="TABLE",
    help="a table or figure, :quick behind it for synthetic data; list [TABLE] for "
    "their names and needs; check DIR to compute one again from its predictions",
  )
  parser.add_argument("folder", nargs="?", help=argparse.SUPPRESS)
  parser.add_argument("--workdir", metavar="DIR", help="folder of the table")
  parser.add_argument(
    "--data",
    action="append",
    default=[],
    metavar="NAME=FILE",
    help="feature file of one of the data sets that the table reads",
  )
  parser.add_argument(
    "--row",
    action="append",
    default=[],
    metavar="NAME",
    help="do this row alone, and what it comes after; several times for several; the "
    "same workdir takes the others later",
  )
  parser.add_argument(
    "--partial",
    action="store_true",
    help="run the rest where the data makes some rows impossible",
  )
  parser.add_argument(
    "--resume",
    action="store_true",
    help="as without it: a table always goes on where it was stopped",
  )
  parser.add_argument(
    "--search",
    type=int,
    default=0,
    metavar="N",
    help="choose every system's settings among N draws by validation",
  )
  parser.add_argument(
    "--share",
    default="1/1",
    metavar="I/N",
    help="do every N-th run from the I-th on, beside other processes; a last call "
    "without --share makes the table",
  )


if __name__ == "__main__":
  cli.run(main)
