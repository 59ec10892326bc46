"""How samples reach the device: all at once, or batch by batch.

Both follow the same schedule and end in the same programs; a feed turns "these steps
of this schedule" into calls, and yields the state after each.
"""

import functools
from collections.abc import Iterator, Mapping

import flax.struct
import jax
import numpy as np
from jax.sharding import PartitionSpec as P
from jaxtyping import PyTree

from mcr_jax import allocator
from mcr_jax.contract import Batch
from mcr_jax.data import batches, stream
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schedule import Bounds, Schedule
from mcr_jax.data.schema import Modality
from mcr_jax.data.units import Units
from mcr_jax.hosts import mesh as meshes
from mcr_jax.training.pace import Pace, Queue
from mcr_jax.training.programs import Programs
from mcr_jax.training.state import State
from mcr_jax.training.step import Constants

# Batches to predict that may wait in the device's queue.
AHEAD = 8
# Bytes of a resident data set where the device does not say what it has.
RESIDENT = 2 << 30


@flax.struct.dataclass
class OnDevice:
  """A source of `data.batches` whose arrays are JAX's: padded, in standard scores."""

  x: PyTree
  mask: PyTree
  columns: PyTree
  members: PyTree

  def features(self, name, rows, real, length):
    """See `batches.Source`; what is longer than the length is cut."""
    del real

    def cut(array):
      size = (length, *array.shape[2:])
      begin = (0,) * len(size)
      one = lambda i: jax.lax.dynamic_slice(array, (i, *begin), (1, *size))[0]
      return jax.vmap(one)(rows.reshape(-1)).reshape(*rows.shape, *size)

    return cut(self.x[name]), cut(self.mask[name])


class Resident:
  """The whole data set on the device; a call runs many steps."""

  def __init__(
    self,
    programs: Programs,
    features: dict[str, Modality],
    columns: Mapping[str, np.ndarray],
    units: Units,
    normalizer: Normalizer,
    buckets: tuple[Bounds, ...],
    pace: Pace,
  ):
    """`features` are handed over: each modality leaves the dict once it is placed."""
    self.programs, self.buckets, self.pace = programs, buckets, pace
    place = functools.partial(meshes.place, programs.mesh)
    x, mask = {}, {}
    lengths = {m: max(dict(b)[m] for b in buckets) for m in features}
    for name in list(features):
      values, real = batches.whole(features.pop(name), name, lengths[name], normalizer)
      # On a CPU the device takes over the memory of an array; elsewhere it ends here.
      x[name], mask[name] = place(values), place(real)
      del values, real
    members = place(units.members) if units.unit == "dialogue" else None
    self.source = OnDevice(x, mask, place(dict(columns)), members)
    allocator.give_back()

  def steps(
    self,
    state: State,
    schedule: Schedule,
    start: int,
    constants: Constants,
    *,
    phase: int = 0,
    capacity: int = 0,
  ) -> Iterator[tuple[State, int]]:
    """(state, position) after each call that runs steps of a schedule from `start`.

    Args:
      state: before the first step; its memory goes to the next one.
      schedule: of one epoch.
      start: position of the first step.
      constants: arguments of the program.
      phase: of the recipe.
      capacity: steps that the program has room for, where runs of several sizes share
        it.
    """
    room = max(capacity, len(schedule)) - len(schedule)
    rows = np.pad(schedule.rows, ((0, 0), (0, room), (0, 0)))
    rows = meshes.place(self.programs.mesh, rows)
    self.pace.restart()
    position = start
    while position < len(schedule):
      bucket = schedule.bucket[position]
      rest = schedule.bucket[position : position + self.pace.steps]
      count = int(np.argmin(np.append(rest == bucket, False)))
      bounds = self.buckets[bucket]
      state = self.programs.run(
        state, self.source, rows, position, count, constants, phase=phase, bounds=bounds
      )
      position += count
      self.pace.sent(state.step, count, (phase, bounds))
      yield state, position

  def predictions(self, variables, schedule: Schedule) -> Iterator[np.ndarray]:
    """(S, B, ...) of every batch of a schedule, in order."""
    sent = []
    for bucket, rows in zip(schedule.bucket, schedule.rows[0], strict=True):
      bounds = self.buckets[bucket]
      found = self.programs.predict_rows(variables, self.source, rows, bounds=bounds)
      sent.append(found)
      if len(sent) % AHEAD == 0:
        jax.block_until_ready(found)
    yield from map(np.asarray, sent)


