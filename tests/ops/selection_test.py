"""The largest numbers against a sort."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.ops.selection import kth_largest, largest


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_it_is_what_a_sort_finds(kind):
  with jax.enable_x64(kind is np.float64):
    x = np.random.default_rng(0).random((5, 37)).astype(kind)
    x[1] = 0.0
    x[2, :30] = np.finfo(kind).smallest_subnormal
    x[3, ::3] = x[3, 1]
    x[4, :5] *= np.finfo(kind).max
    k = np.asarray([1, 37, 7, 12, 3])
    found = jax.jit(kth_largest)(x, k)
    np.testing.assert_array_equal(found, np.sort(x, 1)[np.arange(5), 37 - k])


def test_the_largest_are_as_many_as_there_are_and_the_first_of_equal_ones():
  x = np.asarray([[3, 1, 3, 2, 3], [5, 4, 9, 7, 6], [1, 2, 3, 4, 5]], np.float32)
  mask = np.asarray([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1], [0, 0, 0, 1, 0]], bool)
  expected = [[1, 0, 1, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 1, 0]]
  found = lambda k: largest(jnp.asarray(x), jnp.asarray(mask), k)
  np.testing.assert_array_equal(found(2), np.asarray(expected, bool))
  np.testing.assert_array_equal(found(9), mask)
