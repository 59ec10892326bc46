"""Feature files of MulT: {train, valid, test} -> vision, text, audio, labels, id.

Sentiment is (N, 1, 1); IEMOCAP's emotions are (N, 4, 2), "no" or "yes" of each.
"""

import numpy as np

from mcr_jax.data.columns import videos
from mcr_jax.data.readers import mmsa
from mcr_jax.data.readers.common import splits, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError

EMOTIONS = ("neutral", "happy", "sad", "angry")
FORMAT = "a MulT pickle"
OPTIONS = ()


def matches(source: Source) -> bool:
  """Whether it is a pickle with `labels`, and not one of MMSA's."""
  content = source.content
  if not isinstance(content, dict) or mmsa.matches(source):
    return False
  entries = [x for x in content.values() if isinstance(x, dict)] or [content]
  return any(values.by_name(entry) and "labels" in entry for entry in entries)


def read(source: Source) -> Dataset:
  """The data set; IEMOCAP's labels become (N, 4) of 0 and 1."""
  content, source = source.content, str(source)
  found = splits.parts(content, source)
  modalities, notes = splits.modalities(found, source)
  ids, more = splits.ids(found, source)
  labels, names = _labels(splits.column(found, "labels", source), source)
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=splits.split_names(found),
    labels=labels,
    class_names=names,
    source=source,
    notes=(*notes, *more),
    columns=videos(ids),
  )


def _labels(labels, source):
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
