"""What the curves of a finished run say of its settings, under its tables."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs

# Of the first epoch's training loss: below it, there is nothing left to learn.
NOTHING = 0.1
# Of the least validation loss: above it, it has risen.
ROSE = 1.1


def sentences(
  entries: Sequence[Mapping[str, Any]], config: ConfigDict, seeds: Sequence[int]
) -> list[str]:
  """What a reader should know before believing the tables; often nothing.

  Args:
    entries: of metrics.jsonl, an epoch each.
    config: of the run.
    seeds: their numbers, in the order of the values.
  """
  if not entries:
    return []
  monitor = config.train.monitor
  scores = _values(entries, f"valid/{monitor}", len(seeds))
  undefined = np.isnan(scores).all(0)
  found = []
  if undefined.any():
    why = entries[-1].get("reasons", {}).get(f"valid/{monitor}", "")
    found.append(
      f"train.monitor={monitor} was undefined in every epoch{_of(undefined, seeds)}"
      f"{f' ({why})' * bool(why)}: the validation split chose nothing, and the last "
      "epoch is kept. train.monitor=loss is always defined."
    )
  last = np.asarray(entries[-1]["best/epoch"]) == config.train.epochs
  last &= ~undefined
  if last.any():
    found.append(
      f"The best epoch{_of(last, seeds)} is the last, {config.train.epochs}: more of "
      f"them may be better{_longer(config)}."
    )
  return [*found, *_by_heart(entries, seeds)]


def _longer(config: ConfigDict) -> str:
  if why := configs.epochs_are_fixed(config):
    return f" (in a new run: {why})"
  return f" (--resume --config.train.epochs={2 * config.train.epochs})"


def _by_heart(entries, seeds) -> list[str]:
  """Where training loss fell to nothing while that of validation rose."""
  train = _values(entries, "train/loss", len(seeds))
  valid = _values(entries, "valid/loss", len(seeds))
  learned = np.zeros(len(seeds), bool)
  ends = []
  for s in range(len(seeds)):
    real = np.flatnonzero(np.isfinite(train[:, s]) & np.isfinite(valid[:, s]))
    if not len(real):
      continue
    first, end = real[0], real[-1]
    least = valid[real, s].min()
    fell = 0 <= train[end, s] <= NOTHING * train[first, s]
    learned[s] = fell and valid[end, s] > ROSE * least
    if learned[s]:
      ends.append((train[first, s], train[end, s], least, valid[end, s]))
  if not learned.any():
    return []
  first, end, least, risen = np.mean(ends, 0)
  return [
    f"Training loss{_of(learned, seeds)} fell from {first:.3g} to {end:.2g} while that "
    f"of validation rose from {least:.3g} to {risen:.3g}: the samples were learned by "
    "heart. More dropout or optim.weight_decay, or a smaller model, may do better."
  ]


def _values(entries, name: str, count: int) -> np.ndarray:
  """(epochs, S), NaN where undefined."""
  rows = [entry.get(name) or [None] * count for entry in entries]
  return np.array([[math.nan if x is None else x for x in row] for row in rows])


def _of(which: np.ndarray, seeds: Sequence[int]) -> str:
  """` of seeds 1, 3`, and nothing where it is all of them."""
  if which.all():
    return ""
  named = [str(seed) for seed, yes in zip(seeds, which, strict=True) if yes]
  return f" of seed{'s' * (len(named) > 1)} {', '.join(named)}"
