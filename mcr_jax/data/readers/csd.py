"""Computational sequences of the CMU-MultimodalSDK: one HDF5 file a modality.

`<root>/data/<video>/{features (n, d), intervals (n, 2)}`; labels are a file like the
others, whose intervals cut the videos into segments. A sample is a segment, or a whole
entry where there are no labels. The splits are in none of these files: a `splits.csv`
beside them with columns `id` (of a sample or a video) and `split` gives them.
"""

import csv
import re

import numpy as np

from mcr_jax.data.columns import by_video
from mcr_jax.data.readers.common import sequences, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import SPLITS, Dataset, Modality, canonical
from mcr_jax.errors import UserError

FORMAT = "CMU-MultimodalSDK .csd files"
OPTIONS = ("align",)
MAGIC = b"\x89HDF\r\n\x1a\n"
KINDS = {
  "label": ("label", "sentiment", "annotation"),
  "audio": ("covarep", "opensmile", "audio", "acoustic", "wav2vec", "mfcc"),
  "vision": ("facet", "openface", "vision", "visual", "video", "facial"),
  "text": ("glove", "word", "text", "bert", "language", "transcript"),
}
MOSEI = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
SEGMENT = re.compile(r"(.*)\[(\d+)\]")
# Neighbours in time touch, and with rounding overlap by some microseconds.
TOUCH = 1e-4
# Segments that overlap copy their steps: more than this is no segmentation.
FREE_BYTES, MAX_COPIES = 64 << 20, 4

Entry = tuple[np.ndarray, np.ndarray]


def matches(source: Source) -> bool:
  """Whether it is an HDF5 file, or a folder or a list with one."""
  return any(map(_is_hdf5, source.files))


def read(source: Source, align: str | None = None) -> Dataset:
  """A .csd file, a folder or a list of them.

  Args:
    source: of this format.
    align: the modality whose intervals become the steps of all.
  """
  files, source = list(filter(_is_hdf5, source.files)), str(source)
  found, notes = _load(files)
  labels = found.pop("label", None)
  if not found:
    raise UserError(f"{source} holds no features, only labels or words.")
  samples = _segments(labels) if labels else _entries(found)
  if align is not None and canonical(align) not in found:
    raise UserError(f"{source}: align={align!r}; there are {', '.join(found)}.")
  modalities = _modalities(found, samples, align, source)
  if align:
    notes.append(
      f"The intervals of {canonical(align)} are the steps; others are means."
    )
  ids = values.strings([key for key, _, _ in samples], source)
  main, extras = _labels(labels, samples, source) if labels else (None, {})
  splits = _splits(ids, files[0].parent / "splits.csv")
  if splits is None:
    notes.append("The files name no splits; splits.csv (id, split) beside them does.")
  return Dataset(
    ids,
    modalities,
    splits,
    main,
    source=source,
    notes=tuple(notes),
    extras=extras,
    columns=_columns(samples) if labels else {},
  )


def _is_hdf5(path) -> bool:
  if not path.is_file():
    return False
  with open(path, "rb") as file:
    return file.read(len(MAGIC)) == MAGIC


def _load(files) -> tuple[dict[str, dict[str, Entry]], list[str]]:
  """Kind -> entries, of all files."""
  try:
    from mcr_jax.data.readers.common import hdf5  # h5py, which only these files need
  except ImportError:
    raise UserError(f"{files[0]} is HDF5; reading it needs h5py.") from None
  found, notes = {}, []
  for path in files:
    with hdf5.opened(path) as file:
      for root in file.keys(file.root):
        group = file.group(file.root, root)
        if "data" not in group:
          keys = [repr(key)[:40] for key in file.keys(file.root)[:8]]
          raise UserError(f"{path} is HDF5 with {', '.join(keys)}, but no <root>/data.")
        shown = root.encode("utf-8", "replace").decode()[:60]
        entries = _read_entries(file, file.group(group, "data"))
        numeric = all(x.dtype.kind in "biuf" for x, _ in entries.values())
        kind = _kind(root if root in ("words", "labels") else f"{root} {path.stem}")
        if not numeric:
          notes.append(f"{shown!r} holds words, which need vectors: it is not used.")
        elif not entries:
          notes.append(f"{shown!r} is empty.")
        else:
          kind = kind if kind and kind not in found else shown
          if kind in found:
            raise UserError(f"{path}: two files are both {kind!r}.")
          found[kind] = entries
          notes.append(f"{kind}: {shown!r}, {len(entries)} entries.")
  order = [*(k for k in values.MODALITIES if k in found)]
  return {k: found[k] for k in [*order, *(k for k in found if k not in order)]}, notes


def _kind(text: str) -> str | None:
  text = text.lower()
  return next((k for k, words in KINDS.items() if any(w in text for w in words)), None)


def _read_entries(file, data) -> dict[str, Entry]:
  entries = {}
  for key in file.keys(data):
    group = file.group(data, key)
    features, intervals = (file.array(group, x) for x in ("features", "intervals"))
    features = features.reshape(-1, 1) if features.ndim == 1 else features
    if features.ndim != 2 or intervals.shape != (len(features), 2):
      raise UserError(
        f"{file.source}: {key[:60]!r} has features {features.shape} and intervals "
        f"{intervals.shape}; right are (n, d) and (n, 2)."
      )
    if intervals.dtype.kind not in "biuf" or not np.isfinite(intervals).all():
      raise UserError(f"{file.source}: the intervals of {key[:60]!r} are not finite.")
    entries[key.encode("utf-8", "replace").decode()] = (features, intervals)
  return entries


