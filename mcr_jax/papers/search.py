"""The same budget of draws for every system: settings by validation, then all seeds.

The first draw is the published settings. The others draw the learning rate within a
factor of four, the weight decay between 1e-6 and 1e-2, and every dropout rate of the
model up to one half; nothing else is touched, so that all draws of a system are one
program.
"""

import math
import random
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.config import chosen as models
from mcr_jax.papers.jobs import Job
from mcr_jax.sweeps import run as sweeps
from mcr_jax.sweeps.points import Sweep
from mcr_jax.sweeps.together import read_json

FACTOR = 4.0
DECAY = (1e-6, 1e-2)
MOST_DROPOUT = 0.5


def search(job: Job, folder: Path, draws: int, *, verbose: bool) -> None:
  """Trains the draws with one seed each, and the best by validation with all.

  Args:
    job: with a config; its folder becomes that of a sweep.
    folder: of all jobs.
    draws: how many, the published settings among them.
    verbose: print progress.
  """
  if chosen(folder / job.key) is not None:
    return
  seeds = tuple(job.config.seeds)
  wanted = Sweep(points(job.config, draws), True, seeds[:1], seeds)
  sweeps.sweep(job.config, wanted, folder / job.key, resume=True, verbose=verbose)


def points(config: ConfigDict, draws: int, seed: int = 0) -> list[dict[str, Any]]:
  """The points of a search; more draws begin with the same ones."""
  draw, found = random.Random(seed), [{"name": "published"}]
  rates = _rates(config)
  for number in range(1, draws):
    factor = math.exp(draw.uniform(-1, 1) * math.log(FACTOR))
    decay = math.exp(draw.uniform(*map(math.log, DECAY)))
    point = {
      "name": f"draw_{number:03d}",
      "optim.lr": _short(config.optim.lr * factor),
      "optim.weight_decay": _short(decay),
    }
    point |= {name: _short(draw.uniform(0, MOST_DROPOUT)) for name in rates}
    found.append(point)
  return found


def chosen(folder: Path) -> Path | None:
  """The folder of the best draw with all seeds, or None while it is not there."""
  table = folder / "table.json"
  if not table.is_file():
    return None
  best = read_json(table, dict)["best"]
  final = folder / f"{best}_final"
  return final if final.is_dir() else folder / best


def _rates(config: ConfigDict) -> list[str]:
  """The paths of the model's dropout rates."""
  model = configs.plain(config.model)
  return [
    f"model.{name}"
    for name, domain in models.domains(model).items()
    if domain.sweep
    and (domain.low, domain.below) == (0, 1)
    and isinstance(model[name], float)
  ]


def _short(value: float) -> float:
  """Three digits: what a table shows is what was trained."""
  return float(f"{value:.3g}")
