"""Padded blocks or lists of sequences to one ragged modality.

Files rarely say on which side they are padded and often not how far. All-zero steps
at one end tell both: the end where most of them are, over all samples, is the padding.
"""

from collections.abc import Sequence

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common.values import numbers, refuse_repeats
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError

# A frame without a face and a frame without voice are stored as zeros. A word without
# a vector is zero as well, but it is a word.
WITH_HOLES = ("vision", "audio")
CHUNK_BYTES = 32 << 20


def from_blocks(
  name: str,
  blocks: Sequence[np.ndarray | int],
  lengths: Sequence[np.ndarray | None] | None = None,
  valid: Sequence[np.ndarray | None] | None = None,
) -> tuple[Modality, str]:
  """One modality of a file from its splits, and a sentence on its padding.

  Args:
    name: of the modality.
    blocks: a split each, (N, T, D), or (N, D) for vectors; or the number of samples of
      a split that lacks the modality.
    lengths: true lengths (N,) of each split, where the file states them.
    valid: (N, T) True on real steps, where the file states that.
  """
  arrays = [x for x in blocks if isinstance(x, np.ndarray)]
  if len({x.shape[-1] for x in arrays}) != 1 or len({x.ndim for x in arrays}) != 1:
    shapes = ", ".join(str(x.shape) for x in arrays)
    raise UserError(f"{name} has arrays of shapes {shapes}; their widths must agree.")
  width, ndim = arrays[0].shape[-1], arrays[0].ndim
  if ndim not in (2, 3) or not width:
    raise UserError(
      f"{name} has shape {arrays[0].shape}; right are (N, T, D) and (N, D)."
    )
  if ndim == 2:
    return _vectors(blocks, width), f"{name}: one vector of {width} a sample."
  ends = [_zero_ends(x) if isinstance(x, np.ndarray) else None for x in blocks]
  lengths = lengths or [None] * len(blocks)
  valid = valid or [None] * len(blocks)
  stated = any(x is not None for x in (*lengths, *valid))
  left = _is_left(ends, lengths)
  spans = [
    _span(name, *parts, left)
    for parts in zip(blocks, ends, lengths, valid, strict=True)
  ]
  modality = _fill(name, blocks, spans, width)
  return modality, _sentence(name, modality, left, stated, blocks)


def from_list(
  name: str,
  sequences: Sequence[np.ndarray | None],
  source: str,
  *,
  masks: Sequence[np.ndarray | bool] | None = None,
  holes: bool = True,
) -> Modality:
  """One modality from an array (T, D) a sample, or a vector (D,); None is missing.

  Args:
    name: of the modality.
    sequences: a sample each.
    source: for messages.
    masks: a sample each, (T,) False on steps without data, or True.
    holes: whether all-zero steps of audio and vision are steps without data.
  """
  known = [x for x in sequences if x is not None]
  if not known:
    raise UserError(f"{source}: no sample has {name}.")
  refuse_repeats(known, source)
  if any(x.ndim not in (1, 2) for x in known):
    shape = next(x.shape for x in known if x.ndim not in (1, 2))
    raise UserError(f"{source}: {name} has a shape {shape}; right are (T, D) and (D,).")
  widths = {x.shape[-1] for x in known}
  if len(widths) != 1 or 0 in widths:
    raise UserError(
      f"{source}: {name} has {', '.join(map(str, sorted(widths)[:5]))} features a "
      "step; all samples must have the same number, at least one."
    )
  (width,) = widths
  vector = all(x.ndim == 1 for x in known)
  steps = lambda x: 0 if x is None else len(x) if x.ndim == 2 else 1
  lengths = np.array([steps(x) for x in sequences], np.int64)
  if vector:
    lengths = np.ones_like(lengths)
  offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
  memory.take(4 * width * int(offsets[-1]), f"{source}: {name}")
  values = np.zeros((offsets[-1], width), np.float32)
  mask = np.zeros(offsets[-1], bool)
  with np.errstate(over="ignore"):
    for i, x in enumerate(sequences):
      if x is not None:
        rows = slice(offsets[i], offsets[i + 1])
        values[rows] = x
        mask[rows] = True if masks is None else masks[i]
  if holes and not vector and name in WITH_HOLES:
    mask &= _nonzero(values)
  return Modality(values, offsets, mask, vector).trimmed()


def _vectors(blocks, width) -> Modality:
  count = sum(len(x) if isinstance(x, np.ndarray) else x for x in blocks)
  memory.take(4 * width * count, "vectors")
  values, mask, at = np.zeros((count, width), np.float32), np.zeros(count, bool), 0
  for block in blocks:
    if isinstance(block, np.ndarray):
      with np.errstate(over="ignore"):
        values[at : at + len(block)] = block
      mask[at : at + len(block)] = True
      at += len(block)
    else:
      at += block
  return Modality.from_vectors(values, mask)