def _segments(labels) -> list[tuple[str, str, np.ndarray | None]]:
  """(id, video, interval) of every sample, as the labels cut the videos."""
  samples = []
  for key, (_, intervals) in labels.items():
    if match := SEGMENT.fullmatch(key):
      samples.append((key, match[1], intervals[0] if len(intervals) else None))
    else:
      samples += [(f"{key}[{k}]", key, cut) for k, cut in enumerate(intervals)]
  return samples


def _entries(found) -> list[tuple[str, str, None]]:
  keys = dict.fromkeys(key for entries in found.values() for key in entries)
  return [(key, key, None) for key in keys]


def _overlap(intervals: np.ndarray, cut: np.ndarray) -> slice | np.ndarray:
  """The rows that share time with an interval, as a slice where they are adjacent."""
  start, end = intervals.T
  shares = (start < cut[1] - TOUCH) & (end > cut[0] + TOUCH)
  # A frame may be a point in time.
  point = (start == end) & (start >= cut[0]) & (start < cut[1] - TOUCH)
  rows = np.flatnonzero(shares | point)
  if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
    return slice(rows[0], rows[-1] + 1)
  return rows


def _taken(entries, sample) -> Entry | None:
  """The steps of one sample: its own entry, or its part of the video's."""
  key, video, cut = sample
  if key in entries:
    return entries[key]
  if video not in entries or cut is None:
    return None
  features, intervals = entries[video]
  rows = _overlap(intervals, cut)
  return features[rows], intervals[rows]


def _modalities(found, samples, align, source) -> dict[str, Modality]:
  steps = None
  if align:
    steps = [_taken(found[canonical(align)], sample) for sample in samples]
  modalities = {}
  for name, entries in found.items():
    room = FREE_BYTES + MAX_COPIES * sum(x.nbytes for x, _ in entries.values())
    rows, masks = [], []
    for index, sample in enumerate(samples):
      taken = _taken(entries, sample)
      mask = True
      if taken is not None and align and name != canonical(align):
        taken, mask = _pooled(taken, steps[index])
      room -= 0 if taken is None else taken[0].size * 4
      if room < 0:
        raise UserError(f"{source}: refused: its segments repeat {name} too often.")
      rows.append(None if taken is None else taken[0])
      masks.append(mask)
    modalities[name] = sequences.from_list(name, rows, source, masks=masks)
  return modalities


def _pooled(taken, steps) -> tuple[Entry | None, np.ndarray | bool]:
  """The mean of the rows that share time with each step; a hole where none does."""
  if steps is None:
    return None, True
  (features, intervals), cuts = taken, steps[1]
  pooled = np.zeros((len(cuts), features.shape[1]), np.float32)
  mask = np.zeros(len(cuts), bool)
  with np.errstate(invalid="ignore", over="ignore"):
    for index, cut in enumerate(cuts):
      rows = features[_overlap(intervals, cut)]
      if len(rows):
        pooled[index], mask[index] = rows.mean(0, dtype=np.float64), True
  return (pooled, cuts), mask


def _labels(labels, samples, source) -> tuple[np.ndarray, dict[str, np.ndarray]]:
  widths = {x.shape[1] for x, _ in labels.values()}
  if len(widths) != 1:
    raise UserError(f"{source}: the labels have {sorted(widths)} columns.")
  rows = []
  for key, (features, _) in labels.items():
    rows.append(features[:1] if SEGMENT.fullmatch(key) else features)
  table = np.concatenate(rows).astype(np.float32)
  if len(table) != len(samples):
    raise UserError(f"{source}: {len(samples)} segments have {len(table)} labels.")
  if table.shape[1] != len(MOSEI):
    return (table[:, 0] if table.shape[1] == 1 else table), {}
  extras = {f"label_{name}": table[:, i] for i, name in enumerate(MOSEI) if i}
  return table[:, 0], {**extras, "label_emotions": table[:, 1:]}


def _columns(samples):
  """Segments are the turns of their video, in the order of their times."""
  names = values.strings([video for _, video, _ in samples], "the videos")
  starts = [0.0 if cut is None else float(cut[0]) for _, _, cut in samples]
  return by_video(names, np.array(starts))


def _splits(ids, path) -> np.ndarray | None:
  if not path.is_file():
    return None
  try:
    with open(path, newline="", encoding="utf-8-sig") as file:
      table = {row.get("id"): row.get("split") or "" for row in csv.DictReader(file)}
  except (csv.Error, UnicodeDecodeError) as error:
    raise UserError(f"{path} is no table: {error}") from None
  table = {key: values.SPLIT_NAMES.get(x, x) for key, x in table.items()}
  result = []
  for key in ids:
    match = SEGMENT.fullmatch(key)
    split = table.get(str(key)) or table.get(match[1] if match else "")
    if split not in SPLITS:
      raise UserError(f"{path}: {str(key)!r} is in split {split!r}, not in {SPLITS}.")
    result.append(split)
  return np.array(result)
