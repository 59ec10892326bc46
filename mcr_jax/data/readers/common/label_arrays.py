"""Labels in the shapes that MulT and what came after it write."""

import numpy as np

from mcr_jax.data.unlabelled import NO_CLASS
from mcr_jax.errors import UserError

EMOTIONS = ("neutral", "happy", "sad", "angry")


def marked(labels: np.ndarray | None, known: np.ndarray) -> np.ndarray | None:
  """Labels (N,) or (N, K) that say where there is none.

  Args:
    labels: numbers or classes, of no meaning where they are not known.
    known: (N,) bool.
  """
  if labels is None or known.all():
    return labels
  mark = np.nan if labels.dtype.kind == "f" else NO_CLASS
  if labels.dtype.kind in "bu":
    labels = labels.astype(np.int64)
  return np.where(known.reshape(-1, *[1] * (labels.ndim - 1)), labels, mark)


def reshaped(
  labels: np.ndarray | None, source: str
) -> tuple[np.ndarray | None, tuple[str, ...]]:
  """Labels (N,) or (N, K) of the shapes that MulT writes, and the classes' names."""
  if labels is None:
    return None, ()
  if labels.ndim == 3 and labels.shape[2] == 2:
    if not ((labels == 0) | (labels == 1)).all() or (labels.sum(2) != 1).any():
      raise UserError(
        f"{source}: 'labels' of shape {labels.shape} must be [1, 0] for no and [0, 1] "
        "for yes, for every emotion."
      )
    names = EMOTIONS if labels.shape[1] == len(EMOTIONS) else ()
    return labels[:, :, 1].astype(np.int64), names
  wide = int(np.prod(labels.shape[1:]))
  if labels.ndim > 3 or wide < 1 or wide not in labels.shape[1:] + (1,):
    raise UserError(
      f"{source}: 'labels' has shape {labels.shape}; right are (N, 1, 1) and (N, 4, 2)."
    )
  labels = labels.reshape((len(labels),) if wide == 1 else (len(labels), wide))
  whole = labels.dtype.kind in "biu"
  return labels.astype(np.int64 if whole else np.float32), ()
