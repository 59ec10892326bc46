"""A disk that is full, read-only or broken from one call of a program on.

Most cases make one call fail, and all after it, by `inject`: so every place where a
program writes is met. The others have real ones, see `disks`.
"""

import contextlib
import errno
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator

from benchmarks.faults import disks, inject, jobs, kill, subject
from benchmarks.faults.campaign import Failure, drawn

WHAT = "full disk, quota, read-only, no permission, broken disk, limit on file size"
MUST = "one line, the last checkpoint whole, the next call ends bit-equal"
COUNT = 800
ERRORS = (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT, errno.EIO)
TURNS = ("train", "sweep", "train", "evaluate", "train", "sweep", "train", "convert")


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`; a case is a program that meets the fault, and its next call."""
  inject.load()
  subject.preload()
  known = jobs.make(folder)
  wholes = {n: jobs.undisturbed(job, folder / f"of_{n}") for n, job in known.items()}
  sites = {}

  def case(number: int) -> str:
    source = drawn(seed, "writes", number)
    job = known[TURNS[number % len(TURNS)]]
    place = folder / "case" / "disk" / job.name
    subject.empty(place.parent)
    if number % 10 == 9:
      way = source.choice(sorted(disks.WAYS))
      said = disks.WAYS[way](job, place, source)
    else:
      error = ERRORS[source.randrange(len(ERRORS))]
      if (job.name, error) not in sites:
        sites[job.name, error] = kill.writes(job, folder / "count", error)
      way = errno.errorcode[error]
      said = injected(job, place, error, source.randrange(sites[job.name, error]))
    try:
      subject.whole(job.start(place, again=True).ended())
      subject.check_equal(place, wholes[job.name][0])
    except Failure as failure:
      raise Failure(f"the next call {failure} | after {way}, {said}") from failure
    finally:
      disks.release(place.parent)
    return f"{job.name}, {way} | {said}"

  yield case


def injected(job: jobs.Job, place: pathlib.Path, error: int, site: int) -> str:
  """Lets a call fail; says which, and what the program said."""
  job.ready(place)
  with tempfile.TemporaryFile() as report:
    number = report.fileno()
    os.set_inheritable(number, True)
    before = lambda: inject.arm(place, site, error, number)
    ended = job.start(place, before=before).ended()
    report.seek(0)
    where = report.read().decode()
  return judged(ended, f"in {subject.first_words(where)}" if where else "")


def judged(ended: subject.Ended, where: str) -> str:
  """How a program met a fault at a place; Failure where not in one line."""
  if ended.code == 0:
    return f"{where}: ended well"
  try:
    return f"{where}: {subject.first_words(subject.one_line(ended))}"
  except Failure as failure:
    raise Failure(f"{failure} | {where}") from failure
