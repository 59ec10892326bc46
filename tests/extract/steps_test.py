"""States to steps, and a long row in parts."""

import numpy as np
import pytest

from mcr_jax.extract.steps import means, steps, windows


@pytest.mark.parametrize("rate", [0.3, 7.0, 20.0, 50.0, 90.0])
@pytest.mark.parametrize("count", [1, 2, 31])
def test_a_step_is_the_mean_of_its_states_or_the_nearest(rate, count):
  states = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
  centres, times = (np.arange(count) + 0.5) * 0.02, steps(rate, count * 0.02 + 0.05)
  found = means(states, centres, times)
  for row, (start, end) in zip(found, times, strict=True):
    inside = (centres >= start - 1e-6) & (centres < end - 1e-6)
    if not inside.any():
      away = np.abs(centres - (start + end) / 2)
      inside = np.arange(count) == away.argmin()
    np.testing.assert_allclose(row, states[inside].mean(0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 10, 11, 12, 25, 100])
def test_parts_keep_all_once_and_none_near_a_border(count):
  kept = []
  for first, last, begin, end in windows(count, 10, 2):
    assert 0 <= first <= begin < end <= last <= count and last - first <= 10
    assert first == 0 or begin - first >= 2
    assert last == count or last - end >= 2
    kept += range(begin, end)
  assert kept == list(range(count))
