"""Padded blocks (N, T, D) to the steps that are real.

Files rarely say on which side they are padded and often not how far. All-zero steps
at one end tell both: the end where most of them are, over all samples, is the padding.
What a file states of lengths wins over zeros.
"""

from collections.abc import Sequence

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError

# A frame without a face and a frame without voice are stored as zeros. A word without
# a vector is zero as well, but it is a word.
WITH_HOLES = ("vision", "audio")
CHUNK_BYTES = 32 << 20


def without(
  name: str,
  blocks: Sequence[np.ndarray | int],
  lengths: Sequence[np.ndarray | None],
  valid: Sequence[np.ndarray | None],
  ledger: Ledger,
) -> tuple[Modality, str]:
  """The steps without their padding, and a sentence on it.

  Args:
    name: of the modality.
    blocks: (N, T, D) of each split, or the number of samples of one without any.
    lengths: (N,) of each split, where the file states them.
    valid: (N, T) of each split, True on real steps, where the file states that.
    ledger: is told what the statements leave out, and which of them cannot be.
  """
  ends = [_zero_ends(x) if isinstance(x, np.ndarray) else None for x in blocks]
  stated = any(x is not None for x in (*lengths, *valid))
  left = _is_left(ends, lengths)
  spans = [
    _span(name, *parts, left)
    for parts in zip(blocks, ends, lengths, valid, strict=True)
  ]
  width = next(x.shape[-1] for x in blocks if isinstance(x, np.ndarray))
  modality = _fill(name, blocks, spans, width)
  _tell(name, ends, spans, lengths, ledger)
  return modality, _sentence(name, modality, left, stated, blocks)


def nonzero(values: np.ndarray) -> np.ndarray:
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
  real = nonzero(block)
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
    length = np.minimum(length.astype(np.int64), steps)  # the rest is told
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


def _tell(name, ends, spans, lengths, ledger) -> None:
  """What stated lengths cannot be, and what they leave out."""
  told = [
    (end[0], span, length)
    for end, span, length in zip(ends, spans, lengths, strict=True)
    if length is not None and end is not None
  ]
  if not told:
    return
  longest = max(real.shape[1] for real, _, _ in told)
  beyond = sum((length > real.shape[1]).sum() for real, _, length in told)
  count = sum(len(length) for _, _, length in told)
  ledger.part(
    f"{name}_lengths",
    beyond,
    f"of {count:,} stated, these exceed the {longest} steps of the array, which are "
    "read whole",
    "samples",
  )
  ledger.part(
    f"{name}_lengths",
    sum((length == 0).sum() for _, _, length in told),
    f"they are stated as 0: these samples lack {name}",
    "samples",
  )
  cut = 0
  for real, (begin, end, _), _ in told:
    steps = np.arange(real.shape[1])
    cut += (real & ~((steps >= begin[:, None]) & (steps < end[:, None]))).sum()
  ledger.part(name, cut, "they hold values outside of the stated lengths", "steps")


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
