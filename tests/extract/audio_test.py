"""Descriptors of sound against what is known of tones, and SciPy written out."""

import numpy as np
import pytest
import scipy.fft

from mcr_jax.extract import audio
from tests.extract.made import RATE, tone


def column(values, name):
  return values[:, audio.NAMES.index(name)]


@pytest.mark.parametrize("f0", [80.0, 220.0, 440.0])
def test_pitch_of_a_tone_is_its_own(f0):
  values, _ = audio.descriptors(tone(1.0, f0), 20.0, 1.0)
  inside = slice(2, -2)  # windows at the ends hold silence, too
  found = 2.0 ** column(values, "f0_log2")[inside]
  np.testing.assert_allclose(found, f0, atol=0.5)
  assert (column(values, "voicing")[inside] > 0.95).all()


def test_noise_and_silence_have_no_pitch():
  noise = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.1
  for sound in (noise, np.zeros(RATE, np.float32)):
    values, _ = audio.descriptors(sound, 20.0, 1.0)
    assert np.isfinite(values).all()
    assert (column(values, "f0_log2") == 0).mean() > 0.9


def test_cepstra_are_those_of_scipy_written_out():
  sound = np.random.default_rng(1).standard_normal(RATE) * 0.1
  values, _ = audio.descriptors(sound, 100.0, 1.0)
  centre = 50 * audio.HOP
  wave = sound[centre - 200 : centre + 201]
  wave = (wave[1:] - 0.97 * wave[:-1]) * np.hamming(400)
  power = np.abs(np.fft.rfft(wave, 512)) ** 2
  mel = lambda f: 2595 * np.log10(1 + f / 700)
  edges = np.linspace(mel(60.0), mel(7600.0), 42)
  bands = []
  for i in range(40):
    total = 0.0
    for k, p in enumerate(power):
      f = k * RATE / 512
      low, top, high = 700 * (10 ** (edges[i : i + 3] / 2595) - 1)
      total += p * max(0.0, min((f - low) / (top - low), (high - f) / (high - top)))
    bands.append(np.log(total + 1e-6))
  cepstra = scipy.fft.dct(np.array(bands), norm="ortho")[:13]
  first = audio.NAMES.index("mfcc_00")
  np.testing.assert_allclose(values[50, first : first + 13], cepstra, atol=1e-4)


def test_blocks_do_not_show(monkeypatch):
  sound = tone(1.0) + np.random.default_rng(2).standard_normal(RATE) * 0.01
  whole, _ = audio.descriptors(sound, 20.0, 1.0)
  monkeypatch.setattr(audio, "BLOCK", 7)
  np.testing.assert_array_equal(audio.descriptors(sound, 20.0, 1.0)[0], whole)


def test_steps_cover_the_clip():
  values, times = audio.descriptors(tone(0.5), 20.0, 1.03)
  assert len(values) == len(times) == 21
  np.testing.assert_allclose(times[1:, 0], times[:-1, 1])
  assert times[-1, 1] == pytest.approx(1.03)
  assert (column(values, "log_energy")[12:20] < column(values, "log_energy")[5]).all()


@pytest.mark.parametrize("rate", [29.97, 60.0, 100.0])
def test_every_step_has_a_number_at_any_rate_and_length(rate):
  for count in range(RATE // 2, RATE // 2 + 700, 37):
    values, times = audio.descriptors(tone(0.5), rate, count / RATE)
    assert len(values) == len(times) and np.isfinite(values).all()
