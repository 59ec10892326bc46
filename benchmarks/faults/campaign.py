"""A row of the campaign: its cases one after another, and the record of how they ended.

The record is written after every case, so that a campaign goes on where it was stopped.
A case depends on the seed and its number alone.
"""

import contextlib
import datetime
import functools
import json
import os
import pathlib
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import ModuleType

from mcr_jax import files
from mcr_jax.errors import UserError
from mcr_jax.runs.progress import duration

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDS = ROOT / "benchmarks" / "results" / "faults"
ROWS = ("writes", "flips", "hostile", "kill", "memory", "pair", "world")
# Of each failure, so many numbers of cases are kept.
KEPT = 20


class Failure(Exception):
  """A case that did not end as it must.

  The text is the same for all of a kind, but for what stands behind " | ".
  """


class Skipped(Exception):
  """A case that cannot be tried here; the text says what it needs."""


def drawn(seed: int, row: str, number: int) -> random.Random:
  """The source of all that is random in a case."""
  return random.Random(f"{seed} {row} {number}")


def run(
  row: str,
  module: ModuleType,
  count: int,
  seed: int,
  *,
  anew: bool = False,
  keep: pathlib.Path | None = None,
) -> dict:
  """Tries the cases that are not done; returns the record.

  Args:
    row: its name.
    module: of the row.
    count: of all its cases, those before included.
    seed: of the cases.
    anew: forget the record.
    keep: where the folders of failed cases stay.
  """
  record = _begun(row, seed) if anew else load(row) or _begun(row, seed)
  if record["seed"] != seed:
    raise UserError(
      f"{path_of(row)} is of --seed {record['seed']}, not {seed}: go on with that one, "
      "or begin --anew."
    )
  record["done"] = min(record["done"], count) if anew else record["done"]
  began, first = time.monotonic(), record["done"]
  with _tried(row, module, seed, record, keep) as attempt:
    for number in range(first, count):
      shown = attempt(number)
      record["done"] = number + 1
      _write(row, record)
      left = (time.monotonic() - began) / (number + 1 - first) * (count - number - 1)
      failed = sum(x["count"] for x in record["failures"])
      print(
        f"{row} {number + 1}/{count}, {failed} failed, {duration(left)} left: {shown}",
        flush=True,
      )
  return record


def again(
  row: str, module: ModuleType, because: str, keep: pathlib.Path | None = None
) -> dict:
  """Tries the failed cases once more, and notes what became of those that hold now.

  Args:
    row: its name.
    module: of the row.
    because: what was done about them.
    keep: as in `run`.
  """
  record = load(row)
  if record is None:
    raise UserError(f"{path_of(row)} is missing: there is nothing to try again.")
  scratch = _begun(row, record["seed"])
  with _tried(row, module, record["seed"], scratch, keep) as attempt:
    for failure in [x for x in record["failures"] if not x["became"]]:
      ended = [(number, attempt(number)) for number in failure["cases"]]
      for number, said in ended:
        print(f"{row}, case {number}: {said}", flush=True)
      if not any(said.startswith("FAILED") for _, said in ended):
        failure["became"] = because or f"holds since {commit()}"
  record["cpu_seconds"] = round(record["cpu_seconds"] + scratch["cpu_seconds"], 1)
  _write(row, record)
  return record


def load(row: str) -> dict | None:
  """The record of a row, or None where there is none."""
  path = path_of(row)
  return json.loads(path.read_text("utf-8")) if path.is_file() else None


def path_of(row: str) -> pathlib.Path:
  """Where the record of a row lies."""
  return RECORDS / f"{row}.json"


@contextlib.contextmanager
def _tried(row, module, seed, record, keep):
  """The function that tries a case, adds it to a record and says how it ended."""
  place = str(keep.absolute()) if keep else None
  if keep:
    keep.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    # Not a TemporaryDirectory, which would go with the first child that ends.
    folder = pathlib.Path(tempfile.mkdtemp(prefix="faults-", dir=place))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    case = stack.enter_context(module.cases(folder, seed))

    def attempt(number: int) -> str:
      before, began = _cpu(), time.monotonic()
      try:
        outcome = case(number)
      except Failure as error:
        outcome = f"FAILED: {error}"
        _add_failure(record, str(error).partition(" | ")[0], number)
        if keep:
          _keep(folder, keep, number)
      except Skipped as error:
        outcome = f"not tried: {error}"
      counted = outcome.partition(" | ")[0]
      record["outcomes"][counted] = record["outcomes"].get(counted, 0) + 1
      record["cpu_seconds"] = round(record["cpu_seconds"] + _cpu() - before, 1)
      record["wall_seconds"] = round(
        record["wall_seconds"] + time.monotonic() - began, 1
      )
      return outcome

    yield attempt


def _begun(row: str, seed: int) -> dict:
  return {
    "row": row,
    "seed": seed,
    "done": 0,
    "cpu_seconds": 0.0,
    "wall_seconds": 0.0,
    "commits": [],
    "machine": "",
    "date": "",
    "outcomes": {},
    "failures": [],
  }


def _add_failure(record: dict, what: str, number: int) -> None:
  known = {x["what"]: x for x in record["failures"] if not x["became"]}
  if what not in known:
    known[what] = {"what": what, "count": 0, "cases": [], "became": ""}
    record["failures"].append(known[what])
  known[what]["count"] += 1
  known[what]["cases"] = [*known[what]["cases"], number][:KEPT]


def _write(row: str, record: dict) -> None:
  if (here := commit()) not in record["commits"]:
    record["commits"].append(here)
  record["machine"] = machine()
  record["date"] = datetime.date.today().isoformat()
  files.write_json(path_of(row), record)


def _keep(folder: pathlib.Path, keep: pathlib.Path, number: int) -> None:
  case = folder / "case"
  if case.exists():
    shutil.copytree(case, keep / f"case{number}", symlinks=True, dirs_exist_ok=True)


def _cpu() -> float:
  """Seconds of this process and of those that it waited for."""
  kinds = resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN
  both = map(resource.getrusage, kinds)
  return sum(x.ru_utime + x.ru_stime for x in both)


@functools.cache
def commit() -> str:
  """The short name of the checkout's commit, with + where it was changed.

  As this process began: what is checked out later is not what it runs.
  """
  git = lambda *words: subprocess.run(
    ["git", *words], cwd=ROOT, capture_output=True, text=True
  ).stdout.strip()
  changed = git("status", "--porcelain", "--untracked-files=no", "--", "mcr_jax")
  return git("rev-parse", "--short", "HEAD") + "+" * bool(changed)


def machine() -> str:
  """What the cases ran on."""
  system = f"{platform.system()} {platform.release()}"
  return f"{os.cpu_count()} cores, {system}, Python {platform.python_version()}"


def main(module_of: Callable[[str], ModuleType], arguments) -> int:
  """Runs the row that the arguments name; 1 where a failure is open."""
  module = module_of(arguments.row)
  if arguments.again:
    record = again(arguments.row, module, arguments.because, arguments.keep)
  else:
    count = module.COUNT if arguments.count is None else arguments.count
    record = run(
      arguments.row,
      module,
      count,
      arguments.seed,
      anew=arguments.anew,
      keep=arguments.keep,
    )
  for what, number in sorted(record["outcomes"].items(), key=lambda x: -x[1]):
    print(f"{number:7,}  {what}")
  still = [x for x in record["failures"] if not x["became"]]
  for failure in still:
    print(f"open: {failure['what']} (cases {failure['cases']})", file=sys.stderr)
  return 1 if still else 0
