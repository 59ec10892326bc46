"""Two processes of one run on this machine, one of which is killed, stopped or slowed.

They meet through a socket, in a network of their own that can be cut. The other one
must end by itself: with code 5 and a line that says why, or aborted by JAX where its
coordinator is gone. Then both are started again.
"""

import contextlib
import ctypes
import os
import pathlib
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator

from benchmarks.faults import jobs, subject
from benchmarks.faults.campaign import Failure, Skipped, drawn

WHAT = "two processes, one of them killed, stopped, slowed, or their network cut"
MUST = "the other ends with 5 (or 134 of JAX's own) in 60 s; both resume bit-equal"
COUNT = 50
WAYS = ("kill", "stop", "slow", "cut")
LIMIT = 60
# Codes of one who lost the other; JAX's own abort is 134 to a shell.
ENDS = (5, -signal.SIGABRT)
NEWNET = 0x40000000
MORE = ("--config.mesh.data=2", "--config.data.buckets=1", "--resume")


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`."""
  if os.geteuid():
    raise Skipped("needs root, for a network of its own")
  subject.preload()
  train = jobs.make(folder)["train"]
  for name in ("compiling", "whole"):
    with Pair(train, folder / name / "run") as pair:
      seconds = pair.together()
  expected = subject.results(folder / "whole" / "run")

  def case(number: int) -> str:
    source, way = drawn(seed, "pair", number), WAYS[number % len(WAYS)]
    place = subject.empty(folder / "case") / "run"
    with Pair(train, place) as pair:
      victim, moment = source.randrange(2), source.uniform(0.2, 0.95) * seconds
      said = FAULTS[way](pair, victim, moment)
    with Pair(train, place) as pair:
      pair.together()
    subject.check_equal(place, expected)
    return f"{way}: {said}, resumed bit-equal | process {victim} after {moment:.1f} s"

  yield case


class Pair:
  """Both processes, in a network that only they have."""

  def __init__(self, job: jobs.Job, place: pathlib.Path):
    place.parent.mkdir(parents=True, exist_ok=True)
    self.job, self.place = job, place

  def __enter__(self) -> "Pair":
    self.holder = subprocess.Popen(["unshare", "--net", "sleep", "3600"])
    namespace = f"/proc/{self.holder.pid}/ns/net"
    while os.readlink(namespace) == os.readlink("/proc/self/ns/net"):
      time.sleep(0.01)
    self.link("up")
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      port = probe.getsockname()[1]

    def enter():
      with open(namespace) as file:
        if ctypes.CDLL(None).setns(file.fileno(), NEWNET):
          raise OSError("setns")

    self.began, self.both = time.monotonic(), []
    for index in range(2):
      given = [*self.job.arguments(self.place), *MORE]
      given += ["--coordinator", f"127.0.0.1:{port},2,{index}"]
      logs = self.place.parent / f"said{index}"
      self.both.append(subject.Program(self.job.module, given, logs, enter))
    return self

  def __exit__(self, *_) -> None:
    for program in self.both:
      if program.wait(0) is None:
        os.kill(program.pid, signal.SIGKILL)
        program.wait(subject.LIMIT)
    self.holder.kill()
    self.holder.wait()

  def link(self, state: str) -> None:
    """The network, "up" or "down"."""
    command = ["nsenter", "--net", "--target", str(self.holder.pid)]
    subprocess.run([*command, "ip", "link", "set", "lo", state], check=True)

  def together(self) -> float:
    """Both end well; seconds."""
    for program in self.both:
      subject.whole(program.ended())
    return time.monotonic() - self.began

  def lost(self, index: int, began: float) -> str:
    """How a process ends that has lost the other, or its network."""
    program = self.both[index]
    if program.wait(LIMIT - (time.monotonic() - began)) is None:
      if not (self.place / "config.json").is_file():
        # Whoever has not met the other yet waits five minutes for it.
        return "had not met it"
      raise Failure(f"does not end within {LIMIT} s of the loss of the other")
    ended = program.ended()
    if ended.code == 0:
      return "was through"
    if ended.code not in ENDS:
      raise Failure(f"ended with {ended.code}: {subject.first_words(ended.err)}")
    if ended.code == 5:
      subject.one_line(ended, (5,))
    return f"other ended with {128 - ended.code if ended.code < 0 else ended.code}"


def _kill(pair: Pair, victim: int, moment: float) -> str:
  if pair.both[victim].wait(moment) is None:
    os.kill(pair.both[victim].pid, signal.SIGKILL)
  return pair.lost(1 - victim, time.monotonic())


def _stop(pair: Pair, victim: int, moment: float) -> str:
  """A process that stands still, and later finds that the other is gone."""
  if pair.both[victim].wait(moment) is not None:
    return "was through"
  os.kill(pair.both[victim].pid, signal.SIGSTOP)
  said = pair.lost(1 - victim, time.monotonic())
  os.kill(pair.both[victim].pid, signal.SIGCONT)
  pair.lost(victim, time.monotonic())
  return said


def _slow(pair: Pair, victim: int, moment: float) -> str:
  """A process that stands still half of the time: nobody is lost."""
  program, until = pair.both[victim], time.monotonic() + 20
  program.wait(moment / 2)
  while time.monotonic() < until and program.wait(0.3) is None:
    os.kill(program.pid, signal.SIGSTOP)
    time.sleep(0.3)
    os.kill(program.pid, signal.SIGCONT)
  pair.together()
  return "went on"


def _cut(pair: Pair, victim: int, moment: float) -> str:
  pair.both[victim].wait(moment)
  pair.link("down")
  began = time.monotonic()
  return " and ".join({pair.lost(0, began), pair.lost(1, began)})


FAULTS = {"kill": _kill, "stop": _stop, "slow": _slow, "cut": _cut}
