"""Which class was taken for which, of classes and of sentiment in seven steps."""

from collections.abc import Sequence

import numpy as np

from mcr_jax.evaluators import Evaluation
from mcr_jax.metrics import names_of

SEVEN = ("-3", "-2", "-1", "0", "1", "2", "3")
ROUNDED = "Rounded to whole numbers from -3 to 3, as acc7 counts."


def matrix(
  found: Evaluation,
) -> tuple[np.ndarray, Sequence[str], str] | None:
  """(counts (C, C) summed over the seeds, class names, a note), or None.

  True classes are rows, predicted ones columns.
  """
  results = found.results
  if results.confusion is not None:
    counts = np.array(results.confusion)
    names = results.class_names or results.target_names
    return counts, names_of(names, len(counts)), " ".join(results.notes)
  if results.scheme != "sentiment":
    return None
  whole = lambda x: np.rint(np.clip(x, -3, 3)).astype(int) + 3
  labels = whole(found.labels.reshape(-1).astype(np.float64))
  counts = np.zeros((7, 7), int)
  for one in found.predictions:
    one = one.reshape(-1).astype(np.float64)
    kept = np.isfinite(one)
    np.add.at(counts, (labels[kept], whole(one[kept])), 1)
  return counts, SEVEN, ROUNDED
