"""The low-level descriptors of eGeMAPS (Eyben et al., 2016) by openSMILE.

25 of them 100 times a second, as `opensmile`'s eGeMAPSv02 computes them; a step is
their mean. Those that only a voice has (their names end in `nz`) are means over voiced
windows, and 0 where there is none. openSMILE is audEERING's, under a licence for
research and not for products: the extra is one of its own.
"""

import importlib.util
import warnings

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.extract.steps import means, steps

RATE = 16_000
SHORTEST = RATE // 10  # samples in which there is a window of all descriptors
WINDOW = 0.02  # seconds; windows for the pitch are longer, around the same centre
PITCH = "F0semitoneFrom27.5Hz_sma3nz"
INSTALL = 'pip install "mcr_jax[egemaps]"'


def check_installed() -> None:
  """Raises UserError where the package is not there."""
  if importlib.util.find_spec("opensmile") is None:
    raise UserError(
      f"eGeMAPS need opensmile: {INSTALL}. Its licence is for research, not for "
      "products."
    )


class Descriptors:
  """openSMILE, set up once."""

  def __init__(self):
    check_installed()
    import opensmile

    self._smile = opensmile.Smile(
      opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.LowLevelDescriptors
    )
    self.names = tuple(self._smile.feature_names)

  def __call__(
    self, samples: np.ndarray, rate: float, seconds: float
  ) -> tuple[np.ndarray, np.ndarray]:
    """(T, 25) features of samples (N,) at 16 kHz, and (T, 2) seconds of their steps."""
    times = steps(rate, seconds)
    samples = np.pad(samples, (0, max(0, SHORTEST - len(samples))))
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")  # on sound that is short
      table = self._smile.process_signal(samples, RATE)
    centres = table.index.get_level_values("start").total_seconds() + WINDOW / 2
    rows, centres = np.nan_to_num(table.to_numpy(float)), centres.to_numpy()
    found = means(rows, centres, times)
    voiced = rows[:, self.names.index(PITCH)] > 0
    of_voice = np.array([name.endswith("nz") for name in self.names])
    share = means(voiced[:, None].astype(float), centres, times)
    sums = means(np.where(voiced[:, None], rows, 0), centres, times)
    voice = np.where(share > 0, sums / np.maximum(share, 1e-9), 0)
    return np.where(of_voice[None], voice, found).astype(np.float32), times
