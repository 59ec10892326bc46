"""From points to trained folders and a table.

Points that differ only in numbers train as one program, the others one after another;
each leaves a run folder of its own. A search chooses by the validation split alone:
its points are not evaluated on the test split at all, only the best one is, after it
was trained with all seeds.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from mcr_jax.errors import Interrupted, NonFiniteLoss, UserError
from mcr_jax.runs import workspace
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import load_run
from mcr_jax.runs.shared import Shared
from mcr_jax.sweeps import points, table
from mcr_jax.sweeps import together as fused
from mcr_jax.sweeps.points import Point, Sweep
from mcr_jax.sweeps.share import WHOLE, Share


def sweep(
  config: ConfigDict,
  wanted: Sweep,
  workdir: Path,
  *,
  resume: bool = False,
  together: int = 30,
  share: Share = WHOLE,
  verbose: bool = True,
  facts: dict[str, Any] | None = None,
) -> list[table.Row]:
  """The rows of a sweep; points that are finished in `workdir` are only read.

  Args:
    config: that all points start from.
    wanted: points, or a search.
    workdir: of the sweep, with a folder a point.
    resume: go on with what is unfinished.
    together: trainings (points times seeds) in one program at most.
    share: of the points that this process trains. With only a part of them there are
      no rows: a call for all of them makes the table.
    verbose: print progress and the table.
    facts: further entries of table.json.

  Raises:
    UserError: a point does not fit, or a folder holds something else.
    NonFiniteLoss: every point diverged.
    Interrupted: by a signal, after a checkpoint.
  """
  everything = points.points(config, wanted)
  if (workdir / "config.json").is_file():
    raise UserError(f"{workdir} holds a run; a sweep wants a folder of its own.")
  with share.claim(workdir):
    mine = share.take(everything)
    train_all(mine, workdir, resume=resume, most=together, verbose=verbose)
    if share != WHOLE:
      if verbose:
        left = [point.name for point in everything if not is_done(point, workdir)]
        print(f"\n{share.ending(left)}", flush=True)
      return []
    return _finish(config, wanted, everything, workdir, resume, verbose, facts)


def _finish(config, wanted, everything, workdir, resume, verbose, facts):
  rows = [table.read(point, workdir) for point in everything]
  chosen = table.best(rows)
  if chosen is None:
    first = rows[0]
    raise NonFiniteLoss(
      f"Every point of {workdir} diverged; {first.point.name}: {first.diverged}."
    )
  if wanted.search:
    rows, chosen = _finish_search(
      config, wanted, rows, chosen, workdir, resume, verbose
    )
  if jax.process_index() == 0:
    table.write(rows, chosen, workdir, facts or {})
    if verbose:
      print(f"\n{table.text(rows, chosen)}", flush=True)
      print(f"\nwritten to {workdir}/table.json and table.csv", flush=True)
  return rows


def train_all(
  everything: Sequence[Point],
  workdir: Path,
  *,
  resume: bool,
  most: int,
  verbose: bool,
  heading: Callable[[Sequence[Sequence[Point]]], str] | None = None,
) -> None:
  """Trains the points that are not done, in as few programs as possible.

  Args:
    everything: that this process is to train.
    workdir: with a folder a point.
    resume: go on with what is unfinished.
    most: trainings (points times seeds) in one program.
    verbose: print progress.
    heading: a line from the programs that are left, before each of them.
  """
  left = [point for point in everything if not is_done(point, workdir)]
  begun = fused.begun(everything, workdir)
  inside = {point for part in begun for point in part}
  # Several processes would have to agree on every file of a group.
  most = most if jax.process_count() == 1 else 1
  fresh = [point for point in left if point not in inside]
  parts = begun + fused.groups(fresh, most)
  if not resume:
    _check_not_begun(parts, workdir)
  say = print if verbose and jax.process_index() == 0 else lambda *_, **__: None
  done, shared = len(everything) - len(left), Shared()
  programs = f"{len(parts)} program{'s' * (len(parts) != 1)} to run"
  say(f"{len(everything)} points, {done} done before; {programs}", flush=True)
  for number, part in enumerate(parts, 1):
    names = ", ".join(point.name for point in part)
    say(f"\nprogram {number} of {len(parts)}: {names}", flush=True)
    if heading and (line := heading(parts[number - 1 :])):
      say(line, flush=True)
    try:
      _train(part, workdir, resume, verbose, shared)
    except Interrupted as error:
      raise Interrupted(
        error.exit_code - 128,
        f"Stopped by {error.name} while training {names}; go on with --resume and "
        f"--workdir {workdir}.",
      ) from None


def _train(
  part: Sequence[Point], workdir: Path, resume: bool, verbose: bool, shared: Shared
) -> None:
  if len(part) > 1:
    fused.train(part, workdir, resume=resume, verbose=verbose)
    return
  (point,) = part
  try:
    place = workdir / point.name
    fit(point.config, place, resume=resume, verbose=verbose, shared=shared)
  except NonFiniteLoss as error:
    message = str(error).rstrip(".")
    fused.mark_diverged(workdir / point.name, message)
    if verbose and jax.process_index() == 0:
      print(f"{point.name}: {message}", flush=True)


def is_done(point: Point, workdir: Path) -> bool:
  """Whether a point of a folder is finished, or diverged.

  Raises:
    UserError: its folder holds another run.
  """
  folder = workdir / point.name
  status = workspace.status(folder, point.config, True)
  return status == "finished" or (folder / fused.DIVERGED).is_file()


def _check_not_begun(parts: Sequence[Sequence[Point]], workdir: Path) -> None:
  """Before anything is trained: nothing may be half done without --resume."""
  for part in parts:
    alone = workdir / part[0].name
    folder = alone if len(part) == 1 else fused.group_folder(part, workdir)
    if (folder / "config.json").is_file():
      names = ", ".join(point.name for point in part)
      raise UserError(
        f"{workdir} holds an unfinished sweep (at {names}): go on with --resume, or "
        "choose another --workdir."
      )


def _finish_search(config, wanted, rows, chosen, workdir, resume, verbose):
  """The rows with that of the best point, trained with all seeds and tested."""
  splits = tuple(config.evals.splits)
  if tuple(chosen.point.config.seeds) == tuple(wanted.final_seeds):
    # Trained already: only its test row is missing.
    trained = load_run(workdir / chosen.point.name)
    for split in splits:
      trained.evaluate(split)
    tested = table.read(chosen.point, workdir, splits)
    return [tested if row is chosen else row for row in rows], tested
  final = points.final(config, chosen.point, wanted)
  train_all([final], workdir, resume=resume, most=1, verbose=verbose)
  return [*rows, table.read(final, workdir)], chosen
