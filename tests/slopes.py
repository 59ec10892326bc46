"""Gradients against differences of a function that knows nothing of JAX."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np


def assert_gradient(
  number: Callable[[Any], float], at: Any, gradient: Any, *, ways: int = 2
) -> None:
  """That `gradient` is the one of `number` at `at`, along some random directions.

  All are trees of float64 of one form. A direction that crosses a kink of a ReLU shows
  as a small error, hence the tolerance.
  """
  random, step = np.random.default_rng(7), 1e-6
  for _ in range(ways):
    way = jax.tree.map(lambda x: random.normal(size=np.shape(x)), at)
    move = lambda s, way=way: jax.tree.map(lambda x, w: np.asarray(x) + s * w, at, way)
    slope = (number(move(step)) - number(move(-step))) / (2 * step)
    along = jax.tree.map(lambda g, w: float((np.asarray(g) * w).sum()), gradient, way)
    np.testing.assert_allclose(sum(jax.tree.leaves(along)), slope, rtol=1e-6)
