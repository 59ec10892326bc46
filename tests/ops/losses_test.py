"""What is minimised over a batch, beside its definition in plain loops."""

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.ops import discrepancy, reconstruction
from tests.slopes import assert_gradient


def mmd(x, y):
  kernel = lambda a, b: np.exp(-np.square(a - b).sum() / a.size**2)
  mean = lambda a, b: np.mean([[kernel(row, other) for other in b] for row in a])
  return mean(x, x) + mean(y, y) - 2 * mean(x, y)


def test_mmd_is_that_of_the_rows_that_count_and_so_is_its_gradient():
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x, y = random.normal(size=(2, 7, 3))
    rows = np.array([1, 0, 1, 1, 0, 1, 1], bool)
    junk = lambda z: jnp.where(rows[:, None], z, jnp.nan)
    run = lambda z: discrepancy.maximum_mean(junk(z), junk(y), jnp.asarray(rows))
    value, gradient = jax.jit(jax.value_and_grad(run))(x)
    np.testing.assert_allclose(value, mmd(x[rows], y[rows]), rtol=1e-12)
    assert_gradient(lambda z: mmd(z[rows], y[rows]), x, gradient)
    nothing = jax.jit(discrepancy.maximum_mean)(x, y, jnp.zeros(7, bool))
    assert nothing == 0


def test_mmd_of_two_draws_of_one_distribution_is_its_mean_and_grows_with_a_shift():
  count, size = 64, 80
  run = jax.jit(jax.vmap(discrepancy.maximum_mean, in_axes=(0, 0, None)))
  random = np.random.default_rng(1)
  x, y = random.normal(size=(2, 300, count, size)).astype(np.float32)
  rows = np.ones(count, bool)
  found = run(x, y, rows)
  expected = 2 / count * (1 - (1 + 4 / size**2) ** (-size / 2))
  np.testing.assert_allclose(found.mean(), expected, rtol=0.01)
  assert found.min() > -1e-6
  shifted = [run(x[:9] + by, y[:9], rows) for by in (0.5, 1.0)]
  assert (found[:9] < shifted[0]).all() and (shifted[0] < shifted[1]).all()


def test_a_mean_square_is_that_of_real_steps():
  random = np.random.default_rng(2)
  found, target = random.normal(size=(2, 4, 5, 3)).astype(np.float32)
  mask = random.random((4, 5)) < 0.6
  mask[1] = False
  expected = [
    np.square(a[m] - b[m]).mean() if m.any() else 0.0
    for a, b, m in zip(found, target, mask, strict=True)
  ]
  junk = lambda x: jnp.where(mask[..., None], x, jnp.nan)
  run = lambda x: reconstruction.mean_square(junk(x), junk(target), jnp.asarray(mask))
  value, gradient = jax.jit(lambda x: (run(x), jax.grad(lambda x: run(x).sum())(x)))(
    found
  )
  np.testing.assert_allclose(value, expected, rtol=1e-6)
  np.testing.assert_array_equal(np.any(gradient, -1), mask)
