"""Points that differ only in numbers, as members of one program beside the seeds.

Such numbers (`training.recipe.numbers_of`) are arguments of the program, one
for each member. The group is a run of its own in a hidden folder, with checkpoints;
when it is done, every point gets the folder that training it alone would have left.
"""

import contextlib
import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.config import chosen
from mcr_jax.evaluators import Evaluation
from mcr_jax.files import digest
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs import workspace, writer
from mcr_jax.runs.checkpoint import Checkpoints, remove
from mcr_jax.runs.run import Run
from mcr_jax.runs.trainer import Trainer
from mcr_jax.sweeps.points import Point
from mcr_jax.training import optim
from mcr_jax.training.recipe import numbers_of

FOLDER = ".together"
DIVERGED = "diverged.json"
MEMBERS = "members.json"


def groups(points: Sequence[Point], most: int) -> list[list[Point]]:
  """Points that can share a program, at most `most` trainings in each."""
  found: dict[str, list[list[Point]]] = {}
  for point in points:
    parts = found.setdefault(_program(point.config), [[]])
    if (len(parts[-1]) + 1) * len(point.config.seeds) > most and parts[-1]:
      parts.append([])
    parts[-1].append(point)
  return [part for parts in found.values() for part in parts]


def train(
  points: Sequence[Point], workdir: Path, *, resume: bool, verbose: bool = True
) -> None:
  """Trains a group and leaves the folder of every point in `workdir`.

  Args:
    points: of one group.
    workdir: of the sweep.
    resume: go on with an unfinished group.
    verbose: as in `runs.fit.fit`.
  """
  folder = group_folder(points, workdir)
  with workspace.claim(folder):
    _train(points, workdir, folder, resume, verbose)
  _forget(folder)


def _train(points, workdir, folder, resume, verbose) -> None:
  status = workspace.status(folder, points[0].config, resume)
  trainer = Group(points, folder, verbose=verbose)
  trainer.begin(resume=status != "new")
  trainer.run()
  trainer.verbose = False  # tables over all members at once mean nothing
  run = trainer.finish()
  entries = writer.read(folder / "metrics.jsonl")
  evaluations = {
    split: evaluators.read(folder, split) for split in run.config.evals.splits
  }
  for point, members in trainer.members.items():
    if not (workdir / point.name).exists():
      _part(point, members, trainer, run, entries, evaluations, workdir)


def _forget(folder: Path) -> None:
  """Deletes a group's folder, and that of all groups if it was the last."""
  remove(folder)
  _leave(folder.parent)


def _leave(groups: Path) -> None:
  """Deletes the folder of all groups, unless another one is there."""
  with contextlib.suppress(OSError):
    groups.rmdir()


def group_folder(points: Sequence[Point], workdir: Path) -> Path:
  """Where a group trains; other points, another folder."""
  text = "".join(configs.to_json(point.config) for point in points)
  return workdir / FOLDER / digest([text.encode()])[:12]


def begun(points: Sequence[Point], workdir: Path) -> list[list[Point]]:
  """The groups of an earlier call that are not done, if their points are the same."""
  by_name, found = {point.name: point for point in points}, []
  for left in (workdir / FOLDER).glob("*.deleted"):
    shutil.rmtree(left, ignore_errors=True)
    _leave(left.parent)
  for listed in sorted((workdir / FOLDER).glob(f"*/{MEMBERS}")):
    names = read_json(listed, list)
    group = [by_name[name] for name in names if name in by_name]
    if group_folder(group, workdir) != listed.parent:
      continue
    if all((workdir / name).exists() for name in names):
      _forget(listed.parent)  # stopped after the folder of the last point
    else:
      found.append(group)
  return found


def read_json(path: Path, kind: type) -> Any:
  """What a file of a sweep says.

  Raises:
    UserError: it is damaged.
  """
  try:
    found = json.loads(path.read_text("utf-8"))
  except ValueError:
    found = None
  if not isinstance(found, kind):
    raise UserError(
      f"{path} is damaged: delete {path.parent}, and what it stands for is trained "
      "anew."
    )
  return found


def mark_diverged(folder: Path, message: str) -> None:
  """Notes in a point's folder that training it again would be in vain."""
  writer.Writer(folder).write_json(DIVERGED, {"message": message})


class Group(Trainer):
  """A trainer of all members, which sets aside those whose loss is not finite."""

  def __init__(self, points: Sequence[Point], folder: Path, *, verbose: bool):
    first = points[0].config
    count = len(first.seeds)
    self.members = {
      point: slice(i * count, (i + 1) * count) for i, point in enumerate(points)
    }
    values = [configs.flatten(point.config) for point in points]
    differing = [name for name in values[0] if len({repr(v[name]) for v in values}) > 1]
    numbers = {name: np.repeat([v[name] for v in values], count) for name in differing}
    self._lost = folder / DIVERGED
    self.diverged = read_json(self._lost, dict) if self._lost.is_file() else {}
    super().__init__(
      first,
      folder,
      seeds=first.seeds * len(points),
      numbers=numbers,
      verbose=verbose,
    )

  def begin(self, *, resume: bool = False) -> None:
    """Claims the folder, or goes on, and leaves word of who is in it."""
    self.start(resume=resume)
    self.writer.write_json(MEMBERS, [point.name for point in self.members])

  def _check_finite(self) -> None:
    """Stops the seeds of a point that diverged; the others go on."""
    loop, steps = self.loop, self.loop.bad_steps()
    for point, members in self.members.items():
      bad = np.flatnonzero(steps[members] >= 0)
      if len(bad) and point.name not in self.diverged:
        step = int(steps[members][bad].min())
        where = f"epoch {step // loop.steps + 1}, step {step % loop.steps + 1}"
        seeds = ", ".join(str(point.config.seeds[i]) for i in bad)
        message = f"the loss of seed {seeds} is not finite, first in {where}"
        self.diverged[point.name] = message
        self.writer.write_json(DIVERGED, self.diverged)
        self._say(f"{point.name}: {message}")
      if point.name in self.diverged:
        loop.selection["active"][members] = False


