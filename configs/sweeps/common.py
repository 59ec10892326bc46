"""Random search: points drawn from a space, the best of them trained with all seeds.

  def get_sweep():
    space = {"optim.lr": common.log_uniform(1e-4, 1e-2), "model.num_layers": (2, 3)}
    return common.random(space, 20)

A function of the space draws a value, a tuple is a choice, anything else is itself.
"""

import math
import random as randoms
from collections.abc import Callable, Mapping
from typing import Any


def random(
  base: Mapping[str, Any],
  trials: int,
  seed: int = 0,
  *,
  seeds: tuple[int, ...] = (0,),
  final_seeds: tuple[int, ...] = (0, 1, 2, 3, 4),
) -> dict[str, Any]:
  """A search of so many different points.

  Args:
    base: by path of the config, what to draw or to set.
    trials: how many points.
    seed: of the drawing; more trials with one seed begin with the same points.
    seeds: that every point is trained with.
    final_seeds: that the best point by validation is trained with.
  """
  draw, found = randoms.Random(seed), []
  for _ in range(100 * trials):
    point = {path: _value(what, draw) for path, what in base.items()}
    if point not in found and len(found) < trials:
      found.append(point)
  if len(found) < trials:
    raise ValueError(f"the space has {len(found)} points, fewer than {trials} trials")
  points = [{"name": f"trial_{i:03d}", **point} for i, point in enumerate(found)]
  return {"points": points, "seeds": seeds, "final_seeds": final_seeds}


def log_uniform(low: float, high: float) -> Callable[[randoms.Random], float]:
  """Every factor is as likely: between 1e-4 and 1e-2, half the draws are below 1e-3."""
  return lambda draw: _short(math.exp(draw.uniform(math.log(low), math.log(high))))


def uniform(low: float, high: float) -> Callable[[randoms.Random], float]:
  """Every value is as likely."""
  return lambda draw: _short(draw.uniform(low, high))


def choice(*values: Any) -> Callable[[randoms.Random], Any]:
  """One of the values."""
  return lambda draw: values[int(draw.random() * len(values))]


def _value(what: Any, draw: randoms.Random) -> Any:
  if isinstance(what, tuple):
    what = choice(*what)
  return what(draw) if callable(what) else what


def _short(value: float) -> float:
  """Three digits: what a table shows is what was trained."""
  return float(f"{value:.3g}")
