"""From a sweep file to the configs of its points.

A sweep file has `get_sweep()`. It returns either the points, a list of overrides such
as `{"name": "deep", "model.num_layers": 6}`, or a search: a dict with `points`, the
`seeds` that each is tried with, and the `final_seeds` of the best one.
"""

import dataclasses
import re
import runpy
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import fields
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
  """The sweep of a file.

  Raises:
    UserError: there is no such file, it fails, or returns something else.
  """
  found = fields.plain(_call(Path(path)))
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
    found.append(Point(name, overrides, _override(config, changes, name)))
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
  return Point(name, best.overrides, _override(config, changes, name))


def _override(config: ConfigDict, changes: Mapping[str, Any], name: str) -> ConfigDict:
  """A value replaces whatever stood at its path; a dict, a whole group."""
  plain = fields.plain(config)
  for path, value in changes.items():
    *groups, field = path.split(".")
    where = plain
    for group in groups:
      where = where.setdefault(group, {})
      if not isinstance(where, dict):
        raise UserError(f"Point {name}: {path}: {group} is a value, not a group.")
    where[field] = value
  try:
    return configs.complete(plain)
  except UserError as error:
    raise UserError(f"Point {name}: {error}") from error


def _name(overrides: Mapping[str, Any]) -> str:
  shown = lambda value: (
    "+".join(map(shown, value)) if isinstance(value, tuple) else f"{value}"
  )
  parts = [f"{path.split('.')[-1]}={shown(v)}" for path, v in overrides.items()]
  name = re.sub(r"[^A-Za-z0-9_.,=+-]+", "_", ",".join(parts)) or "base"
  return name[:LONGEST]


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


def _call(path: Path) -> Any:
  """What `get_sweep` of a file returns."""
  if not path.is_file():
    hint = fields.nearest(path.name, [p.name for p in path.parent.glob("*.py")])
    raise UserError(f"The sweep file {path} does not exist.{hint}")
  before = list(sys.path)
  # `configs.sweeps` must be found from any folder, and from a copy of configs/.
  sys.path += [str(path.resolve().parent.parent.parent), str(Path(__file__).parents[2])]
  try:
    names = runpy.run_path(str(path))
    if not callable(names.get("get_sweep")):
      raise UserError(f"The sweep file {path} has no function get_sweep().")
    return names["get_sweep"]()
  except UserError:
    raise
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(path)]
    where = f"{path}, line {lines[-1]}" if lines else str(path)
    reason = " ".join(str(error).split()) or "no message"
    raise UserError(f"{where}: {type(error).__name__}: {reason}") from error
  finally:
    sys.path[:] = before
