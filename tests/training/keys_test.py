"""The numbers of the cheap generator have no pattern that parameters could show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from mcr_jax.training.keys import fast_key

KEY = fast_key(jax.random.key(0))


def test_numbers_are_uniform_and_do_not_follow_each_other():
  found = np.asarray(jax.random.uniform(KEY, (200_000,)), np.float64)
  assert stats.kstest(found, "uniform").pvalue > 1e-3
  for lag in (1, 2, 3, 8, 64, 300, 1024):
    assert abs(np.corrcoef(found[:-lag], found[lag:])[0, 1]) * len(found) ** 0.5 < 5


def draws(keys, count=400):
  return np.asarray(jax.vmap(lambda key: jax.random.normal(key, (count,)))(keys))


@pytest.mark.parametrize("how", ["split", "fold_in", "seed"])
def test_keys_that_are_neighbours_are_strangers(how):
  numbers = jnp.arange(300)
  keys = {
    "split": lambda: jax.random.split(KEY, 300),
    "fold_in": lambda: jax.vmap(lambda i: jax.random.fold_in(KEY, i))(numbers),
    "seed": lambda: jax.vmap(lambda i: fast_key(jax.random.key(i)))(numbers),
  }[how]()
  found = draws(keys)
  correlations = np.corrcoef(found)[np.triu_indices(300, 1)] * 400**0.5
  assert abs(correlations).max() < 5.5
  assert correlations.std() == pytest.approx(1, abs=0.03)
  assert found.mean() == pytest.approx(0, abs=0.015)
  assert found.std() == pytest.approx(1, abs=0.015)


@pytest.mark.parametrize("width", [8, 16, 32])
def test_every_bit_is_set_half_of_the_time(width):
  bits = np.asarray(jax.random.bits(KEY, (40_000,), f"uint{width}"))
  assert bits.dtype == f"uint{width}"
  # The lowest bits are the weakest: floats do not read them.
  for place in range(width // 4, width):
    assert abs((bits >> place & 1).mean() - 0.5) < 0.015


def test_the_same_key_gives_the_same_numbers_within_a_program_and_outside():
  draw = lambda key: jax.random.normal(jax.random.fold_in(key, 7), (9,))
  np.testing.assert_allclose(draw(KEY), jax.jit(draw)(KEY), rtol=1e-6)
  assert not np.allclose(draw(KEY), draw(fast_key(jax.random.key(1))))
