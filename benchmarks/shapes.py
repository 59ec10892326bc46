"""The shapes that benchmarks speak of, and batches of them."""

import numpy as np

MODALITIES = ("text", "vision", "audio")
WIDTHS = {"text": 300, "vision": 35, "audio": 74}
ALIGNED = {"text": 50, "vision": 50, "audio": 50}
UNALIGNED = {"text": 50, "vision": 500, "audio": 375}
# Means over CMU-MOSI: words, video at 15 and audio features at 12.5 a second.
MEANS = {"text": 12.4, "vision": 60.5, "audio": 50.4}


def lengths(
  count: int, longest: dict[str, int], seed: int = 0
) -> dict[str, np.ndarray]:
  """(N,) steps a modality, as clips of CMU-MOSI have them: 13% of the padded steps.

  A clip lasts a log-normal number of seconds, mean 4.03 (sigma 0.72, which gives the
  words a median of 10 and a 95th percentile of 31); aligned data has a step a word.
  """
  random = np.random.default_rng(seed)
  seconds = random.lognormal(np.log(4.03) - 0.72**2 / 2, 0.72, count)
  rates = {m: n / 4.03 for m, n in MEANS.items()}
  if len(set(longest.values())) == 1:
    rates = dict.fromkeys(longest, rates["text"])
  return {
    m: np.clip(np.round(seconds * rates[m]), 1, n).astype(np.int64)
    for m, n in longest.items()
  }


def batch(
  count: int, longest: dict[str, int], steps: dict[str, np.ndarray] | None = None
) -> dict[str, np.ndarray]:
  """Random features; every step is real unless `steps` says how many."""
  random, made = np.random.default_rng(1), {}
  for m, n in longest.items():
    made[m] = random.normal(size=(count, n, WIDTHS[m])).astype(np.float32)
    real = np.full(count, n) if steps is None else steps[m]
    made[f"{m}_mask"] = np.arange(n) < real[:, None]
    made[m] *= made[f"{m}_mask"][..., None]
  made["label"] = random.normal(size=count).astype(np.float32)
  made["weight"] = np.ones(count, np.float32)
  return made


def vectors(count: int) -> dict[str, np.ndarray]:
  """Random utterance vectors of the sizes of MIA-Net's paper."""
  random, made = np.random.default_rng(1), {}
  for m, width in {"text": 1024, "audio": 768, "vision": 256}.items():
    made[m] = random.normal(size=(count, 1, width)).astype(np.float32)
    made[f"{m}_mask"] = np.ones((count, 1), bool)
  made["label"] = random.normal(size=count).astype(np.float32)
  return made | {"weight": np.ones(count, np.float32)}
