"""Trains every system of `configs/systems.py` in turn, and prints a table.

A training is a process of its own, and ends after so many seconds of CPU. What ended
well is not run again; what failed or was stopped is. `bin/quick_systems` and
`bin/overfit_systems` say what to train and what to make of it, as a `Look`.
"""

import argparse
import dataclasses
import json
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

ROOT = pathlib.Path(__file__).resolve().parent.parent


@dataclasses.dataclass(frozen=True)
class Look:
  """What a program wants to know of each system.

  Attributes:
    flags: of the training of a system in a folder, behind its `quick` settings.
    reached: from the folder of a run to what the table shows of it.
    verdict: from that to a word on it.
    right: verdicts that are as they should be.
    wrong: other verdicts that a second run would not change.
    columns: of the table, between the name and the seconds of CPU.
    cells: what stands there; of a run that failed, too.
  """

  flags: Callable[[str, pathlib.Path], list[str]]
  reached: Callable[[pathlib.Path, str], dict]
  verdict: Callable[[dict], str]
  right: Sequence[str]
  wrong: Sequence[str]
  columns: Sequence[str]
  cells: Callable[[dict], list[str]]


def main(about: str, out: str, look: Look) -> int:
  """The exit code of a program: 1 if a system is not as it should be."""
  parser = argparse.ArgumentParser(description=about.splitlines()[0])
  parser.add_argument("names", nargs="*", metavar="NAME")
  parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(out))
  parser.add_argument("--seconds", type=int, default=1800, help="of CPU, a system")
  flags = sys.argv[1:]
  own = flags.index("--") if "--" in flags else len(flags)
  asked, more = parser.parse_args(flags[:own]), flags[own + 1 :]
  names = asked.names or every()
  asked.out.mkdir(parents=True, exist_ok=True)
  signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # not without the child
  found = {}
  for name in names:
    found[name] = one(look, name, asked.out / name, asked.seconds, more)
    print(line(look, name, found[name]), file=sys.stderr, flush=True)
  head = ["system", *look.columns, "CPU s", "peak MB", "outcome"]
  print(machine(), f"| {' | '.join(head)} |", "|---" * len(head) + "|", sep="\n")
  for name in names:
    print(line(look, name, found[name]))
  return int(any(x["outcome"] not in look.right for x in found.values()))


def every() -> list[str]:
  """All systems, with what makes one small enough for a look."""
  from configs import systems

  small = lambda entry: ",small" if "small" in entry else ""
  return sorted(name + small(entry) for name, entry in systems.SYSTEMS.items())


def one(
  look: Look, name: str, folder: pathlib.Path, seconds: int, more: list[str]
) -> dict:
  """What became of a system, from its folder if it has ended before."""
  saved = folder / "look.json"
  if saved.exists():
    result = json.loads(saved.read_text("utf-8"))
    ended = (*look.right, *look.wrong)
    if result["outcome"] in ended and result["flags"] == more:
      return result
  shutil.rmtree(folder, ignore_errors=True)
  folder.mkdir(parents=True)
  flags = look.flags(name, folder.resolve())
  code, cost = train(name, folder, seconds, [*flags, *more])
  result = {"flags": more, **cost}
  try:
    if code == 0:
      result |= look.reached(folder / "run", name)
      result["outcome"] = look.verdict(result)
    else:
      result["outcome"] = why(code, folder, seconds)
  except Exception as error:  # the table goes on without this one
    result["outcome"] = f"unreadable: {error}"
  shutil.rmtree(folder / "cache", ignore_errors=True)
  saved.write_text(json.dumps(result, indent=1), "utf-8")
  return result


def train(name, folder, seconds, flags) -> tuple[int, dict]:
  """The exit code of a training, with its seconds of CPU and its peak memory."""
  # A shell sets the limit: this process has threads by now, and must not fork.
  command = ["sh", "-c", f'ulimit -t {seconds}; exec "$0" "$@"', sys.executable]
  command += ["-m", "mcr_jax.train", "--config", f"systems:{name},quick"]
  command += ["--workdir", str(folder / "run"), *flags]
  paths = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
  # What another process has compiled would flatter this one.
  cold = {"JAX_COMPILATION_CACHE_DIR": str(folder.resolve() / "cache")}
  env = {**os.environ, "PYTHONPATH": paths, **cold}
  with open(folder / "log.txt", "wb") as log:
    child = subprocess.Popen(command, cwd=ROOT, env=env, stdout=log, stderr=log)
    try:
      _, status, used = os.wait4(child.pid, 0)
    except BaseException:
      child.kill()
      raise
  child.returncode = os.waitstatus_to_exitcode(status)
  cost = {"cpu_s": used.ru_utime + used.ru_stime, "peak_mb": used.ru_maxrss / 1024}
  return child.returncode, cost


def why(code: int, folder: pathlib.Path, seconds: int) -> str:
  """Why a training has no result."""
  if code < 0:
    late = -code in (signal.SIGXCPU, signal.SIGKILL)
    return f"stopped after {seconds} s of CPU" if late else f"signal {-code}"
  lines = (folder / "log.txt").read_text("utf-8", "replace").split("\n")
  return f"exit code {code}: {next((x for x in lines[::-1] if x.strip()), '')[:100]}"


def line(look: Look, name: str, result: dict) -> str:
  """A row of the table."""
  cells = [name, *look.cells(result), number(result, "cpu_s", 0)]
  return f"| {' | '.join([*cells, number(result, 'peak_mb', 0), result['outcome']])} |"


def number(result: dict, key: str, digits: int) -> str:
  """As the table has it, or nothing."""
  return f"{result[key]:.{digits}f}" if key in result else ""


def machine() -> str:
  """The machine, the versions and the day."""
  import importlib.metadata

  from benchmarks import peaks

  flax = f"flax {importlib.metadata.version('flax')}"
  python = f"python {platform.python_version()}"
  return f"{peaks.machine()}, {flax}, {python}, {time.strftime('%F')}\n"
