"""Low-level descriptors of sound: spectrum, loudness, pitch and voicing.

Everything is measured 100 times a second in windows that are centred at multiples of
10 ms, and a step of the features is the mean over its windows. The spectrum is that of
25 ms with a Hamming window, of samples pre-emphasised by .97:

  mel_00 ..    log(power + 1e-6) in 40 triangles of equal width on the mel scale
  mfcc_00 ..   the first 13 of their orthonormal cosine transform (DCT-II)
  log_energy   of the whole spectrum
  zero_crossing  share of neighbours whose signs differ
  centroid     Hz, mean frequency by power
  rolloff      Hz, below which 85% of the power lies
  flux         distance to the window before, of spectra as unit vectors
  f0_log2      log2 of the pitch in Hz, over voiced windows; 0 where there is none
  voicing      height of the pitch's peak in the autocorrelation, 0 to 1

The pitch is the lag, between 60 and 500 Hz, of the highest peak of the autocorrelation
of 40 ms, divided by that of its window; among nearly equal peaks it is the shortest.
"""

import numpy as np
import scipy.fft

from mcr_jax.extract.steps import steps

SAMPLE_RATE = 16_000
HOP = 160
WINDOW, SPECTRUM = 400, 512
BANDS, CEPSTRA = 40, 13
LOWEST, HIGHEST = 60.0, 7600.0  # Hz, of the bands
EMPHASIS = 0.97
PITCH_WINDOW, PITCH_SPECTRUM = 640, 2048
PITCH = (60.0, 500.0)  # Hz
VOICED = 0.5
OCTAVE = 0.02  # what a peak must gain to be an octave lower
BLOCK = 3000  # windows at once: 30 s

NAMES = (
  *(f"mel_{i:02}" for i in range(BANDS)),
  *(f"mfcc_{i:02}" for i in range(CEPSTRA)),
  *("log_energy", "zero_crossing", "centroid", "rolloff", "flux", "f0_log2", "voicing"),
)


