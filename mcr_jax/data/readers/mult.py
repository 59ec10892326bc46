"""Feature files of MulT: {train, valid, test} -> vision, text, audio, labels, id.

Sentiment is (N, 1, 1); IEMOCAP's emotions are (N, 4, 2), "no" or "yes" of each.
"""

from collections.abc import Mapping

from mcr_jax.data.columns import videos
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers import mmsa, sdk
from mcr_jax.data.readers.common import label_arrays, splits, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset

FORMAT = "a MulT pickle"
OPTIONS = ("parts",)


def matches(source: Source) -> bool:
  """Whether it is a pickle with `labels`, and not one of MMSA's."""
  content = source.content
  if not isinstance(content, dict) or mmsa.matches(source) or sdk.matches(source):
    return False
  entries = [x for x in content.values() if isinstance(x, dict)] or [content]
  return any(values.by_name(entry) and "labels" in entry for entry in entries)


def read(source: Source, parts: Mapping[str, str] | None = None) -> Dataset:
  """The data set; IEMOCAP's labels become (N, 4) of 0 and 1.

  Args:
    source: of this format.
    parts: split -> the file's name of what to take for it.
  """
  content, source, ledger = source.content, str(source), Ledger()
  found = splits.parts(content, source, ledger, parts)
  modalities, notes = splits.modalities(found, source, ledger)
  ids, more = splits.ids(found, source, ledger)
  raw, known = splits.column(found, "labels", source, ledger)
  labels, names = label_arrays.reshaped(raw, source)
  ledger.use("labels", "labels")
  return Dataset(
    ids=ids,
    modalities=modalities,
    splits=splits.split_names(found),
    labels=label_arrays.marked(labels, known),
    class_names=names,
    source=source,
    notes=(*notes, *more),
    columns=videos(ids),
    ledger=ledger.entries(),
  )
