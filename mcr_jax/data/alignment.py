"""Modalities on the steps of one of them, by the times of both.

A step, such as a word, takes the mean of the steps of another modality that it shares
time with. Each of them counts once, however much is shared; what is a hole, or has no
time, does not count. A step that shares time with none is a hole.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from mcr_jax.data.schema import Dataset, Modality, canonical
from mcr_jax.errors import UserError

# Neighbours in time touch, and with rounding overlap by some microseconds.
TOUCH = 1e-4
BLOCK = 1 << 24  # numbers that are summed at once, at most
# A clock that runs so much longer, in steps of so many seconds, is one of milliseconds.
LONGER, LONG_STEP = 100, 2.0


def overlaps(
  times: np.ndarray, cuts: np.ndarray, *, among: np.ndarray | None = None
) -> np.ndarray:
  """(W, T) bool, which of T steps share time with each of W.

  A step without length is a point in time, which belongs to what begins there.

  Args:
    times: (T, 2) seconds, begin and end; NaN is unknown and shares with nothing.
    cuts: (W, 2) seconds.
    among: (T,) bool, the steps that count; None is all.
  """
  (begin, end), (first, last) = _intervals(times), _intervals(cuts)
  shared = (begin < last[:, None] - TOUCH) & (end > first[:, None] + TOUCH)
  return shared if among is None else shared & among


def pool(
  values: np.ndarray, times: np.ndarray, mask: np.ndarray, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
  """The steps of one sample as means over each of `cuts`, summed in float64.

  Args:
    values: (T, D).
    times: (T, 2) seconds.
    mask: (T,) bool, True on real steps.
    cuts: (W, 2) seconds.
  Returns:
    (W, D) float32, zero where nothing is, and (W,) bool, where something is.
  """
  pooled = np.zeros((len(cuts), values.shape[1]), np.float32)
  found = np.zeros(len(cuts), bool)
  rows = max(1, BLOCK // max(1, values.size))
  for start in range(0, len(cuts), rows):
    of, steps = np.nonzero(overlaps(times, cuts[start : start + rows], among=mask))
    if not len(of):
      continue
    own, first, count = np.unique(of, return_index=True, return_counts=True)
    with np.errstate(invalid="ignore", over="ignore"):
      sums = np.add.reduceat(values[steps], first, axis=0, dtype=np.float64)
      pooled[start + own] = sums / count[:, None]
    found[start + own] = True
  return pooled, found


def to_steps(
  dataset: Dataset,
  name: str,
  *,
  of: Mapping[str, Modality] | None = None,
  shared: bool = False,
) -> Dataset:
  """The data set with the steps of one modality in all, and a note on holes.

  Sequences that have these steps already stay as they are, and end where they do.

  Args:
    dataset: as read.
    name: of the modality whose steps all have then.
    of: where that modality is, if the data set need not have it.
    shared: whether data without any times is right too, where most sequences have as
      many steps as that modality, and none more.
  Raises:
    UserError: there is no such modality, it or another has no times, or the two are
      not seconds of one clock.
  """
  name, there = canonical(name), dataset.modalities if of is None else of
  source = dataset.source or "The data"
  if name not in there:
    raise UserError(
      f"{source}: data.align={name!r}; there are {', '.join(dataset.modalities)}."
    )
  target = there[name]
  if not target.lengths.any():  # nothing is said at all
    target = dataclasses.replace(target, times=np.zeros((0, 2)))
  others = {
    m: x for m, x in dataset.modalities.items() if m != name and x.lengths.any()
  }
  if not others:
    return dataset
  if shared and _without_times([target, *others.values()], target):
    return dataset.noted(
      f"No modality has times, and all have as many steps as {name}: taken as aligned."
    )
  for m, x in {name: target, **others}.items():
    _check(source, name, m, x)
  made, holes = dict(dataset.modalities), []
  for m, x in others.items():
    if not _has_steps_of(x, target):
      _check_clocks(source, (name, target), (m, x))
      x = _pooled(x, target)
    made[m] = x = _filled(x, target)
    holes.append(f"{m} {_share(~x.mask)}")
  unit = "words" if name == "text" else f"steps of {name}"
  return dataclasses.replace(dataset, modalities=made).noted(
    f"All have the steps of {name}, each with the mean of what it shares time with; "
    f"of {len(target.mask):,} {unit} find nothing: {', '.join(holes)}."
  )


def alignable(dataset: Dataset) -> list[str]:
  """The sequences whose steps all could have; none where a modality has no times."""
  found = dataset.modalities
  if len(found) < 2 or not all(map(_timed, found.values())):
    return []
  return [m for m, x in found.items() if not x.vector]


def check_order(what: str, times: np.ndarray) -> None:
  """Raises UserError where a step ends before it begins.

  Args:
    what: whose times they are, for the message.
    times: (..., 2) seconds.
  """
  times = times.reshape(-1, 2)
  back = np.flatnonzero(times[:, 1] < times[:, 0])
  if len(back):
    start, end = times[back[0]]
    raise UserError(
      f"{what} has a step from {start:g} to {end:g} s; a step ends after it begins."
    )


def _intervals(times: np.ndarray) -> np.ndarray:
  """(2, T) begin and end, NaN where either is unknown, and a point a short interval."""
  known = np.isfinite(times).all(1)
  begin, end = np.where(known[:, None], times, np.nan).T
  return np.stack([begin, np.maximum(end, begin + 2 * TOUCH)])


def _timed(x: Modality) -> bool:
  return x.times is not None and bool(np.isfinite(x.times).all(1).any())


def _without_times(found: list[Modality], target: Modality) -> bool:
  """Whether no modality has times, and their steps are those of the target."""
  if any(map(_timed, found)):
    return False
  counts = np.stack([x.lengths for x in found])
  same = (counts == target.lengths).mean(1)
  return bool((counts <= target.lengths).all() and (same >= 0.5).all())


def _check(source: str, name: str, m: str, x: Modality) -> None:
  if m == name and x.vector:
    raise UserError(
      f"{source}: data.align={name!r} needs a sequence, and {m} is one vector a sample."
    )
  if x.lengths.any() and not _timed(x):
    raise UserError(
      f"{source}: data.align={name!r} goes by times, and {m} has none. A feature file "
      f"has them in {f'{m}_times'!r} (steps, 2), seconds; files of mcr_jax.extract "
      "and .csd files have them. data.align='' reads the steps as they are."
    )
  if x.times is not None:
    check_order(f"{source}: {m}", x.times)


def _rows_of(x: Modality, target: Modality) -> np.ndarray:
  """The place of every step of `x` in the target, whose sequences are not shorter."""
  within = np.arange(len(x.mask)) - np.repeat(x.offsets[:-1], x.lengths)
  return np.repeat(target.offsets[:-1], x.lengths) + within


def _has_steps_of(x: Modality, target: Modality) -> bool:
  """Whether every sequence is of the first steps of the target."""
  if x.vector or (x.lengths > target.lengths).any():
    return False
  return np.array_equal(x.times, target.times[_rows_of(x, target)], equal_nan=True)


def _pooled(x: Modality, target: Modality) -> Modality:
  count = len(target.mask)
  values, mask = np.zeros((count, x.width), np.float32), np.zeros(count, bool)
  for i in np.flatnonzero(target.lengths):
    own, to = (slice(*y.offsets[i : i + 2]) for y in (x, target))
    values[to], mask[to] = pool(
      x.values[own], x.times[own], x.mask[own], target.times[to]
    )
  return _on_steps(x, target, values, mask)


def _filled(x: Modality, target: Modality) -> Modality:
  """With holes up to the last step of the target in every sample."""
  if np.array_equal(x.offsets, target.offsets):
    return x
  values = np.zeros((len(target.mask), x.width), np.float32)
  mask, rows = np.zeros(len(target.mask), bool), _rows_of(x, target)
  values[rows], mask[rows] = x.values, x.mask
  return _on_steps(x, target, values, mask)


def _on_steps(x: Modality, target: Modality, values, mask) -> Modality:
  said = {"words": target.words, "times": target.times, "names": x.names}
  return Modality(values, target.offsets, mask, **said)


def _spans(x: Modality) -> np.ndarray:
  """(N, 2) when the first known step of a sample begins and the last ends, or NaN."""
  found, sample = np.full((len(x), 2), np.nan), np.repeat(np.arange(len(x)), x.lengths)
  known = np.isfinite(x.times).all(1)
  np.fmin.at(found[:, 0], sample[known], x.times[known, 0])
  np.fmax.at(found[:, 1], sample[known], x.times[known, 1])
  return found


def _check_clocks(source: str, one: tuple, other: tuple) -> None:
  """Raises UserError where two modalities cannot both be seconds of one clock."""
  spans = [_spans(x) for _, x in (one, other)]
  both = np.isfinite(np.concatenate(spans, 1)).all(1)
  if not both.any():
    return
  (a, b), (c, d) = (x[both].T for x in spans)
  said = [
    f"{name} runs from {start.min():.4g} to {end.max():.4g}"
    for (name, _), start, end in ((one, a, b), (other, c, d))
  ]
  lasts = (b - a).sum(), (d - c).sum()
  longest = (one, other)[int(np.argmax(lasts))][1]
  step = np.nanmedian(np.diff(longest.times, axis=1))
  wrong = max(lasts) > LONGER * min(lasts) and step > LONG_STEP
  if wrong or not ((a <= d) & (c <= b)).any():
    raise UserError(
      f"{source}: times must be seconds of one clock, and {said[0]}, {said[1]}."
    )


def _share(holes: np.ndarray) -> str:
  return f"{holes.mean():.1%}" if holes.any() else "none"