class Descriptors:
  """`descriptors` with the names of what it measures."""

  names = NAMES

  def __call__(
    self, samples: np.ndarray, rate: float, seconds: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """See `descriptors`."""
    return descriptors(samples, rate, seconds)


def descriptors(
  samples: np.ndarray, rate: float, seconds: float
) -> tuple[np.ndarray, np.ndarray]:
  """Features of sound and the times of their steps.

  Args:
    samples: (N,) at 16 kHz, in [-1, 1].
    rate: steps a second, at most 100.
    seconds: that the steps cover; sound beyond its samples is silence.
  Returns:
    (T, 60) float32, and (T, 2) seconds at which steps begin and end.
  """
  times = steps(rate, seconds)
  count = 1 + int(seconds * SAMPLE_RATE) // HOP
  rows, before = [], None
  for first in range(0, count, BLOCK):
    block, before = _measure(samples, first, min(BLOCK, count - first), before)
    rows.append(block)
  rows = np.concatenate(rows)
  # Rounding must not take a window from the step that it begins.
  place = np.arange(count) * HOP / SAMPLE_RATE * rate + 1e-6
  owner = np.minimum(place.astype(int), len(times) - 1)
  if owner[-1] < len(times) - 1:  # a last step of less than a hop: the window before it
    owner, rows = np.append(owner, len(times) - 1), np.concatenate([rows, rows[-1:]])
  size = np.bincount(owner, minlength=len(times))[:, None]
  start = np.searchsorted(owner, np.arange(len(times)))
  f0, voiced = NAMES.index("f0_log2"), rows[:, -1] >= VOICED
  rows[~voiced, f0] = 0
  mean = np.add.reduceat(rows, start, axis=0) / size
  voices = np.add.reduceat(voiced.astype(float), start)
  mean[:, f0] *= size[:, 0] / np.maximum(voices, 1)
  return mean.astype(np.float32), times


def _measure(samples, first, count, before):
  """Rows of `NAMES` for `count` windows from `first`, and the last unit spectrum."""
  plain = _windows(samples, first, count, WINDOW + 1)
  waves = plain[:, 1:] - EMPHASIS * plain[:, :-1]
  power = np.square(np.abs(scipy.fft.rfft(waves * np.hamming(WINDOW), SPECTRUM)))
  mel = np.log(power @ BANK.T + 1e-6)
  total = power.sum(1) + 1e-9
  unit = np.sqrt(power / total[:, None])
  flux = np.linalg.norm(
    np.diff(unit, axis=0, prepend=unit[:1] if before is None else before), axis=1
  )
  below = np.cumsum(power, 1) >= 0.85 * total[:, None]
  crossings = np.diff(np.signbit(waves), axis=1).mean(1)
  rows = np.column_stack(
    [
      mel,
      scipy.fft.dct(mel, norm="ortho")[:, :CEPSTRA],
      np.log(total),
      crossings,
      power @ FREQUENCIES / total,
      np.where(below.any(1), FREQUENCIES[below.argmax(1)], 0),
      flux,
      *_pitch(_windows(samples, first, count, PITCH_WINDOW)),
    ]
  )
  return rows, unit[-1:]


def _windows(samples, first, count, size):
  """(count, size), window i centred at sample i * HOP; silence where there is none."""
  begin = first * HOP - size // 2
  end = (first + count - 1) * HOP - size // 2 + size
  part = samples[max(begin, 0) : max(end, 0)].astype(np.float64)
  left = max(-begin, 0)
  part = np.pad(part, (left, max(0, end - begin - left - len(part))))
  return np.lib.stride_tricks.sliding_window_view(part, size)[::HOP][:count]


def _pitch(waves):
  """log2 of the pitch in Hz, and voicing, of windows (N, PITCH_WINDOW)."""
  waves = (waves - waves.mean(1, keepdims=True)) * np.hanning(PITCH_WINDOW)
  own = _autocorrelation(np.hanning(PITCH_WINDOW)[None])[0]
  auto = _autocorrelation(waves)
  auto = auto / (auto[:, :1] + 1e-9) / (own / own[0] + 1e-3)
  short, long = int(SAMPLE_RATE / PITCH[1]), int(SAMPLE_RATE / PITCH[0])
  left, peak, right = (auto[:, short + i : long + i] for i in (-1, 0, 1))
  penalty = OCTAVE * np.log2(np.arange(short, long) / short)
  height = np.where((peak > left) & (peak >= right), peak - penalty, -1)
  best, row = height.argmax(1), np.arange(len(height))
  a, b, c = left[row, best], peak[row, best], right[row, best]
  # Between samples: the top of the parabola through three of them.
  curve = a - 2 * b + c
  shift = np.where(curve < -1e-9, (a - c) / np.where(curve < -1e-9, 2 * curve, 1), 0)
  lag = best + short + np.clip(shift, -1, 1)
  voicing = np.where(height[row, best] > 0, np.clip(b, 0, 1), 0)
  return np.log2(SAMPLE_RATE / lag), voicing


def _autocorrelation(waves):
  power = np.square(np.abs(scipy.fft.rfft(waves, PITCH_SPECTRUM)))
  return scipy.fft.irfft(power)[:, :PITCH_WINDOW]


def _bank() -> np.ndarray:
  """(BANDS, bins) triangles of equal width on the mel scale."""
  mel = 2595 * np.log10(1 + np.array([LOWEST, HIGHEST]) / 700)
  edges = 700 * (10 ** (np.linspace(*mel, BANDS + 2) / 2595) - 1)
  low, top, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
  rising = (FREQUENCIES - low) / (top - low)
  falling = (high - FREQUENCIES) / (high - top)
  return np.clip(np.minimum(rising, falling), 0, None)


FREQUENCIES = np.fft.rfftfreq(SPECTRUM, 1 / SAMPLE_RATE)
BANK = _bank()
