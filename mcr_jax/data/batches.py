"""The arrays of a batch: written once, for host and device, resident or streamed.

`assemble` says what a batch is; a *source* says where features and columns lie. `Host`
is the ragged arrays of a data set, possibly a mapped file; the device has one of its
own (`training/feed.py`).
"""

import mmap
import os
from collections.abc import Callable, Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np

from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import FILLER, Bounds
from mcr_jax.data.schema import Dataset, Modality, release
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError

# TensorFlow and JAX take the memory of a NumPy array as it is from this alignment on.
ALIGNMENT = 64
# Bytes of a modality that are padded and normalised at a time.
PIECE = 8 << 20
# Numbers at both ends of an array that tell whether a file is still the same.
PROBE = 1 << 12


@runtime_checkable
class Source(Protocol):
  """Where the arrays of a batch come from.

  Attributes:
    columns: by name, one entry an utterance: `label`, `labelled` (bool, where not all
      are), `speaker`, `label_<modality>`.
    members: (G, U) the utterances of a dialogue, `FILLER` beyond its end; None where
      a sample is an utterance.
  """

  columns: Mapping[str, Any]
  members: Any

  def features(self, name: str, rows: Any, real: Any, length: int) -> tuple[Any, Any]:
    """values (..., length, D) and mask (..., length) of utterances (...).

    What is not `real` fills a batch up, and may be cut to the length.
    """


def assemble(source: Source, rows: Any, bounds: Bounds) -> dict[str, Any]:
  """The fields of a `contract.Batch` for some samples, as a dict.

  Args:
    source: of NumPy arrays, or of JAX's.
    rows: (..., B) samples; `FILLER` is one that only fills the batch, with weight 0.
    bounds: (modality, steps) to pad to, or (("turns", U), *(modality, 1)).
  """
  xp = rows.__array_namespace__()
  real = rows != FILLER
  bounds, more = dict(bounds), {}
  if source.members is None:
    utterance = xp.where(real, rows, 0)
  else:
    found = source.members[xp.where(real, rows, 0)][..., : bounds.pop("turns")]
    real = real[..., None] & (found != FILLER)
    utterance = xp.where(real, found, 0)
    more["turn"] = real
  x, mask = {}, {}
  for name, length in bounds.items():
    x[name], mask[name] = source.features(name, utterance, real, length)
    if source.members is not None:
      x[name], mask[name] = x[name][..., 0, :], mask[name][..., 0] & real
      x[name] = xp.where(mask[name][..., None], x[name], 0)
  column = {name: values[utterance] for name, values in source.columns.items()}
  weight = real & column.pop("labelled", True)
  if "speaker" in column:
    more["speaker"] = xp.where(real, column.pop("speaker"), -1)
  more["index"] = xp.where(real, utterance, -1).astype(xp.int32)
  label = column.pop("label", None)
  return {
    "x": x,
    "mask": mask,
    "weight": weight.astype(xp.float32),
    "label": label,
    "more": more | column,
  }


class Host:
  """A source of NumPy arrays; several threads may ask it at once.

  Each sample is a run of the memory, or of the file, and is copied once.
  """

  def __init__(
    self,
    modalities: Mapping[str, Modality],
    columns: Mapping[str, np.ndarray],
    units: Units,
  ):
    """`columns` are those of `columns_of`."""
    self.modalities, self.columns = modalities, columns
    self.members = units.members if units.unit == "dialogue" else None
    self._read = {m: _reader(x.values) for m, x in modalities.items()}

  def features(self, name, rows, real, length):
    """See `Source`."""
    modality, shape = self.modalities[name], rows.shape
    rows, real = rows.reshape(-1), np.broadcast_to(real, shape).reshape(-1)
    starts, ends = modality.offsets[rows], modality.offsets[rows + 1]
    ends = np.where(real, ends, np.minimum(ends, starts + length))
    values = aligned((len(rows), length, modality.width))
    mask = np.zeros((len(rows), length), bool)
    width = modality.width
    flat = values.reshape(len(rows), length * width)
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
      assert end - start <= length, (name, rows[i], end - start, length)
      size = (end - start) * width
      self._read[name](start * width, flat[i, :size])
      flat[i, size:] = 0
      steps = mask[i, : end - start]
      steps[...] = modality.mask[start:end]
      if not steps.all():
        values[i, : end - start][~steps] = 0
    return values.reshape(*shape, *values.shape[1:]), mask.reshape(*shape, length)


