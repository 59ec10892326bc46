"""What is in a data set, in words: the questions to ask before training on it."""

import collections
import dataclasses
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from mcr_jax.data import annotations, ledger
from mcr_jax.data.batches import resident_bytes
from mcr_jax.data.checks import validate
from mcr_jax.data.columns import describe
from mcr_jax.data.label_report import count, histogram, lines, readable
from mcr_jax.data.load import lengths_of
from mcr_jax.data.schema import SPLITS, Dataset, Modality, chunks
from mcr_jax.errors import UserError

# The parts of ids in use: video$_$clip, video[clip], video_clip.
VIDEO = re.compile(r"(.+?)\$_\$.*|(.+)\[\d+\]|(.+)_\d+")
SHOWN = 5
OF_NO_USE = "there are some, but not of use as they are; see the end."


@dataclasses.dataclass(frozen=True)
class Features:
  """What one pass over the values of a modality finds.

  Attributes:
    nonfinite: (D,) how many values of each column are NaN or infinite, on real steps.
    constant: (D,) whether a column has one finite value only, on real steps.
  """

  nonfinite: np.ndarray
  constant: np.ndarray


def scan(modality: Modality) -> Features:
  """Counts what is not finite, and finds columns that never change."""
  width = modality.width
  bad = np.zeros(width, np.int64)
  low, high = np.full(width, np.inf), np.full(width, -np.inf)
  for rows in chunks(modality.values):
    values = modality.values[rows][modality.mask[rows]]
    finite = np.isfinite(values)
    bad += (~finite).sum(0)
    low = np.minimum(low, np.where(finite, values, np.inf).min(0, initial=np.inf))
    high = np.maximum(high, np.where(finite, values, -np.inf).max(0, initial=-np.inf))
  return Features(bad, low >= high)


def videos(ids: Iterable[str]) -> list[str]:
  """The video of each id, the id itself where it names none."""
  ids = [str(x) for x in ids]
  found = [VIDEO.fullmatch(x) for x in ids]
  names = [next(filter(None, x.groups())) if x else None for x in found]
  return [n or x for n, x in zip(names, ids, strict=True)]


def shared(names: Iterable[str], splits: np.ndarray) -> list[str]:
  """Names that occur in more than one split."""
  where = collections.defaultdict(set)
  for name, split in zip(names, splits, strict=True):
    where[str(name)].add(str(split))
  return sorted(name for name, found in where.items() if len(found) > 1)


def write(
  dataset: Dataset,
  path: str,
  *,
  given: Mapping[str, str] | None = None,
  alignable: Sequence[str] = (),
) -> list[str]:
  """The report, line by line.

  Args:
    dataset: as read.
    path: what to name in the config lines.
    given: fields of config.data that it was read with, beside the path.
    alignable: the modalities whose steps could become those of all.
  """
  scans = {name: scan(modality) for name, modality in dataset.modalities.items()}
  reason, given_labels = problem(dataset), dataset.labels
  given_splits, dataset = dataset.splits, readable(dataset)
  sections = [
    [f"{dataset.source or path}: {len(dataset):,} samples", *_notes(dataset)],
    _ledger(dataset),
    _splits(dataset) if given_splits is dataset.splits else [f"Splits: {OF_NO_USE}"],
    lines(dataset)
    if given_labels is None or dataset.labels is not None
    else [f"Labels: {OF_NO_USE}"],
    _columns(dataset),
    _modalities(dataset),
    *[_lengths(name, x) for name, x in dataset.modalities.items() if not x.vector],
    annotations.describe(dataset),
    _values(scans),
    _ids(dataset),
    _memory(dataset),
    _config(dataset, path, scans, given or {}, alignable, reason),
  ]
  return [_printable(x) for part in sections if part for x in [*part, ""]][:-1]


def _printable(line):
  """Without control characters: they come from files of strangers."""
  return "".join(x if x.isprintable() else "?" for x in line)


def _notes(dataset):
  return [f"  {x}" for x in dataset.notes if not x.startswith(ledger.NOT_USED)]


def _ledger(dataset):
  lines = ledger.table(dataset.ledger)
  return ["What the file holds, and what became of it:", *lines] if lines else []


def _splits(dataset):
  if dataset.splits is None:
    return ["Splits: none; good for prediction only."]
  known = [*SPLITS, *sorted(set(dataset.splits.tolist()) - set(SPLITS))]
  counts = collections.Counter(dataset.splits.tolist())
  return ["Splits: " + ", ".join(f"{x} {counts[x]:,}" for x in known)]


def _columns(dataset):
  lines = describe(dataset.columns)
  return ["Columns:", *(f"  {line}" for line in lines)] if lines else []


