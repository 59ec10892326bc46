"""The figure of the README, from a run of `mcr_synthetic`.

python -m mcr_jax.train --config mcr_synthetic --workdir runs/first
python -m docs.generate.attention runs/first
"""

import sys

import numpy as np

import mcr_jax
from docs.generate import package
from mcr_jax import visualize
from mcr_jax.data.schema import Modality

SAMPLE = 1  # of the test split
PATH = package.ROOT.parent / "docs" / "attention.png"


def main(workdir: str) -> None:
  """Draws what the first seed's words read of the audio in one sample."""
  run = mcr_jax.load_run(workdir)
  dataset = run.read()
  sample = dataset.select(dataset.indices("test")[SAMPLE : SAMPLE + 1])
  name = "layer_0/cmu_text/attention_audio"
  weights = run.outputs(sample)[name][0, 0, 0]
  labels = {m: _labels(dataset, sample, m) for m in ("text", "audio")}
  rows, columns = labels.values()
  figure = visualize.attention(
    weights[: len(rows), : len(columns)],
    rows,
    columns,
    title="MCR: what words read of the audio",
    row_title="word",
    column_title="step of audio",
  )
  figure.savefig(PATH, dpi=90)


def cues(modality: Modality) -> tuple[np.ndarray, np.ndarray]:
  """The pattern that shows a bit, (D,), and which steps have it, (steps,) bool.

  Every step has one of two patterns or its opposite; in the one that shows the bit all
  steps of a sample agree.
  """
  first = modality.values[0]
  second = modality.values[_cosine(modality.values, first).argmin()]
  for pattern in (first, second):
    shown = _cosine(modality.values, pattern) > 0.5
    signs = np.sign(modality.values @ pattern) * shown
    starts = modality.offsets[:-1]
    agree = abs(np.add.reduceat(signs, starts)) == np.add.reduceat(shown, starts)
    if agree.mean() > 0.9:
      return pattern, shown
  raise ValueError("No pattern agrees within samples: this is no synthetic data.")


def _cosine(values: np.ndarray, pattern: np.ndarray) -> np.ndarray:
  lengths = np.linalg.norm(values, axis=1) * np.linalg.norm(pattern)
  return abs(values @ pattern) / np.where(lengths == 0, 1, lengths)


def _labels(dataset, sample, name: str) -> list[str]:
  pattern, _ = cues(dataset.modalities[name])
  shown = _cosine(sample.modalities[name].values, pattern) > 0.5
  return [f"{step}{'●' * bool(cue)}" for step, cue in enumerate(shown)]


if __name__ == "__main__":
  main(sys.argv[1])
