"""Alignment by equal shares, beside the same in plain loops."""

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.ops import alignment


def written(x, mask, grid):
  frames, result = x[mask], np.zeros((len(grid), x.shape[1]))
  words = np.flatnonzero(grid)
  for i, place in enumerate(words):
    first = i * len(frames) // len(words)
    end = max((i + 1) * len(frames) // len(words), first + 1)
    if len(frames):
      result[place] = frames[first:end].mean(0)
  return result


def test_every_step_of_the_grid_reads_its_share_of_the_steps():
  random = np.random.default_rng(0)
  x = random.normal(size=(40, 9, 2)).astype(np.float32)
  mask = random.random((40, 9)) < random.random((40, 1))
  grid = random.random((40, 5)) < random.random((40, 1))
  mask[0], grid[1], mask[2], grid[2] = False, False, True, True
  moved, real = jax.jit(alignment.uniform)(
    jnp.where(mask[..., None], x, jnp.nan), jnp.asarray(mask), jnp.asarray(grid)
  )
  assert (mask.sum(-1) < grid.sum(-1)).any() and (mask.sum(-1) > grid.sum(-1)).any()
  np.testing.assert_array_equal(real, grid & mask.any(-1, keepdims=True))
  for b in range(40):
    expected = written(x[b], mask[b], grid[b])
    np.testing.assert_allclose(moved[b], expected, rtol=1e-5, atol=1e-6)
