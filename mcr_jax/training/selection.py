"""Which epoch of each seed to keep, when to stop, when to lower the learning rate.

Decided by the validation split alone, for every seed by itself.
"""

import numpy as np

Selection = dict[str, np.ndarray]


def start(seeds: int) -> Selection:
  """Before the first epoch."""
  return {
    "value": np.full(seeds, np.nan, np.float64),
    "epoch": np.zeros(seeds, np.int32),
    "waited": np.zeros(seeds, np.int32),
    "plateau": np.zeros(seeds, np.int32),
    "lr_scale": np.ones(seeds, np.float32),
    "active": np.ones(seeds, bool),
  }


def observe(
  selection: Selection, values: np.ndarray, epoch: int, higher: bool, config
) -> tuple[Selection, np.ndarray]:
  """The selection after an epoch, and of which seeds (S,) this epoch is kept.

  A value that is NaN (a metric that is undefined) is no improvement. Until there is
  another, the latest epoch is kept: nothing speaks for an earlier one. Seeds that
  stopped do not change.

  Args:
    selection: before the epoch.
    values: (S,) of the monitored metric on the validation split.
    epoch: counted from 1.
    higher: whether larger is better.
    config: of the run.
  """
  best, active = selection["value"], selection["active"]
  better = values > best if higher else values < best
  first = (selection["epoch"] == 0) | (np.isnan(best) & ~np.isnan(values))
  improved = active & (better | first)
  kept = improved | (active & np.isnan(best) & np.isnan(values))
  waited = np.where(improved, 0, selection["waited"] + active)
  plateau = np.where(improved, 0, selection["plateau"] + active)
  lr_scale = selection["lr_scale"]
  if config.optim.schedule == "plateau":
    lower = plateau > config.optim.plateau_patience
    lr_scale = np.where(lower, lr_scale * config.optim.plateau_factor, lr_scale)
    plateau = np.where(lower, 0, plateau)
  if config.train.patience:
    active = active & (waited < config.train.patience)
  return {
    "value": np.where(kept, values, best),
    "epoch": np.where(kept, epoch, selection["epoch"]).astype(np.int32),
    "waited": waited.astype(np.int32),
    "plateau": plateau.astype(np.int32),
    "lr_scale": lr_scale.astype(np.float32),
    "active": active,
  }, kept


def in_next_phase(selection: Selection) -> Selection:
  """The selection at the start of a phase: patience and plateau count from there."""
  fresh = start(len(selection["epoch"]))
  counters = {name: fresh[name] for name in ("waited", "plateau", "lr_scale")}
  return selection | counters
