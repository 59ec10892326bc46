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


def test_frames_of_a_word_are_those_whose_mean_it_reads_thinned():
  random = np.random.default_rng(1)
  mask = random.random((40, 9)) < random.random((40, 1))
  grid = random.random((40, 5)) < random.random((40, 1))
  mask[0], grid[1], mask[2], grid[2, 1:] = False, False, True, False
  for most in (3, 20):
    run = jax.jit(alignment.frames_of, static_argnums=2)
    index, real = map(np.asarray, run(jnp.asarray(mask), jnp.asarray(grid), most))
    assert index.shape == (40, 5, min(most, 9)) and index.min() >= 0
    for b in range(40):
      there, words = np.flatnonzero(mask[b]), np.flatnonzero(grid[b])
      assert not real[b][~grid[b]].any()
      for i, place in enumerate(words):
        first = i * len(there) // len(words)
        end = max((i + 1) * len(there) // len(words), first + 1)
        inside = there[first:end]
        kept = min(len(inside), most)
        expected = [inside[j * len(inside) // kept] for j in range(kept)]
        np.testing.assert_array_equal(index[b, place][real[b, place]], expected)