class Stream:
  """Batches made on the host while the device works on the ones before.

  The host copies; the device normalises, where that melts into the first operation
  that reads the features and costs next to nothing.
  """

  def __init__(
    self,
    programs: Programs,
    source: batches.Host,
    normalizer: Normalizer,
    buckets: tuple[Bounds, ...],
    pace: Pace,
    pipeline: str,
  ):
    self.programs, self.source = programs, source
    self.buckets, self.pace = buckets, pace
    self._batches = _pipeline(pipeline).batches
    names = source.modalities
    numbers = {
      m: (np.float32(normalizer.mean[m]), np.float32(normalizer.std[m])) for m in names
    }
    self._scale = meshes.place(programs.mesh, numbers)
    self._clip = normalizer.clip

  def steps(self, state, schedule, start, constants, *, phase=0, capacity=0):
    """As `Resident.steps`, one step a call."""
    del capacity
    seed = "seed" if self.programs.mesh.shape["seed"] > 1 else None
    self.pace.restart()
    queue = Queue()
    source = self._batches(self.source, schedule, self.buckets, start=start)
    for position, arrays in enumerate(source, start + 1):
      bounds = self.buckets[schedule.bucket[position - 1]]
      batch = meshes.place(self.programs.mesh, Batch(**arrays), P(seed, "data"))
      state = self.programs.step_raw(
        state, batch, self._scale, constants, phase=phase, clip=self._clip
      )
      self.pace.sent(state.step, 1, (phase, bounds))
      queue.sent(state.step)
      yield state, position

  def predictions(self, variables, schedule):
    """As `Resident.predictions`."""
    for arrays in self._batches(self.source, schedule, self.buckets):
      one = jax.tree.map(lambda x: x[0], Batch(**arrays))
      placed = meshes.place(self.programs.mesh, one, P("data"))
      found = self.programs.predict_raw(variables, placed, self._scale, clip=self._clip)
      yield np.asarray(found)


def make(
  programs: Programs,
  features: dict[str, Modality],
  columns: Mapping[str, np.ndarray],
  units: Units,
  normalizer: Normalizer,
  buckets: tuple[Bounds, ...],
) -> Resident | Stream:
  """The feed that a config asks for, or that the size of the data asks for.

  Args:
    programs: that it calls.
    features: handed over, so that a resident feed holds nothing twice.
    columns: of `batches.columns_of`.
    units: the samples.
    normalizer: of the features.
    buckets: bounds of batches, the longest last.
  """
  group, mesh = programs.recipe.config.data, programs.mesh
  pace = Pace(programs.recipe.config.train.steps_per_call)
  lengths = {m: n for m, n in buckets[-1] if m in features}
  stream = group.placement == "stream"
  if group.placement == "auto":
    stream = batches.resident_bytes(features, lengths) > _budget(mesh)
  if stream:
    source = batches.Host(features, columns, units)
    return Stream(programs, source, normalizer, buckets, pace, group.pipeline)
  return Resident(programs, features, columns, units, normalizer, buckets, pace)


def _pipeline(choice: str):
  """The module that makes batches: our threads, which are faster and leaner."""
  if choice != "tf.data":
    return stream
  from mcr_jax.data import pipeline

  return pipeline


def _budget(mesh) -> int:
  """Bytes that the data may take on each device: two fifths of what it has."""
  device = mesh.devices.flat[0]
  stats = device.memory_stats() if device.platform != "cpu" else None
  return int(0.4 * stats["bytes_limit"]) if stats else RESIDENT
