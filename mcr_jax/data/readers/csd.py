"""Computational sequences of the CMU-MultimodalSDK: one HDF5 file a modality.

`<root>/data/<video>/{features (n, d), intervals (n, 2)}`; labels are a file like the
others, whose intervals cut the videos into segments. A sample is a segment, or a whole
entry where there are no labels. The splits are in none of these files: a `splits.csv`
beside them with columns `id` (of a sample or a video) and `split` gives them.
"""

import re

import numpy as np

from mcr_jax.data import alignment, parts
from mcr_jax.data.columns import by_video
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import padding, sequences, table, values
from mcr_jax.data.readers.common.source import Source
from mcr_jax.data.schema import Dataset, Modality, canonical
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
# Segments that overlap copy their steps: more than this is no segmentation.
SPLITS_FILE = "splits.csv"
FREE_BYTES, MAX_COPIES = 64 << 20, 4

Entry = tuple[np.ndarray, np.ndarray]


def matches(source: Source) -> bool:
  """Whether it is an HDF5 file, or a folder or a list with one."""
  return source.content is None and any(map(_is_hdf5, source.files))


def read(source: Source, align: str | None = None) -> Dataset:
  """A .csd file, a folder or a list of them.

  Args:
    source: of this format.
    align: the modality whose intervals become the steps of all.
  """
  ledger = Ledger()
  files = list(filter(_is_hdf5, source.files))
  for path in source.files:
    if path not in files and path.name != SPLITS_FILE:
      ledger.hold(path.name, path.stat().st_size, "bytes")
      ledger.leave(path.name, "it is no .csd file")
  source = str(source)
  found, notes = _load(files, ledger)
  labels = found.pop("label", None)
  if not found:
    raise UserError(f"{source} holds no features, only labels or words.")
  samples = _segments(labels, ledger) if labels else _entries(found)
  if align is not None and canonical(align) not in found:
    raise UserError(f"{source}: align={align!r}; there are {', '.join(found)}.")
  modalities = _modalities(found, samples, align, source, ledger)
  ids = values.strings([key for key, _, _ in samples], source)
  main, extras = _labels(labels, samples, source) if labels else (None, {})
  splits = _splits(ids, files[0].parent / SPLITS_FILE, ledger)
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
    ledger=ledger.entries(),
  )


def _is_hdf5(path) -> bool:
  if not path.is_file():
    return False
  with open(path, "rb") as file:
    return file.read(len(MAGIC)) == MAGIC


def _load(files, ledger) -> tuple[dict[str, dict[str, Entry]], list[str]]:
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
        for beside in file.keys(group):
          if beside != "data":
            ledger.hold(beside, place=shown)
            if beside == "metadata":
              ledger.use(beside, "what the file says of itself, which nothing needs")
        entries = _read_entries(file, file.group(group, "data"))
        numeric = all(x.dtype.kind in "biuf" for x, _ in entries.values())
        kind = _kind(root if root in ("words", "labels") else f"{root} {path.stem}")
        ledger.hold(shown, len(entries), place=path.name)
        if not numeric:
          ledger.leave(shown, "words, which need vectors", place=path.name)
        elif not entries:
          ledger.leave(shown, "it is empty", place=path.name)
        else:
          if kind == "label" and kind in found:
            raise UserError(
              f"{path}: {shown!r} holds labels, and so does another of these files: "
              "give a list of the files to take, with one of labels."
            )
          kind = kind if kind and kind not in found else shown
          if kind in found:
            raise UserError(f"{path}: two files are both {kind!r}.")
          found[kind] = entries
          use = "labels" if kind == "label" else f"the modality {kind}"
          ledger.use(shown, use, place=path.name)
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


def _segments(labels, ledger) -> list[tuple[str, str, np.ndarray | None]]:
  """(id, video, interval) of every sample, as the labels cut the videos."""
  samples, behind = [], 0
  for key, (_, intervals) in labels.items():
    if match := SEGMENT.fullmatch(key):
      behind += max(0, len(intervals) - 1)
      samples.append((key, match[1], intervals[0] if len(intervals) else None))
    else:
      samples += [(f"{key}[{k}]", key, cut) for k, cut in enumerate(intervals)]
  ledger.part("labels", behind, "a segment has one label, the first", "rows")
  return samples


