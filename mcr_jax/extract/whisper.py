"""Whisper (Radford et al., 2022) from a folder in the format of CTranslate2.

Its encoder makes features of sound, 50 a second (of tiny.en 384 numbers each), and all
of it makes words (`asr`). The folder is the one that `--get-models` brings, or another;
nothing is downloaded here. It is computed in float32, so that the numbers do not depend
on the processor's kind of short integers, and in one thread: `--jobs` is for more.

The encoder reads 30 s at once. A longer clip is read in windows of 30 s that share 2 s,
and each state comes from the window in which it lies at least 1 s from a border.
"""

import functools
import importlib.util
from pathlib import Path

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.extract.steps import means, steps, windows

SAMPLES = 320  # a state
STATE = 0.02  # seconds
MOST, MARGIN = 1500, 50  # states
INSTALL = 'pip install "mcr_jax[asr]"'


def check_installed() -> None:
  """Raises UserError where a package is not there."""
  if not installed():
    raise UserError(f"Whisper needs faster-whisper: {INSTALL}.")


def installed() -> bool:
  """Whether whisper can run here."""
  return importlib.util.find_spec("faster_whisper") is not None


@functools.cache
def load(folder: Path):
  """The model of a folder, a `WhisperModel` of faster-whisper.

  Raises:
    UserError: it is no such folder.
  """
  check_installed()
  from faster_whisper import WhisperModel

  try:
    return WhisperModel(
      str(folder),
      device="cpu",
      compute_type="float32",
      cpu_threads=1,
      local_files_only=True,
    )
  except Exception as error:  # of C++, of tokenizers and of JSON
    text = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
    raise UserError(f"{folder} is no model of CTranslate2 ({text}).") from None


class Encoder:
  """Features of sound by the encoder of a folder's model."""

  def __init__(self, folder: Path):
    from faster_whisper.feature_extractor import FeatureExtractor

    self._model = load(folder).model
    self._spectrum = FeatureExtractor(feature_size=self._model.n_mels)
    width = self._states(np.zeros(SAMPLES, np.float32)).shape[1]
    self.names = tuple(f"whisper_{i:04}" for i in range(width))

  def __call__(
    self, samples: np.ndarray, rate: float, seconds: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """(T, D) features of samples (N,) at 16 kHz, and (T, 2) seconds of their steps."""
    times = steps(rate, seconds)
    count = max(1, -(-len(samples) // SAMPLES))
    found = []
    for first, last, kept, end in windows(count, MOST, MARGIN):
      part = samples[first * SAMPLES : last * SAMPLES]
      part = np.pad(part, (0, (last - first) * SAMPLES - len(part)))
      found.append(self._states(part)[kept - first : end - first])
    centres = (np.arange(count) + 0.5) * STATE
    return means(np.concatenate(found), centres, times), times

  def _states(self, samples: np.ndarray) -> np.ndarray:
    """(N / SAMPLES, D) of samples (N,)."""
    from ctranslate2 import StorageView

    spectrum = self._spectrum(samples)[None, :, : len(samples) // (SAMPLES // 2)]
    view = StorageView.from_array(np.ascontiguousarray(spectrum, np.float32))
    return np.array(self._model.encode(view))[0]
