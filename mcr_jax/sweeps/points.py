"""From a sweep file to the configs of its points.

A sweep file has `get_sweep()`. It returns either the points, a list of overrides such
as `{"name": "deep", "model.num_layers": 6}`, or a search: a dict with `points`, the
`seeds` that each is tried with, and the `final_seeds` of the best one.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.config import files
from mcr_jax.config.completion import domains
from mcr_jax.data.schema import canonical
from mcr_jax.errors import UserError

ALLOWED = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.,=+-]*")
OWN = ("table.json", "table.csv")  # of the sweep's folder
LONGEST = 80  # characters of a name that is made here; it becomes a folder


@dataclasses.dataclass(frozen=True, eq=False)
class Point:
  """One run of a sweep.

  Attributes:
    name: of its folder and of its row.
    overrides: by dotted path of the config.
    config: complete, with the overrides applied.
  """

  name: str
  overrides: Mapping[str, Any]
  config: ConfigDict


@dataclasses.dataclass(frozen=True)
class Sweep:
  """What a sweep file asks for.

  Attributes:
    points: overrides of each, a name among them or not.
    search: whether the points compete, and the best is trained anew.
    seeds: of every point; () leaves those of the config.
    final_seeds: of the best point of a search.
  """

  points: Sequence[Mapping[str, Any]]
  search: bool = False
  seeds: tuple[int, ...] = ()
  final_seeds: tuple[int, ...] = ()


def load(path: str) -> Sweep:
  """The sweep of a file, which is found as `config.load` finds one.

  Raises:
    UserError: there is no such file, it fails, or returns something else.
  """
  found = configs.plain(files.call(path, "get_sweep", "sweeps"))
  search = isinstance(found, dict)
  given = {"points": found} if not search else found
  known = {"points", "seeds", "final_seeds"} if search else {"points"}
  right = isinstance(given.get("points"), tuple) and given["points"]
  if set(given) != known or not right:
    raise UserError(
      f"{path}: get_sweep must return a list of overrides, or a dict of points, seeds "
      f"and final_seeds, not {str(found)[:60]!r}."
    )
  for point in given["points"]:
    if not isinstance(point, dict) or not all(isinstance(key, str) for key in point):
      raise UserError(
        f"{path}: every point must be a dict of overrides by path, such as "
        f"{{'optim.lr': 1e-3}}, not {str(point)[:60]!r}."
      )
  return Sweep(**given, search=search)


def points(config: ConfigDict, sweep: Sweep) -> list[Point]:
  """The points of a sweep over a config, each with a name of its own.

  Raises:
    UserError: an override does not fit, or two points are the same.
  """
  found: list[Point] = []
  for given in sweep.points:
    overrides = {path: value for path, value in given.items() if path != "name"}
    name = given.get("name", "") or _name(overrides)
    if not isinstance(name, str) or not ALLOWED.fullmatch(name) or name in OWN:
      raise UserError(
        f"The name {name!r} of a point becomes a folder: letters, digits and _.,=+- "
        f"are right, a letter or digit first, and not {' or '.join(OWN)}."
      )
    changes = dict(overrides)
    if sweep.seeds:
      changes["seeds"] = sweep.seeds
    if sweep.search:
      # What the search must not know, it does not compute.
      changes["evals.splits"] = ("valid",)
    found.append(Point(name, overrides, override(config, changes, name)))
    _check_one_run(found[-1])
  _check_distinct(found)
  if sweep.search:
    # A mistake in what comes last must not wait until all else is trained.
    names = {point.name for point in found}
    for point in found:
      if (last := final(config, point, sweep).name) in names:
        raise UserError(
          f"The best point of a search is trained anew as {last}, if it is "
          f"{point.name}: no other point can have that name."
        )
  monitors = {point.config.train.monitor for point in found}
  if len(monitors) > 1:
    raise UserError(
      f"The points are chosen by different metrics ({', '.join(sorted(monitors))}): "
      "set train.monitor for all of them."
    )
  return found


def final(config: ConfigDict, best: Point, sweep: Sweep) -> Point:
  """The best point of a search, with all its seeds and the splits of the config."""
  changes = {**best.overrides, "seeds": sweep.final_seeds}
  name = f"{best.name}_final"
  return Point(name, best.overrides, override(config, changes, name))


def override(config: ConfigDict, changes: Mapping[str, Any], name: str) -> ConfigDict:
  """The config with changes by dotted path.

  A value replaces whatever stood at its path; a dict, a whole group.

  Args:
    config: whole.
    changes: what a point says, and more.
    name: of the point, for messages.
  """
  plain = configs.plain(config)
  try:
    if which := _other_model(changes):
      other, _ = configs.for_model(plain, which)
      plain |= {"loss": other["loss"], "train": other["train"]}
    for path, value in changes.items():
      *groups, field = path.split(".")
      where = plain
      for group in groups:
        where = where.setdefault(group, {})
        if not isinstance(where, dict):
          raise UserError(f"{path}: {group} is a value, not a group.")
      where[field] = value
    if left := changes.get("data.modalities"):
      _leave_out(plain, changes, set(map(canonical, left)))
    return configs.complete(plain)
  except UserError as error:
    raise UserError(f"Point {name}: {error}") from error


def _leave_out(values: dict, changes: Mapping[str, Any], left: set[str]) -> None:
  """What the config has by modality, such as lengths, for those that are `left` alone.

  What a point says itself is not touched.
  """
  for path, found in domains(values["model"]).items():
    group, _, field = path.partition(".")
    by_name = values.get(group, {}).get(field) if found.modalities else None
    if isinstance(by_name, dict) and not changes.keys() & {group, path}:
      values[group][field] = {m: x for m, x in by_name.items() if canonical(m) in left}


def _other_model(changes: Mapping[str, Any]) -> dict[str, Any]:
  """The name and the file of a model, where a point sets them."""
  names = ("name", "file")
  if isinstance(group := changes.get("model"), Mapping):
    return {"name": "mcr", "file": ""} | {k: group[k] for k in names if k in group}
  return {k: changes[f"model.{k}"] for k in names if f"model.{k}" in changes}


def _name(overrides: Mapping[str, Any]) -> str:
  shown = lambda value: (
    "+".join(map(shown, value)) if isinstance(value, tuple) else f"{value}"
  )
  parts = [f"{path.split('.')[-1]}={shown(v)}" for path, v in overrides.items()]
  name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", ",".join(parts)) or "base"
  return name[:LONGEST]


def _check_one_run(point: Point) -> None:
  data = point.config.data
  if data.folds and data.fold < 0:
    raise UserError(
      f"Point {point.name}: data.folds={data.folds} is a run a fold, and a point of a "
      "sweep is one run: set data.fold, which a sweep may vary, too."
    )


def _check_distinct(found: Sequence[Point]) -> None:
  names, texts = {}, {}
  for point in found:
    for known, key in ((names, point.name), (texts, configs.to_json(point.config))):
      if key in known:
        raise UserError(
          f"The points {known[key].name} and {point.name} of the sweep are the same: "
          f"{dict(known[key].overrides)} and {dict(point.overrides)}."
        )
      known[key] = point