def _entries(found) -> list[tuple[str, str, None]]:
  keys = dict.fromkeys(key for entries in found.values() for key in entries)
  return [(key, key, None) for key in keys]


def _overlap(intervals: np.ndarray, cut: np.ndarray) -> slice | np.ndarray:
  """The rows that share time with an interval, as a slice where they are adjacent."""
  # A step may be a point in time; a segment of no length is none.
  shares = alignment.overlaps(intervals, cut[None]) & (cut[0] < cut[1])
  rows = np.flatnonzero(shares)
  if len(rows) and rows[-1] - rows[0] + 1 == len(rows):
    return slice(rows[0], rows[-1] + 1)
  return rows


def _taken(entries, sample) -> tuple[Entry | None, str, slice | np.ndarray]:
  """The steps of one sample, its own entry or a part of the video's, and which."""
  key, video, cut = sample
  if key in entries:
    return entries[key], key, slice(None)
  if video not in entries or cut is None:
    return None, video, slice(0)
  features, intervals = entries[video]
  rows = _overlap(intervals, cut)
  return (features[rows], intervals[rows]), video, rows


def _modalities(found, samples, align, source, ledger) -> dict[str, Modality]:
  steps = None
  if align:
    steps = [_taken(found[canonical(align)], sample)[0] for sample in samples]
  modalities = {}
  for name, entries in found.items():
    room = FREE_BYTES + MAX_COPIES * sum(x.nbytes for x, _ in entries.values())
    rows, masks, times = [], [], []
    used = {key: np.zeros(len(x), bool) for key, (x, _) in entries.items()}
    for index, sample in enumerate(samples):
      taken, key, own = _taken(entries, sample)
      mask = True
      if taken is not None:
        used[key][own] = True
      if taken is not None and align and name != canonical(align):
        taken, mask = _pooled(name, taken, steps[index])
      room -= 0 if taken is None else taken[0].size * 4
      if room < 0:
        raise UserError(f"{source}: refused: its segments repeat {name} too often.")
      rows.append(None if taken is None else taken[0])
      masks.append(mask)
      times.append(None if taken is None else taken[1])
    modalities[name] = sequences.from_list(name, rows, source, masks=masks, times=times)
    _tell(name, used, ledger)
  return modalities


def _tell(name, used, ledger):
  """Entries and steps of a modality that are of no sample."""
  never = [key for key, steps in used.items() if not steps.any()]
  ledger.part(name, len(never), "no label cuts them into segments", items=never)
  steps = sum(int((~x).sum()) for x in used.values() if x.any())
  ledger.part(name, steps, "they lie outside of all segments", "steps")


def _pooled(name, taken, steps) -> tuple[Entry | None, np.ndarray | bool]:
  """The mean of the rows that share time with each step; a hole where none does."""
  if steps is None:
    return None, True
  (features, intervals), cuts = taken, steps[1]
  there = np.ones(len(features), bool)
  if name in padding.WITH_HOLES:
    there = padding.nonzero(features)
  pooled, mask = alignment.pool(features, intervals, there, cuts)
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


def _splits(ids, path, ledger) -> np.ndarray | None:
  if not path.is_file():
    return None
  columns = {k.lower(): x for k, x in table.read(path).columns.items()}
  if not {"id", "split"} <= set(columns):
    raise UserError(f"{path} has the columns {', '.join(columns)}; right: id, split.")
  splits = dict(zip(columns["id"], parts.named(columns["split"]), strict=True))
  ledger.hold(path.name, len(splits), "rows")
  ledger.use(path.name, "splits")
  result, used, without = [], set(), []
  for key in map(str, ids):
    match = SEGMENT.fullmatch(key)
    name = key if key in splits else match[1] if match else key
    result.append(str(splits.get(name, "")))
    used.add(name)
    if not result[-1]:
      without.append(key)
  if without:
    raise UserError(
      f"{path}: {len(without):,} of {len(ids):,} samples are in no split, the first is "
      f"{without[0]!r}."
    )
  beside = [x for x in splits if x not in used]
  ledger.part(path.name, len(beside), "no sample is of these names", "rows", beside)
  return np.array(result)