def _part(point, members, trainer, run, entries, evaluations, workdir) -> None:
  """The folder of one point, under its name only when all of it is there."""
  final, folder = workdir / point.name, workdir / FOLDER / f"{point.name}.partial"
  shutil.rmtree(folder, ignore_errors=True)
  if point.name in trainer.diverged:
    mark_diverged(folder, trainer.diverged[point.name])
    _describe(folder, point, trainer, finished=False)
    folder.rename(final)
    return
  own = dataclasses.replace(
    run,
    workdir=folder,
    config=point.config,
    variables=_cut(run.variables, members),
    seeds=tuple(point.config.seeds),
    chosen=run.chosen[members],
  )
  trainer.normalizer.save(_made(folder) / "normalization.npz")
  with writer.Writer(folder, own.seeds) as files:
    _write_metrics(files, entries, members)
  _save(point.config, trainer, members, Checkpoints(folder))
  for split, found in evaluations.items():
    _evaluate(own, split, found, members)
  _describe(folder, point, trainer, finished=True)
  folder.rename(final)


def _describe(folder: Path, point: Point, trainer: Group, *, finished: bool) -> None:
  files = writer.Writer(folder)
  others = [other.name for other in trainer.members if other is not point]
  more = {"seeds": list(point.config.seeds), "together": others, "finished": finished}
  more |= {"chosen": trainer.chosen[trainer.members[point]]}
  files.write_facts(trainer.facts | more)
  files.write_text("config.json", configs.to_json(point.config))


def _made(folder: Path) -> Path:
  folder.mkdir(parents=True)
  return folder


def _write_metrics(files: writer.Writer, entries: list[dict], members: slice) -> None:
  """The epochs until the last of these seeds stopped."""
  for entry in entries:
    values = {
      name: [math.nan if v is None else v for v in value[members]]
      if isinstance(value, list)
      else value
      for name, value in entry.items()
      if name not in ("epoch", "reasons")
    }
    if np.isnan(values["train/loss"]).all():
      return
    known = entry.get("reasons", {})
    kept = {name: why for name, why in known.items() if np.isnan(values[name]).any()}
    files.write(entry["epoch"], values, reasons=kept)


def _cut(tree: PyTree, members: slice) -> PyTree:
  cut = lambda x: (meshes.fetch(x) if isinstance(x, jax.Array) else x)[members]
  return jax.tree.map(cut, tree)


def _save(
  config: ConfigDict, trainer: Group, members: slice, checkpoints: Checkpoints
) -> None:
  """Both checkpoints, in the form that the point alone would have written."""
  loop = trainer.loop
  state = _cut(loop.state, members)
  recipe = loop.recipe
  undecayed = recipe.model.card.undecayed
  transform = optim.transform(config.optim, config.optim.weight_decay, undecayed)
  one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state.params)
  alone = jax.tree.structure(jax.eval_shape(transform.init, one))
  state = state.replace(
    opt=jax.tree.unflatten(alone, jax.tree.leaves(state.opt)),
    hyper={name: state.hyper[name] for name in recipe.numbers()},
  )
  tree = loop.tree() | {"state": state}
  tree |= {name: _cut(tree[name], members) for name in ("best", "selection")}
  meta = {"epoch": loop.epoch, "position": loop.position}
  epochs = tree["selection"]["epoch"].tolist()
  checkpoints.save_best(loop.done, tree["best"], meta | {"epochs": epochs})
  checkpoints.save_last(loop.done, tree, meta)


def _evaluate(run: Run, split: str, found: Evaluation, members: slice) -> None:
  predictions = found.predictions[members]
  results = run.summarise(found.labels, predictions)
  evaluators.write(run.workdir, split, results, found.ids, found.labels, predictions)


def _program(config: ConfigDict) -> str:
  """Equal for configs that one program can train."""
  flat = configs.flatten(config)
  if flat["train.init_from"]:
    # Weights are taken seed for seed, which members are not.
    return configs.to_json(config)
  known = numbers_of(chosen.of(configs.plain(config.model)))
  number = lambda name, value: name in known and _may_differ(name, value)
  shared = {name: v for name, v in flat.items() if not number(name, v)}
  # The numbers that cannot be told apart by value still say which fields there are.
  return json.dumps([shared, sorted(set(flat) - set(shared))])


def _may_differ(name: str, value: Any) -> bool:
  # Without it, dropout draws from other keys.
  return value > 0 if name == "data.modality_dropout" else True
