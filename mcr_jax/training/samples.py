"""What the trainer batches: utterances or dialogues, their buckets, and their order."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from mcr_jax.contract import Spec
from mcr_jax.data import schedule as schedules
from mcr_jax.data.schedule import FILLER, Bounds, Schedule
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.data.units import Units


@dataclasses.dataclass(frozen=True, eq=False)
class Samples:
  """The samples of a data set as batches take them.

  Attributes:
    units: the utterances of every sample.
    buckets: bounds, shortest first.
    bucket: (G,) which one each sample is in.
    count: N utterances.
    batch_size: samples a batch, no more than there are.
    eval_size: the same for predictions.
    multiple: what batches are filled up to a multiple of, so that devices and the
      parts of a batch get equal shares.
  """

  units: Units
  buckets: tuple[Bounds, ...]
  bucket: np.ndarray
  count: int
  batch_size: int
  eval_size: int
  multiple: int = 1

  @classmethod
  def of(
    cls,
    modalities: Mapping[str, Modality],
    units: Units,
    spec: Spec,
    config,
    devices: int = 1,
  ) -> "Samples":
    """The samples of some features for a model of a spec; `devices` share a batch."""
    if units.unit == "dialogue":
      lengths = {"turns": units.lengths}
      longest = {"turns": int(units.lengths.max(initial=1))}
      rest = tuple((m, 1) for m in spec.modalities)
    else:
      lengths = {m: modalities[m].lengths for m in spec.modalities}
      longest, rest = spec.lengths, ()
    buckets = schedules.make_buckets(lengths, longest, config.data.buckets)
    bucket = schedules.assign(lengths, buckets)
    if not config.data.trim:
      buckets = (tuple(longest.items()),) * len(buckets)
    train, total = config.train, len(units.members)
    return cls(
      units,
      tuple((*bounds, *rest) for bounds in buckets),
      bucket,
      len(next(iter(modalities.values()))),
      min(train.batch_size, total),
      min(train.eval_batch_size or train.batch_size, total),
      devices,
    )

  def epoch(self, rows: np.ndarray, seeds: Sequence[int], epoch: int, parts: int):
    """The shuffled `Schedule` of some samples; `parts` divide a batch further."""
    plan = schedules.epoch_schedule(
      rows, self.bucket[rows], self.batch_size, seeds, epoch
    )
    return plan.padded(self.multiple * parts)

  def in_order(self, rows: np.ndarray) -> Schedule:
    """The unshuffled schedule of some samples."""
    plan = schedules.fixed_schedule(rows, self.bucket[rows], self.eval_size)
    return plan.padded(self.multiple)

  def steps(self, rows: np.ndarray) -> int:
    """Steps of an epoch over some samples."""
    return -(-len(rows) // self.batch_size)

  def by_utterance(
    self, plan: Schedule, found: Iterable[np.ndarray], rows: np.ndarray
  ) -> np.ndarray:
    """Predictions (S, n, *O) of utterances, from those of the batches of a plan.

    Args:
      plan: of `in_order`.
      found: (S, B, *O) of every batch, or (S, B, U, *O) of dialogues.
      rows: (n,) utterances, all of them in samples of the plan.
    """
    whole = None
    for samples, values in zip(plan.rows[0], found, strict=True):
      where, real = self._utterances(samples, values)
      if whole is None:
        shape = values.shape[3:] if self._dialogues else values.shape[2:]
        whole = np.zeros((len(values), self.count, *shape), values.dtype)
      whole[:, where[real]] = values[:, real]
    return whole[:, rows]

  @property
  def _dialogues(self) -> bool:
    return self.units.unit == "dialogue"

  def _utterances(self, samples: np.ndarray, values: np.ndarray):
    """Which utterance each prediction of a batch is of, and whether it is of one."""
    real = samples != FILLER
    if not self._dialogues:
      return samples, real
    where = self.units.members[np.where(real, samples, 0)][:, : values.shape[2]]
    return where, real[:, None] & (where != FILLER)


def rows_of(
  dataset: Dataset, units: Units, names: Iterable[str]
) -> Iterator[tuple[str, tuple[np.ndarray, np.ndarray]]]:
  """(split, (its samples, its utterances that have labels)) of some splits."""
  splits = units.splits(dataset)
  for name in names:
    mask = dataset.splits == name
    if dataset.label_mask is not None:
      mask = mask & dataset.label_mask
    yield name, (np.flatnonzero(splits == name), np.flatnonzero(mask))
