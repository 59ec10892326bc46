"""Padded blocks or lists of sequences to one ragged modality."""

from collections.abc import Sequence

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.ledger import Ledger
from mcr_jax.data.readers.common import padding
from mcr_jax.data.readers.common.values import listed, refuse_repeats
from mcr_jax.data.schema import Modality
from mcr_jax.errors import UserError

Block = np.ndarray | list[np.ndarray]


def from_blocks(
  name: str,
  blocks: Sequence[Block | int],
  lengths: Sequence[np.ndarray | None] | None = None,
  valid: Sequence[np.ndarray | None] | None = None,
  ledger: Ledger | None = None,
) -> tuple[Modality, str]:
  """One modality of a file from its splits, and a sentence on its padding.

  Args:
    name: of the modality.
    blocks: a split each: (N, T, D), (N, D) for vectors, or a list of (T_i, D); or the
      number of samples of a split that lacks the modality.
    lengths: true lengths (N,) of each split, where the file states them.
    valid: (N, T) True on real steps, where the file states that.
    ledger: is told what is not read of the steps.
  """
  ledger = Ledger() if ledger is None else ledger
  lengths = lengths or [None] * len(blocks)
  valid = valid or [None] * len(blocks)
  if any(isinstance(x, list) for x in blocks):
    return _ragged(name, blocks, lengths, valid, ledger)
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
  return padding.without(name, blocks, lengths, valid, ledger)


def _ragged(name, blocks, lengths, valid, ledger) -> tuple[Modality, str]:
  """Where a split is a list of (T_i, D), a sample each; a vector is one step."""
  rows, cut = [], 0
  for block, stated, real in zip(blocks, lengths, valid, strict=True):
    if isinstance(block, int):
      rows += [None] * block
      continue
    if isinstance(block, np.ndarray) and block.ndim == 3:
      whole, _ = padding.without(name, [block], [stated], [real], ledger)
      rows += np.split(whole.values, whole.offsets[1:-1])
      continue
    own = [x if x.size else None for x in block]
    if stated is not None and stated.shape == (len(own),):
      # The list says itself how long each is; what is stated may only cut it.
      steps = [0 if x is None or x.ndim < 2 else len(x) for x in own]
      cut += int(np.maximum(steps - np.maximum(stated, 0), 0).sum())
      own = [
        x if x is None or x.ndim < 2 or n >= len(x) else x[:n] if n > 0 else None
        for x, n in zip(own, stated.tolist(), strict=True)
      ]
    rows += own
  ledger.part(name, cut, "they are outside of the stated lengths", "steps")
  modality = from_list(name, rows, name)
  lost = sum(x is None for x in rows)
  low, high = (f(modality.lengths) for f in (np.min, np.max))
  empty = f", empty in {lost:,} samples" * bool(lost)
  return modality, f"{name}: a list of sequences of {low} to {high} steps{empty}."


def from_list(
  name: str,
  sequences: Sequence[np.ndarray | None],
  source: str,
  *,
  masks: Sequence[np.ndarray | bool] | None = None,
  times: Sequence[np.ndarray | None] | None = None,
  holes: bool = True,
) -> Modality:
  """One modality from an array (T, D) a sample, or a vector (D,); None is missing.

  Args:
    name: of the modality.
    sequences: a sample each.
    source: for messages.
    masks: a sample each, (T,) False on steps without data, or True.
    times: a sample each, (T, 2) seconds of its steps, where the file has them.
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
  if holes and not vector and name in padding.WITH_HOLES:
    mask &= padding.nonzero(values)
  seconds = None
  if times is not None and not vector:
    found = [x for x in times if x is not None]
    seconds = np.concatenate(found).astype(np.float64)
  return Modality(values, offsets, mask, vector, times=seconds).trimmed()


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


def block(value, what: str) -> np.ndarray | list[np.ndarray]:
  """One split of a modality from a file: an array, or one (T_i, D) a sample."""
  value = listed(value, what)
  if isinstance(value, list):
    wrong = next((x.shape for x in value if x.ndim not in (1, 2) and x.size), None)
    if wrong is not None:
      raise UserError(
        f"{what} is ragged and holds a {wrong}; right are (T, D) of every sample."
      )
  elif value.ndim not in (2, 3):
    raise UserError(f"{what} has shape {value.shape}; right are (N, T, D) and (N, D).")
  return value
