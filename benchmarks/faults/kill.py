"""kill -9, at moments drawn from the time of a program, and inside its writes."""

import contextlib
import json
import os
import pathlib
import signal
import zipfile
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.faults import inject, jobs, subject
from benchmarks.faults.campaign import Failure, drawn

WHAT = "kill -9 of train, sweep, evaluate and convert, at a random moment or write"
MUST = "the next call ends bit-equal to the undisturbed, nothing half-written"
COUNT = 200
# Training has the most to lose.
TURNS = ("train", "sweep", "train", "evaluate", "train", "sweep", "train", "convert")
# A program that was killed may be killed again while it goes on.
TIMES = (1, 1, 2)


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`; a case is a program, killed once or twice, to its end."""
  inject.load()
  subject.preload()
  known = jobs.make(folder)
  wholes = {n: jobs.undisturbed(job, folder / f"of_{n}") for n, job in known.items()}
  sites = {name: writes(job, folder / "count") for name, job in known.items()}

  def case(number: int) -> str:
    source = drawn(seed, "kill", number)
    job = known[TURNS[number % len(TURNS)]]
    result, seconds = wholes[job.name]
    place = folder / "case" / "disk" / job.name
    subject.empty(place.parent)
    job.ready(place)
    moments = []
    for turn in range(source.choice(TIMES)):
      moment = one(job, place, source, seconds, sites[job.name], again=turn > 0)
      moments.append(moment)
      check_whole_files(place)
    subject.whole(job.start(place, again=True).ended())
    subject.check_equal(place, result)
    killed = sum(x != "at its end" for x in moments)
    return f"{job.name}, killed {killed} x: equal | {'; '.join(moments)}"

  yield case


def one(job, place, source, seconds, count, *, again: bool) -> str:
  """Starts a program and kills it; says when."""
  if source.random() < 0.5:
    site = source.randrange(count)
    program = job.start(
      place, again=again, before=lambda: inject.arm(place, site, inject.KILL)
    )
    ended = program.ended()
    moment = f"in write {site}"
  else:
    program = job.start(place, again=again)
    after = source.uniform(0, 1.1 * seconds)
    if (code := program.wait(after)) is not None:
      if code:
        raise Failure(f"ended with {code} before it was killed")
      return "at its end"
    os.kill(program.pid, signal.SIGKILL)
    ended = program.ended()
    moment = f"after {after:.2f} s"
  if ended.code == 0:
    return "at its end"
  if ended.code != -signal.SIGKILL:
    raise Failure(f"ended with {ended.code}: {subject.first_words(ended.err)}")
  return moment


def writes(job: jobs.Job, place: pathlib.Path, error: int = inject.KILL) -> int:
  """How many calls of a job can be hit, in a process that nothing happens to."""
  job.ready(place)
  read, write = os.pipe()

  def before():
    import atexit

    inject.arm(place, -1, error)
    atexit.register(lambda: os.write(write, str(inject.seen()).encode()))

  subject.whole(job.start(place, before=before).ended())
  os.close(write)
  with open(read) as pipe:
    return int(pipe.read())


def check_whole_files(place: pathlib.Path) -> None:
  """Raises Failure where a file under its final name is not all there."""
  for path in place.rglob("*"):
    if path.name.startswith(".") or "checkpoints" in path.relative_to(place).parts:
      continue
    try:
      if path.suffix == ".json":
        json.loads(path.read_bytes())
      elif path.suffix == ".npz":
        with np.load(path) as arrays:
          dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
      raise Failure(f"{path.name} is half-written ({type(error).__name__})") from error
