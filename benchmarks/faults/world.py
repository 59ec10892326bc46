"""What surrounds a program is odd: its clock, its language, its names, its size."""

import contextlib
import locale
import os
import pathlib
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np

from benchmarks.faults import inject, jobs, subject
from benchmarks.faults.campaign import ROOT, Failure, Skipped

WHAT = "clock jumps, 2038, locales, hash seeds, 100,000 samples, long names, a move"
MUST = "as if nothing"
YEAR = 365 * 86_400
TOO_LATE = 2**31  # seconds since 1970, in January 2038


@contextlib.contextmanager
def cases(folder: pathlib.Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`; every case is another one of `ODD`."""
  inject.load()
  subject.preload()
  known = jobs.make(folder)
  train = known["train"]
  expected, _ = jobs.undisturbed(train, folder / "of_train")

  def case(number: int) -> str:
    name = list(ODD)[number]
    place = folder / "case" / "disk" / "train"
    subject.empty(place.parent)
    found = ODD[name](known, place)
    if found is not None:
      subject.check_equal(found, expected)
    return f"{name}: as if nothing"

  yield case


def _clock(seconds: Callable[[], int], every: int = 0):
  def odd(known, place):
    before = lambda: inject.clock(seconds(), every)
    subject.whole(known["train"].start(place, before=before).ended())
    return place

  return odd


def _environment(**changes: str):
  """The whole command line: all of this is read when Python starts."""

  def odd(known, place):
    name = changes.get("LC_ALL", "C")
    try:
      before = locale.setlocale(locale.LC_ALL)
      locale.setlocale(locale.LC_ALL, name)
      locale.setlocale(locale.LC_ALL, before)
    except locale.Error:
      raise Skipped(f"needs the locale {name}") from None
    arguments = known["train"].arguments(place)
    done = subprocess.run(
      [sys.executable, "-m", "mcr_jax.train", *arguments],
      cwd=ROOT,
      env=os.environ | changes,
      capture_output=True,
      text=True,
      errors="replace",
    )
    subject.whole(subject.Ended(done.returncode, done.stdout, done.stderr, 0.0))
    return place

  return odd


def _many(known, place):
  """100,000 samples of a few numbers."""
  count, random = 100_000, np.random.default_rng(0)
  text = random.normal(size=(count, 3)).astype(np.float32)
  split = np.array(["train"] * 80_000 + ["valid"] * 10_000 + ["test"] * 10_000)
  ids = np.char.add("sample_", np.arange(count).astype(str))
  path = place.parent / "many.npz"
  np.savez(path, id=ids, split=split, label=text[:, 0], text=text)
  more = (f"--config.data.path={path}", "--config.train.batch_size=8192")
  more += ("--config.train.checkpoint_seconds=600", "--config.train.epochs=1")
  arguments = [*known["train"].arguments(place), *more]
  logs = place.parent.with_name("disk.said")
  subject.whole(subject.Program("mcr_jax.train", arguments, logs).ended())
  return None


def _long_names(known, place):
  """255 bytes are the most that file systems allow: of a folder, and of a file."""
  folder = place.with_name("é" * 127 + "x")
  subject.whole(known["train"].start(folder).ended())
  convert = known["convert"]
  out = str(place.parent / ("x" * 251 + ".npz"))
  given = [*convert.arguments(place)[:2], out]
  logs = place.parent.with_name("disk.said")
  subject.whole(subject.Program(convert.module, given, logs).ended())
  if sorted(x.name for x in place.parent.iterdir()) != sorted(
    [folder.name, out[-255:]]
  ):
    raise Failure("leaves other files beside a long name")
  return folder


def _moved(known, place):
  """An unfinished run goes on, and a finished one evaluates, where it was moved to."""
  program = known["train"].start(place)
  while not list(place.glob("checkpoints/last/*/_METADATA")):
    if program.wait(0.02) is not None:
      break
  with contextlib.suppress(ProcessLookupError):
    os.kill(program.pid, 9)
  program.ended()
  other = place.with_name("moved")
  shutil.move(place, other)
  subject.whole(known["train"].start(other, again=True).ended())
  last = place.with_name("moved again")
  shutil.move(other, last)
  subject.whole(known["evaluate"].start(last).ended())
  return last


ODD: dict[str, Callable] = {
  "a clock a year ahead": _clock(lambda: YEAR),
  "a clock a year behind": _clock(lambda: -YEAR),
  "a clock that jumps by a year": _clock(lambda: YEAR, 7),
  "a clock that jumps back by a year": _clock(lambda: -YEAR, 7),
  "2038": _clock(lambda: TOO_LATE - int(time.time()) + 60),
  "the step into 2038": _clock(lambda: TOO_LATE - int(time.time()) + 60, 50),
  "1970": _clock(lambda: -int(time.time()) + 1),
  "locale C": _environment(LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0"),
  "locale POSIX": _environment(LC_ALL="POSIX", LANG="", PYTHONIOENCODING="ascii"),
  "locale tr_TR": _environment(LC_ALL="tr_TR.UTF-8", LANG="tr_TR.UTF-8"),
  "PYTHONHASHSEED=0": _environment(PYTHONHASHSEED="0"),
  "PYTHONHASHSEED=4242": _environment(PYTHONHASHSEED="4242"),
  "100,000 samples": _many,
  "names of 255 bytes": _long_names,
  "a folder that is moved": _moved,
}
COUNT = len(ODD)
