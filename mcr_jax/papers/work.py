"""Does what is missing of a plan: trains, tests and counts."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from mcr_jax import evaluators, files
from mcr_jax.errors import Interrupted, UserError
from mcr_jax.papers import efficiency, search
from mcr_jax.papers.jobs import Job
from mcr_jax.papers.origin import ORIGIN, origin
from mcr_jax.papers.plan import RUNS
from mcr_jax.runs.run import load_run
from mcr_jax.sweeps import run as sweeps
from mcr_jax.sweeps import together
from mcr_jax.sweeps.points import Point
from mcr_jax.sweeps.share import Share

COUNTS = "counts.json"
MOST = 30  # trainings (runs times seeds) in one program
Heading = Callable[[Sequence[Sequence[Point]]], str]


def work(
  jobs: Sequence[Job],
  workdir: Path,
  share: Share,
  *,
  draws: int = 0,
  verbose: bool = True,
  heading: Heading | None = None,
) -> list[str]:
  """Does the jobs of a share, and answers which of all are not done then.

  A job goes with the one that it comes after. What is finished is left alone, what was
  stopped goes on where it was, and runs that differ in numbers alone are one program.

  Args:
    jobs: of a plan.
    workdir: of the table.
    share: of the jobs.
    draws: of a search for each; 0 trains them as they are.
    verbose: print progress.
    heading: see `sweeps.run.train_all`.

  Raises:
    Interrupted: by a signal, after a checkpoint.
  """
  folder = workdir / RUNS
  chosen = {job.key for job in share.take([job for job in jobs if not job.after])}
  mine = [job for job in jobs if job.key in chosen or job.after in chosen]
  train = functools.partial(_train, folder=folder, verbose=verbose, heading=heading)
  with share.claim(workdir):
    try:
      for job in (job for job in mine if job.source.counted):
        _count(job, folder)
      trained = [job for job in mine if job.config is not None]
      if draws:
        for job in trained:
          search.search(job, folder, draws, verbose=verbose)
          if not (place := folder / job.key / ORIGIN).is_file():
            files.write_json(place, origin())
      else:
        train([job for job in trained if not job.after])
        train([job for job in trained if job.after and _has(folder, job.after)])
      for job in (job for job in mine if job.source.tests):
        _test(job, folder)
    except Interrupted as error:
      raise Interrupted(
        error.exit_code - 128,
        f"Stopped by {error.name}; the same command goes on where it was.",
      ) from None
  return [job.key for job in jobs if not done(job, folder, draws)]


def check_search(jobs: Sequence[Job], draws: int) -> None:
  """Raises UserError where a search does not suit what is trained."""
  for job in jobs if draws else ():
    if job.after or job.in_folds:
      what = "comes after another run" if job.after else "is trained in folds"
      raise UserError(f"--search {draws} does not suit {job.key}, which {what}.")


def done(job: Job, folder: Path, draws: int = 0) -> bool:
  """Whether nothing of a job is left to do."""
  if job.source.counted:
    return (folder / job.key / COUNTS).is_file()
  if job.config is None:
    tested = (folder / job.key / "eval" / "test.json").is_file()
    return tested or (folder / job.after / together.DIVERGED).is_file()
  if draws:
    return search.chosen(folder / job.key) is not None
  if job.after and (folder / job.after / together.DIVERGED).is_file():
    return True
  return sweeps.is_done(Point(job.key, {}, job.config), folder)


def _has(folder: Path, key: str) -> bool:
  """Whether a run is trained, and did not diverge."""
  return (folder / key / "eval" / "test.json").is_file()


def _train(
  jobs: Sequence[Job], *, folder: Path, verbose: bool, heading: Heading | None
) -> None:
  def said(parts):
    _sign(jobs, folder)
    return heading(parts) if heading else ""

  for several, most in ((False, MOST), (True, 1)):
    points = [Point(j.key, {}, j.config) for j in jobs if j.in_folds == several]
    if points:
      sweeps.train_all(
        points, folder, resume=True, most=most, verbose=verbose, heading=said
      )
  _sign(jobs, folder)


def _sign(jobs: Sequence[Job], folder: Path) -> None:
  """Leaves in what is done by now which program did it; before, it is in the way."""
  for job in jobs:
    place = folder / job.key / ORIGIN
    if not place.is_file() and sweeps.is_done(Point(job.key, {}, job.config), folder):
      files.write_json(place, origin())


def _test(job: Job, folder: Path) -> None:
  """What a run of another data set predicts here."""
  place = folder / job.key
  if _has(folder, job.key) or not _has(folder, job.after):
    return
  run = load_run(folder / job.after)
  dataset = run.read(job.path, labels=True)
  rows = dataset.indices("test")
  if not len(rows):
    raise UserError(f"{dataset.source} has no sample in the split 'test'.")
  part = dataset.select(rows)
  predictions = run.predict(part)
  known = part.labelled
  ids, labels, predictions = part.ids[known], part.labels[known], predictions[:, known]
  files.write_json(place / ORIGIN, origin())
  results = run.summarise(labels, predictions)
  evaluators.write(place, "test", results, ids, labels, predictions)


def _count(job: Job, folder: Path) -> None:
  place = folder / job.key
  if not (place / COUNTS).is_file():
    files.write_json(place / ORIGIN, origin())
    files.write_json(place / COUNTS, efficiency.costs(job.source.counted))