def _modalities(dataset):
  rows = [("modality", "width", "steps", "mean", "longest", "missing", "holes")]
  for name, x in dataset.modalities.items():
    lengths = x.lengths
    holes = 1 - x.mask.mean() if len(x.mask) else 0.0
    rows.append((
      name,
      f"{x.width}",
      "vector" if x.vector else f"{lengths.sum():,}",
      f"{lengths.mean():.1f}" if len(lengths) else "-",
      f"{lengths.max(initial=0)}",
      f"{(~x.present).sum():,}",
      f"{holes:.1%}",
    ))  # fmt: skip
  wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
  return [
    "  ".join(cell.rjust(n) for cell, n in zip(row, wide, strict=True)) for row in rows
  ]


def _lengths(name, modality):
  longest = int(modality.lengths.max(initial=0))
  if longest < 2:
    return []
  edges = np.linspace(0, longest, min(8, longest) + 1).round()
  return [f"Lengths of {name}:", *histogram(modality.lengths, np.unique(edges))]


def _values(scans):
  lines = []
  for name, found in scans.items():
    columns = np.flatnonzero(found.nonfinite)
    if len(columns):
      lines.append(
        f"{name}: {count(found.nonfinite.sum(), 'value')} not finite, in "
        f"column{'s' * (len(columns) > 1)} {_some(columns)}."
      )
    columns = np.flatnonzero(found.constant)
    if len(columns):
      many = count(len(columns), "column")
      lines.append(f"{name}: {many} constant ({_some(columns)}).")
  return lines or ["All values are finite; no column is constant."]


def _some(items):
  shown = ", ".join(str(x)[:60] for x in items[:SHOWN])
  return shown + ", ..." * (len(items) > SHOWN)


def _ids(dataset):
  counts = collections.Counter(dataset.ids.tolist())
  twice = [name for name, n in counts.items() if n > 1]
  lines = [f"Ids: {len(twice)} repeated ({_some(twice)})."] if twice else []
  if dataset.splits is not None:
    leaks = shared(dataset.ids, dataset.splits)
    if leaks:
      lines.append(f"LEAK: {count(len(leaks), 'id')} in two splits ({_some(leaks)}).")
    names = videos(dataset.ids)
    if "video_id" in dataset.columns:
      names = list(map(str, dataset.columns["video_id"].values))
    apart = shared(names, dataset.splits)
    if apart and len(apart) > len(leaks):
      lines.append(
        f"Remark: the clips of {len(apart)} of {len(set(names))} videos "
        f"are in two splits ({_some(apart)}); a model may know the speaker."
      )
  return lines or ["Ids: all different, none in two splits."]


def _memory(dataset):
  longest = lengths_of(dataset).items()
  sizes = {m: resident_bytes(dataset.modalities, {m: n}) for m, n in longest}
  parts = ", ".join(f"{name} {_bytes(n)}" for name, n in sizes.items())
  held = sum(x.values.nbytes for x in dataset.modalities.values())
  return [
    f"Memory on the device if resident: {_bytes(sum(sizes.values()))} ({parts}); "
    f"{_bytes(held)} without padding."
  ]


def _bytes(count):
  for unit in ("bytes", "KiB", "MiB"):
    if count < 1024:
      return f"{count:.4g} {unit}"
    count /= 1024
  return f"{count:.4g} GiB"


def choices(dataset: Dataset, field: str) -> list[str]:
  """The arrays of the file that config.data.label or .split may name instead."""
  kinds = {"label": "biuf", "split": "US"}[field]
  return [
    key
    for key, array in dataset.choices.items()
    if key.startswith(field)
    and not key.endswith("_names")
    and array.dtype.kind in kinds
    and len(array) == len(dataset)
  ]


def _config(dataset, path, scans, given, alignable, reason):
  fields = {"path": path} | dict(given)
  if any(found.nonfinite.any() for found in scans.values()):
    fields["nonfinite"] = "zero"
  lines = [f"  --config.data.{k}={shlex.quote(v)}" for k, v in fields.items()]
  options = {field: choices(dataset, field) for field in ("label", "split")}
  options["align"] = list(alignable)
  texts = {
    "label": "predict another label",
    "split": "divide the samples in another way",
    "align": "pool all modalities to the steps of one",
  }
  more = [
    f"  --config.data.{field}={shlex.quote(names[0])}  {texts[field]}"
    + (f"; or {', '.join(names[1:])}" if names[1:] else "")
    for field, names in options.items()
    if names
  ]
  return [
    "To use it:",
    *lines,
    *(["If wanted:", *more] if more else []),
    *([f"Not ready for training: {reason}"] if reason else []),
  ]


def problem(dataset: Dataset) -> str | None:
  """What training would refuse beside values that are not finite.

  Of a file without splits also what it would refuse then.
  """
  if dataset.splits is not None:
    return _refusal(dataset, SPLITS)
  found = [_refusal(dataset, x) for x in (SPLITS, None)]
  return " Also: ".join(dict.fromkeys(filter(None, found))) or None


def _refusal(dataset, splits):
  try:
    validate(dataset, splits=splits)
  except UserError as error:
    words = str(error).removeprefix(f"{dataset.source}: ")
    return words.replace(dataset.source, "the file", 1) if dataset.source else words
  return None
