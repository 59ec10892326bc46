"""What a feature file says of steps and features beside numbers: words, times, names.

`<m>_words` and `<m>_times` lie as the features do: (N,) and (N, 2) beside vectors,
(N, T) and (N, T, 2) beside padded sequences, (sum T,) and (sum T, 2) beside ragged.
`extract` is JSON, how the features were made. Nothing of it reaches a model.
"""

import dataclasses
import json
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcr_jax.data import alignment, archive, memory
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError

PARTS = ("_words", "_times", "_names")
KEPT = ("raw_text", "extract")
SHOWN = 300
LONGEST_SENTENCE = 500


def attached(
  path: str, arrays: Mapping[str, np.ndarray], key: str, shape: tuple[int, ...]
) -> dict[str, Any]:
  """What there is of `words`, `times` and `names`, as a `Modality` has them.

  Args:
    path: of the file, for messages.
    arrays: of the file.
    key: of the features.
    shape: of their steps, before the axis of features.
  """
  found = {part[1:]: arrays.get(key + part) for part in PARTS}
  found = {name: x for name, x in found.items() if x is not None}
  wanted = {"words": shape, "times": (*shape, 2), "names": arrays[key].shape[-1:]}
  for name, x in found.items():
    if x.shape != wanted[name]:
      raise UserError(
        f"{path}: {f'{key}_{name}'!r} has shape {x.shape}; beside {key!r} of shape "
        f"{arrays[key].shape} it must be {wanted[name]}."
      )
    right = "fiu" if name == "times" else "US"
    if x.dtype.kind not in right:
      kind = "seconds" if name == "times" else "text"
      raise UserError(f"{path}: {f'{key}_{name}'!r} is {x.dtype}; right is {kind}.")
    found[name] = _times(path, key, x) if name == "times" else _text(path, key, x)
  if "names" in found:
    found["names"] = tuple(found["names"].tolist())
  return found


def check_extract(path: str, text: np.ndarray | None) -> None:
  """Raises UserError where `extract` is there and no JSON."""
  if text is None:
    return
  try:
    if text.shape or text.dtype.kind not in "US":
      raise ValueError(f"{text.dtype} of shape {text.shape}")
    json.loads(text.item())
  except ValueError as error:
    raise UserError(
      f"{path}: 'extract' must be JSON in one string ({error})."
    ) from None


def arrays_of(name: str, modality: Modality) -> dict[str, np.ndarray]:
  """What a file of ragged sequences or vectors has of it."""
  found = {f"{name}_words": modality.words, f"{name}_times": modality.times}
  found[f"{name}_names"] = np.array(modality.names, str) if modality.names else None
  return {key: x for key, x in found.items() if x is not None}


def on_steps(modality: Modality, sentences: Sequence[str]) -> Modality:
  """With the words of sentences, if every sentence has as many as its sample has steps.

  A sample that fills the longest sequence may have been cut, and its sentence with it.
  """
  words = [sentence.split() for sentence in sentences]
  counts, lengths = np.array([len(x) for x in words], np.int64), modality.lengths
  cut = (counts > lengths) & (lengths == lengths.max(initial=0))
  if modality.vector or not (cut | (counts == lengths)).all() or not lengths.any():
    return modality
  parts = zip(words, lengths, strict=True)
  flat = [word for own, length in parts for word in own[:length]]
  memory.take(4 * len(flat) * max(map(len, flat)), "the words of all steps")
  return dataclasses.replace(modality, words=np.array(flat, dtype=str))


def describe(dataset: Dataset) -> list[str]:
  """A line on each kind that the data set has, for `inspect`."""
  lines = []
  for name, x in dataset.modalities.items():
    if x.words is not None and len(x.words):
      some = " ".join(x.words[:8].tolist())[:60]
      lines.append(f"{name}: words on its {len(x.words):,} steps ({some} ...).")
    if x.times is not None and np.isfinite(x.times).any():
      first, last = np.nanmin(x.times), np.nanmax(x.times)
      step = np.nanmedian(x.times[:, 1] - x.times[:, 0])
      lines.append(
        f"{name}: times from {first:.2f} to {last:.2f} s, a step of {step:.3g} s."
      )
    if x.names:
      lines.append(f"{name}: features {textwrap.shorten(', '.join(x.names), SHOWN)}")
  if "raw_text" in dataset.extras:
    lines.append("Every sample has its sentence, which tables and drawings show.")
  if "extract" in dataset.extras:
    lines.append(f"Extracted with {str(dataset.extras['extract'])[:SHOWN]}")
  return lines


def sentences(said: Sequence[str], what: str) -> np.ndarray:
  """(N,) what was said, cut at some length.

  Args:
    said: of every sample.
    what: the file and the name, for messages.
  """
  said = [x[:LONGEST_SENTENCE] for x in said]
  memory.take(4 * len(said) * max(map(len, said), default=0), what)
  text = np.array(said, dtype=str)
  # Half of a character could not be written to any file.
  return np.char.decode(np.char.encode(text, "utf-8", "replace"), "utf-8")


def _times(path, key, times: np.ndarray) -> np.ndarray:
  times = times.astype(np.float64)
  alignment.check_order(f"{path}: {f'{key}_times'!r}", times)
  return times


def _text(path, key, text: np.ndarray) -> np.ndarray:
  if text.dtype.kind == "S":
    return np.char.decode(text, "utf-8", "replace")
  if not archive.is_text(text):
    raise UserError(f"{path}: the words or names of {key!r} hold what is no character.")
  return text