def columns_of(
  dataset: Dataset, units: Units, *, labels: bool
) -> dict[str, np.ndarray]:
  """What `Source.columns` holds of a data set."""
  known = units.columns(dataset)
  columns = {name: known[name] for name in ("speaker",) if name in known}
  if not labels or dataset.labels is None:
    return columns
  columns |= {name: x for name, x in known.items() if name.startswith("label_")}
  if dataset.label_mask is not None:
    columns["labelled"] = dataset.label_mask
  return columns | {"label": dataset.labels}


def whole(
  modality: Modality, name: str, length: int, normalizer: Normalizer
) -> tuple[np.ndarray, np.ndarray]:
  """Every utterance of a modality in standard scores, to live on the device.

  Few samples at a time: beyond the result this takes the memory of a piece.

  Returns:
    values (N, length, D) float32 and mask (N, length).
  """
  count = len(modality)
  values = aligned((count, length, modality.width))
  mask = np.empty((count, length), bool)
  step = max(1, PIECE // (4 * length * modality.width))
  for start in range(0, count, step):
    rows = np.arange(start, min(start + step, count))
    part, real = modality.padded(rows, length)
    values[rows[0] : rows[-1] + 1] = normalizer.apply(name, part, real)
    mask[rows[0] : rows[-1] + 1] = real
    release(modality.values)
  return values, mask


def aligned(shape: tuple[int, ...]) -> np.ndarray:
  """An uninitialised float32 array that other libraries need not copy."""
  size = 4 * int(np.prod(shape))
  memory = np.empty(size + ALIGNMENT, np.uint8)
  skipped = -memory.ctypes.data % ALIGNMENT
  return memory[skipped : skipped + size].view(np.float32).reshape(shape)


def resident_bytes(
  modalities: Mapping[str, Modality], lengths: Mapping[str, int]
) -> int:
  """How much memory all utterances take, padded to the longest length."""
  return sum(
    len(modalities[m]) * steps * (4 * modalities[m].width + 1)
    for m, steps in lengths.items()
  )


def _reader(values: np.ndarray) -> Callable[[int, np.ndarray], None]:
  """A function that copies the numbers from a position on, as many as it is given.

  Of a mapped file it reads: pages of the map have to be faulted in and given back,
  which costs more than the copy, and keeps the cores from each other.
  """
  # Not as a memmap, whose slices are slow to make.
  flat = np.asarray(values).reshape(-1)

  def copy(begin, out):
    out[...] = flat[begin : begin + out.size]

  mapped = isinstance(getattr(values, "base", None), mmap.mmap) and values.mode == "r"
  if not mapped or not hasattr(os, "preadv"):
    return copy
  try:
    file = open(values.filename, "rb", buffering=0)
  except OSError:
    return copy  # a map outlives the name of its file

  def read(begin, out):
    data, place = memoryview(out).cast("B"), values.offset + out.itemsize * begin
    while len(data):
      count = os.preadv(file.fileno(), [data], place)
      if not count:
        raise UserError(f"{values.filename} has become shorter.")
      data, place = data[count:], place + count

  # The name may belong to another file by now.
  for begin in (0, max(0, flat.size - PROBE)):
    part = flat[begin : begin + PROBE]
    found = np.empty_like(part)
    try:
      read(begin, found)
    except UserError:
      return copy
    if found.tobytes() != part.tobytes():
      return copy
  release(values)
  return read
