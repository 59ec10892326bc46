"""Less memory than a program takes, at any of its stages.

The limit is on the addresses of the process (`ulimit -v`), beyond what it has when its
work begins. Allocations of Python, NumPy, XLA and TensorStore all count.
"""

import contextlib
import pathlib
import resource
import signal
from collections.abc import Callable, Iterator

from benchmarks.faults import jobs, subject
from benchmarks.faults.campaign import Failure, drawn

WHAT = "limit of memory while data is read, while compiling and while training"
MUST = "one line, and the next call without a limit ends bit-equal"
COUNT = 50
TURNS = ("train", "train", "convert", "sweep", "train", "evaluate")
# Megabytes beyond what importing takes; the programs need more than the most of it.
LEAST, MOST = 4, 12_000
TOLD = "mcr_jax: ulimit -v is "


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`."""
  subject.preload()
  known = jobs.make(folder)
  wholes = {n: jobs.undisturbed(job, folder / f"of_{n}") for n, job in known.items()}

  def case(number: int) -> str:
    source = drawn(seed, "memory", number)
    job = known[TURNS[number % len(TURNS)]]
    place = folder / "case" / "disk" / job.name
    subject.empty(place.parent)
    job.ready(place)
    room = int(LEAST * (MOST / LEAST) ** source.random() * 2**20)
    ended = job.start(place, before=lambda: limit(room)).ended()
    said = "it sufficed"
    told = ended.err.startswith(TOLD)
    if told:
      ended = ended._replace(err=ended.err.partition("\n")[2])
    if ended.code < 0 and told:
      # In C++, where nothing can catch it; the line before has said it.
      said = f"told, then {signal.Signals(-ended.code).name} of JAX's own"
    elif ended.code < 0:
      raise Failure(f"aborts: {subject.first_words(ended.err)} | {room >> 20} MB")
    elif ended.code:
      try:
        said = subject.first_words(subject.one_line(ended))
      except Failure as failure:
        raise Failure(f"{failure} | {room >> 20} MB") from failure
    subject.whole(job.start(place, again=True).ended())
    subject.check_equal(place, wholes[job.name][0])
    return f"{job.name}: {said} | {room >> 20} MB"

  yield case


def limit(room: int) -> None:
  """Lets this process take `room` bytes more of addresses than it has."""
  pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
  most = pages * resource.getpagesize() + room
  resource.setrlimit(resource.RLIMIT_AS, (most, most))
