"""openSMILE's descriptors at the steps of a clip."""

import numpy as np
import pytest

from tests.extract.made import RATE, tone

pytest.importorskip("opensmile", reason="needs the extra egemaps")
from mcr_jax.extract.egemaps import PITCH, Descriptors  # noqa: E402


def test_a_voice_is_measured_where_it_is_heard(offline):
  measure = Descriptors()
  sound = np.concatenate([tone(1.0, 220.0), np.zeros(RATE, np.float32)])
  values, times = measure(sound, 20.0, 2.0)
  assert values.shape == (40, 25) and len(measure.names) == 25
  pitch = values[:, measure.names.index(PITCH)]
  np.testing.assert_allclose(pitch[4:16], 12 * np.log2(220 / 27.5), atol=0.3)
  voice = [i for i, name in enumerate(measure.names) if name.endswith("nz")]
  assert not values[24:, voice].any() and values[4:16, voice].any(0).sum() > 8
  loud = values[:, measure.names.index("Loudness_sma3")]
  assert loud[4:16].min() > 4 * loud[24:].max()
  np.testing.assert_allclose(times[-1], [1.95, 2.0])


def test_a_step_that_is_half_voiced_has_the_pitch_of_its_voice():
  measure = Descriptors()
  sound = np.concatenate([tone(1.0, 220.0), np.zeros(RATE, np.float32)])
  values, _ = measure(sound, 0.5, 2.0)
  pitch = values[0, measure.names.index(PITCH)]
  assert pitch == pytest.approx(12 * np.log2(220 / 27.5), abs=0.5)


@pytest.mark.parametrize("count", [0, 1, 700, 1601])
def test_sound_of_any_length_has_steps(count):
  values, times = Descriptors()(tone(0.2)[:count], 20.0, max(count, 1) / RATE)
  assert len(values) == len(times) and np.isfinite(values).all()
  assert (values[0, 0] > 0.1) == (count > 1)  # loudness
