"""What dropout needs from its hash: the right rate, and no pattern anywhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.ops.dropout import dropout, finalise, keep_mask, seed_from_key

SIDE = 1024
RATES = [0.1, 0.3, 0.5]


def standard(seed, shape, rate):
  """The decisions as numbers of mean 0 and variance 1, were they independent."""
  kept = np.asarray(keep_mask(jnp.uint32(seed), shape, rate), np.float64)
  return (kept - (1 - rate)) / np.sqrt(rate * (1 - rate))


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
def test_the_share_of_kept_elements_is_one_minus_the_rate(seed, rate):
  x = standard(seed, (SIDE, SIDE), rate)
  assert abs(x.sum()) / SIDE < 4
  # Rows and columns too: their means spread as those of independent draws do.
  for axis in (0, 1):
    spread = x.sum(axis).std() / np.sqrt(SIDE)
    assert 0.9 < spread < 1.1


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
  "shape",
  [(SIDE, SIDE), (SIDE, 1, 1, SIDE), (1, SIDE, 1, SIDE), (SIDE, SIDE, 1)],
)
def test_lines_along_every_axis_are_uncorrelated(shape, rate):
  x = standard(7, shape, rate).reshape(SIDE, SIDE)
  # Products of two lines; a pattern between the corners of rectangles widens them.
  for lines in (x, x.T):
    products = (lines @ lines.T)[np.triu_indices(SIDE, 1)] / np.sqrt(SIDE)
    assert abs(products.mean()) < 4 / np.sqrt(len(products))
    assert abs(products.std() - 1) < 0.01
    assert abs(products).max() < 7
  for a, b in ((x[:, 1:], x[:, :-1]), (x[1:], x[:-1])):
    assert abs((a * b).mean()) * SIDE < 4


def test_seeds_that_follow_each_other_are_uncorrelated():
  draws = np.stack([standard(seed, (32, 32), 0.3).ravel() for seed in range(200)])
  products = (draws @ draws.T)[np.triu_indices(200, 1)] / 32
  assert abs(products.std() - 1) < 0.03 and abs(products).max() < 6


def test_an_index_on_one_axis_is_not_the_same_index_on_another():
  x = standard(5, (SIDE, SIDE), 0.5)
  assert abs((x * x.T)[np.triu_indices(SIDE, 1)].mean()) * SIDE / np.sqrt(2) < 4
  x = standard(5, (32, 32, SIDE), 0.5)
  above = np.triu_indices(32, 1)
  products = (x * x.transpose(1, 0, 2))[above]
  assert abs(products.mean()) * np.sqrt(products.size) < 4


def test_the_bits_are_uniform():
  rows = finalise(jnp.arange(2**20, dtype=jnp.uint32))
  counts = np.bincount(np.asarray(rows >> 24), minlength=256)
  expected = 2**20 / 256
  assert np.square(counts - expected).sum() / expected < 255 + 5 * np.sqrt(2 * 255)


@pytest.mark.parametrize("ndim", range(5))
def test_trimming_an_array_changes_no_other_decision(ndim):
  seed, rng = jnp.uint32(9), np.random.default_rng(0)
  shape = tuple(rng.integers(3, 8, ndim))
  short = tuple(int(rng.integers(1, size)) for size in shape)
  whole, cut = keep_mask(seed, tuple(map(int, shape)), 0.4), keep_mask(seed, short, 0.4)
  np.testing.assert_array_equal(cut, whole[tuple(slice(size) for size in short)])


def test_positions_are_the_indices_of_what_was_cut_elsewhere():
  whole = keep_mask(jnp.uint32(3), (4, 9, 8), 0.4)
  positions = np.array([0, 2, 3, 8])
  cut = keep_mask(jnp.uint32(3), (4, 4, 8), 0.4, {-2: positions, -1: None})
  np.testing.assert_array_equal(cut, whole[:, positions])
  positions = np.array([0, 1, 4, 6])
  cut = keep_mask(jnp.uint32(3), (4, 9, 4), 0.4, {2: positions})
  np.testing.assert_array_equal(cut, whole[:, :, positions])


def test_dropout_keeps_the_mean_and_scales_what_it_keeps():
  x = jnp.full((SIDE, SIDE), 3.0)
  y = np.asarray(dropout(x, 0.2, seed_from_key(jax.random.key(1))))
  np.testing.assert_allclose(np.unique(y), [0.0, 3.75], rtol=1e-6)
  np.testing.assert_allclose(y.mean(), 3.0, rtol=0.01)
  np.testing.assert_allclose(y.var(), 3.75**2 * 0.2 * 0.8, rtol=0.02)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.999])
def test_a_traced_rate_decides_as_a_static_one(rate):
  seed, x = jnp.uint32(3), jnp.ones((50, 60))
  traced = jax.jit(lambda rate: dropout(x, rate, seed))(rate)
  np.testing.assert_array_equal(traced, dropout(x, rate, seed))
  several = jax.vmap(lambda rate: dropout(x, rate, seed))(jnp.asarray([0.5, rate]))
  np.testing.assert_array_equal(several[1], traced)


def test_rate_zero_is_the_identity_and_rate_one_keeps_nothing():
  x, seed = jnp.arange(6.0), jnp.uint32(0)
  assert dropout(x, 0.0, seed) is x
  np.testing.assert_array_equal(dropout(x, jnp.asarray(0.0), seed), x)
  np.testing.assert_array_equal(dropout(x, 1.0, seed), jnp.zeros(6))


def test_what_is_dropped_has_no_gradient_even_when_it_is_not_finite():
  seed = jnp.uint32(4)
  kept = np.asarray(keep_mask(seed, (40,), 0.5))
  x = jnp.where(kept, 1.0, jnp.nan)
  gradient = jax.grad(lambda x: dropout(x, 0.5, seed).sum())(x)
  np.testing.assert_array_equal(gradient, np.where(kept, 2.0, 0.0))


def test_dropout_keeps_the_dtype():
  for dtype in (jnp.bfloat16, jnp.float16, jnp.float32):
    assert dropout(jnp.ones(3, dtype), 0.5, jnp.uint32(0)).dtype == dtype


@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_a_rate_outside_zero_and_one_is_refused_with_its_value(rate):
  with pytest.raises(UserError, match=f"rate.* {rate}"):
    dropout(jnp.ones(3), rate, jnp.uint32(0))
