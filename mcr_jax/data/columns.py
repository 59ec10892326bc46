"""The columns of an utterance that have a name of their own in every format.

`dialogue_id`, `video_id` and `speaker` are text or whole numbers, `turn` whole numbers
in whose order the utterances of a dialogue were said (gaps allowed), and `label_T`,
`label_A` and `label_V` the labels that an utterance got from one modality alone.
"""

from collections.abc import Iterable, Mapping

import numpy as np

from mcr_jax.data.labels import NO_CLASS
from mcr_jax.data.schema import Column
from mcr_jax.errors import UserError

ROLES = {
  "dialogue_id": "dialogue",
  "video_id": "video",
  "turn": "turn",
  "speaker": "speaker",
  "label_T": "modality_label",
  "label_A": "modality_label",
  "label_V": "modality_label",
}
MODALITIES = {"label_T": "text", "label_A": "audio", "label_V": "vision"}


def is_column(name: str, values: np.ndarray) -> bool:
  """Whether an array of a file is a column, and not features or a choice of labels."""
  if name in MODALITIES:
    return values.dtype.kind in "biuf"
  # Speakers may well have features.
  features = values.ndim > 1 and values.dtype.kind in "fiu" and name == "speaker"
  return name in ROLES and not features


def column(name: str, values: np.ndarray, count: int, source: str) -> Column:
  """One of `ROLES` as a column of `count` utterances.

  Raises:
    UserError: it is of another length or type.
  """
  values = np.asarray(values)
  if values.ndim == 2 and values.shape[1] == 1:
    values = values[:, 0]
  label = name in MODALITIES
  if values.ndim not in ((1, 2) if label else (1,)) or len(values) != count:
    raise UserError(
      f"{source}: {name!r} has shape {values.shape}; it has an entry an utterance, "
      f"({count},)."
    )
  if label:
    absent = np.isnan(values) if values.dtype.kind == "f" else values == NO_CLASS
    absent = absent.reshape(count, -1).all(1)
    mask = ~absent if absent.any() else None
    return Column(values, ROLES[name], mask, MODALITIES[name])
  if values.dtype.kind == "S":
    values = np.char.decode(values, "utf-8", "replace")
  if values.dtype.kind == "U" and name != "turn":
    return Column(values, ROLES[name])
  whole = values.dtype.kind in "iu"
  if values.dtype.kind == "f":
    whole = bool(np.isfinite(values).all() and (values == np.round(values)).all())
  if not whole:
    right = "whole numbers" if name == "turn" else "text or whole numbers"
    raise UserError(f"{source}: {name!r} is of type {values.dtype}; right are {right}.")
  return Column(values.astype(np.int64), ROLES[name])


def videos(ids: Iterable[str]) -> dict[str, Column]:
  """Video and turn of ids `video$_$clip`; nothing where one is not such.

  The clips of a video are its turns, in the order of their numbers or times.
  """
  pairs = [str(name).partition("$_$")[::2] for name in ids]
  try:
    clips = np.array([float(clip.split("_")[0]) for _, clip in pairs])
  except ValueError:
    return {}
  names = np.array([video for video, _ in pairs], dtype=str)
  return by_video(names, clips) if np.isfinite(clips).all() else {}


def by_video(names: np.ndarray, times: np.ndarray) -> dict[str, Column]:
  """Columns of clips of videos, whose turns they are.

  Args:
    names: (N,) of the videos.
    times: (N,) numbers in whose order the clips of a video stand.
  """
  order = np.lexsort((times, names))
  starts = np.flatnonzero(np.append(True, names[order][1:] != names[order][:-1]))
  turn = np.empty(len(names), np.int64)
  turn[order] = np.arange(len(names)) - np.repeat(
    starts, np.diff(np.append(starts, len(names)))
  )
  return {
    "video_id": Column(names, "video"),
    "turn": Column(turn, "turn"),
  }


def describe(columns: Mapping[str, Column]) -> list[str]:
  """A line a column: how many different entries, or how many labels."""
  lines = []
  for name, found in columns.items():
    values = found.values
    if found.role == "modality_label":
      lost = int((~found.known).sum())
      text = f"labels by {found.modality}" + f", {lost:,} missing" * bool(lost)
    elif found.role == "turn":
      text = f"{values.min(initial=0):,} to {values.max(initial=0):,}"
    else:
      counts = np.unique(values, return_counts=True)[1]
      text = f"{len(counts):,} different"
      if len(counts):
        text += f", of {counts.min():,} to {counts.max():,} utterances"
    lines.append(f"{name}: {text}")
  return lines
