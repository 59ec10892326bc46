"""What a row asks for: a config that is whole, or why there is none."""

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError, choose
from mcr_jax.papers.definition import QUICK, Source
from mcr_jax.runs import folds
from mcr_jax.sweeps import points

# What a moment of training is spent on is compiling: with one bucket there is one
# program, and layers that are scanned are compiled once.
COMPILES = {"scan_layers": True, "remat": False}
# Modalities that only real files have, and what stands for them in synthetic data.
STAND_INS = {"covarep": "audio", "facet": "vision"}


@dataclasses.dataclass(frozen=True, eq=False)
class Job:
  """Something to do for the cells of a table.

  Attributes:
    key: name of its folder.
    source: that asks for it.
    config: that is trained; None where nothing is.
    path: of the data, as `data.path` has it.
    after: key of the job whose weights it starts from or whose run it tests, or "".
    spec: of the data.
    samples: of the model in every split.
  """

  key: str
  source: Source
  config: ConfigDict | None = None
  path: str = ""
  after: str = ""
  spec: Spec | None = None
  samples: Mapping[str, int] = dataclasses.field(default_factory=dict)

  @property
  def in_folds(self) -> bool:
    """Whether it trains a run a fold."""
    return self.config is not None and folds.wanted(self.config)


def implemented(source: Source) -> bool:
  """Whether the model of a source is there."""
  return not source.model or source.model in models.names()


def config_of(
  source: Source,
  path: str,
  overrides: Sequence[str],
  *,
  quick: bool,
  init_from: str = "",
) -> ConfigDict:
  """The whole config of a source.

  Args:
    source: with a config.
    path: of the data.
    overrides: of the command line.
    quick: whether on synthetic data, for a moment.
    init_from: folder of the run whose weights are the start, or "".

  Raises:
    UserError: they do not fit together.
  """
  config = _load(source, quick=quick)
  # A row of a table is of all its modalities, or not that row.
  changes = {"data.absent": "error"} | dict(source.overrides) | _of_sweep(source.sweep)
  if quick:
    changes = _to_compile(config) | changes | source.quick
  if quick and (names := changes.get("data.modalities")):
    changes["data.modalities"] = tuple(STAND_INS.get(name, name) for name in names)
  changes["data.path"] = path
  if init_from:
    changes["train.init_from"] = init_from
  found = points.override(config, changes, source.config)
  if not overrides:
    return found
  own = configs.plain(configs.override(found, overrides))
  given = [re.match(r"--?(?:no)?config\.([^=]+)", text)[1] for text in overrides]
  at = lambda path: functools.reduce(dict.__getitem__, path.split("."), own)
  return points.override(found, {path: at(path) for path in given}, source.config)


def _to_compile(config: ConfigDict) -> dict[str, object]:
  """Overrides that change how long a config compiles, not what it computes."""
  own = {f"model.{n}": v for n, v in COMPILES.items() if n in config.model}
  return {"data.buckets": 1, **own}


def _load(source: Source, *, quick: bool) -> ConfigDict:
  name, _, variant = source.config.partition(":")
  variant = ",".join(filter(None, (variant, QUICK * quick)))
  try:
    return configs.load(f"{name}:{variant}" if variant else name)
  except UserError as error:
    # A model without settings of its own has those that suit any.
    if name != "systems" or "no system is named" not in str(error):
      raise
    return configs.load(f"own:{source.model}" + f",{QUICK}" * quick)


def _of_sweep(name: str) -> Mapping:
  """The overrides of a point of a shipped sweep, `SWEEP/POINT`; {} of no sweep."""
  if not name:
    return {}
  sweep, _, point = name.partition("/")
  known = {found["name"]: found for found in points.load(sweep).points}
  found = known[choose(point, known, f"point of {sweep}")]
  return {path: value for path, value in found.items() if path != "name"}
