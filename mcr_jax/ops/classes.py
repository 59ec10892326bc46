"""Logits of several labels whose numbers of classes differ, in one array."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Logits = TypeVar("Logits")


def mask_classes(predictions: Logits, classes: Sequence[int]) -> Logits:
  """Logits with -inf for the classes that a label does not have.

  Their share of a softmax is 0, no arg max picks them, and no gradient reaches them.

  Args:
    predictions: (..., K, C), NumPy's or JAX's.
    classes: of each of the K labels, at most C.
  """
  xp = predictions.__array_namespace__()
  own = np.arange(predictions.shape[-1]) < np.asarray(classes)[:, None]
  return xp.where(own, predictions, -np.inf)