def _nonzero(values: np.ndarray) -> np.ndarray:
  """Which rows hold anything but zeros; NaN is something."""
  found = np.zeros(values.shape[:-1], bool)
  for rows in _chunks(values):
    found[rows] = (values[rows] != 0).any(-1)
  return found


def _chunks(values):
  row = max(1, values[:1].size * max(values.itemsize, 4))
  size = max(1, CHUNK_BYTES // row)
  return [slice(i, i + size) for i in range(0, len(values), size)]


def _zero_ends(block):
  """Rows that hold something, and the number of zero rows at each end."""
  real = _nonzero(block)
  steps = real.shape[1]
  some = real.any(1) if steps else np.zeros(len(real), bool)
  if not steps:
    return real, np.zeros(len(real), int), np.zeros(len(real), int)
  lead = np.where(some, real.argmax(1), steps)
  trail = np.where(some, real[:, ::-1].argmax(1), steps)
  return real, lead, trail


def _is_left(ends, lengths) -> bool:
  left = right = 0
  for end, length in zip(ends, lengths, strict=True):
    if end is None:
      continue
    real, lead, trail = end
    steps = real.shape[1]
    some = lead < steps
    # A wrong shape has its own message, later.
    if length is not None and length.shape == lead.shape:
      missing = steps - np.minimum(length, steps)
      padded = some & (missing > 0)
      left += (padded & (lead >= missing)).sum()
      right += (padded & (trail >= missing)).sum()
    else:
      left += lead[some].sum()
      right += trail[some].sum()
  return bool(left > right)


def _span(name, block, ends, length, valid, left):
  """(begin (N,), end (N,), mask (N, T)) of the real part of every sample."""
  if ends is None:
    return None
  real, lead, trail = ends
  count, steps = real.shape
  begin, end = np.zeros(count, np.int64), np.full(count, steps)
  if valid is not None:
    if valid.shape != real.shape:
      raise UserError(f"{name}: its mask has shape {valid.shape}, not {real.shape}.")
    some = valid.any(1)
    begin = np.where(some, valid.argmax(1), 0)
    end = np.where(some, steps - valid[:, ::-1].argmax(1), 0)
  elif length is not None:
    if length.shape != (count,) or length.dtype.kind not in "iu" or (length < 0).any():
      raise UserError(
        f"{name}: its lengths, of shape {length.shape} of {length.dtype}, must be "
        f"{count} integers from 0."
      )
    length = np.minimum(length.astype(np.int64), steps)
    begin, end = (steps - length, end) if left else (begin, length)
  elif left:
    begin = lead
  else:
    end = steps - trail
  if name in WITH_HOLES:
    end = np.minimum(end, steps - trail)
  end = np.maximum(begin, end)
  return begin, end, real if name in WITH_HOLES else np.ones_like(real)


def _fill(name, blocks, spans, width) -> Modality:
  """Copies the real part of every sample, a few samples at a time."""
  lengths = [
    np.zeros(block, np.int64) if span is None else span[1] - span[0]
    for block, span in zip(blocks, spans, strict=True)
  ]
  offsets = np.concatenate([[0], np.cumsum(np.concatenate(lengths), dtype=np.int64)])
  memory.take(4 * width * int(offsets[-1]), name)
  values = np.empty((offsets[-1], width), np.float32)
  mask, at = np.empty(offsets[-1], bool), 0
  for block, span in zip(blocks, spans, strict=True):
    if span is None:
      continue
    begin, end, real = span
    steps = np.arange(real.shape[1])
    for rows in _chunks(block):
      kept = (steps >= begin[rows, None]) & (steps < end[rows, None])
      count = int(kept.sum())
      with np.errstate(over="ignore"):
        values[at : at + count] = block[rows][kept]
      mask[at : at + count] = real[rows][kept]
      at += count
  return Modality(values, offsets, mask)


def _sentence(name, modality, left, stated, blocks) -> str:
  lengths = modality.lengths
  longest = max(x.shape[1] for x in blocks if isinstance(x, np.ndarray))
  side = "left" if left else "right"
  if lengths.size and lengths.min() == longest:
    return f"{name}: {longest} steps in every sample, no padding."
  how = "the file states" if stated else "all-zero steps show"
  moved = "; moved to the front" if left else ""
  return (
    f"{name}: padded on the {side} to {longest} steps{moved}; lengths from "
    f"{lengths.min(initial=longest)} to {lengths.max(initial=0)}, as {how}."
  )


def block(value, what: str) -> np.ndarray:
  """One split of a modality from a file, as numbers."""
  value = numbers(value, what)
  if value.ndim not in (2, 3):
    raise UserError(f"{what} has shape {value.shape}; right are (N, T, D) and (N, D).")
  return value
