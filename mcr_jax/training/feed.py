"""How samples reach the device: all at once, or batch by batch.

Both follow the same schedule and end in the same programs; a feed turns "these steps
of this schedule" into calls.
"""

import functools
import importlib.util
import time
from collections.abc import Callable, Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import PartitionSpec as P

from mcr_jax import allocator
from mcr_jax.data import batches, stream
from mcr_jax.data.schedule import Bounds, Schedule
from mcr_jax.hosts import mesh as meshes
from mcr_jax.training import setup
from mcr_jax.training.programs import Programs
from mcr_jax.training.state import State

# Ctrl-C is answered between two calls, and calls wait for the device this often.
SECONDS = 2.0
# Batches to predict that may wait in the device's queue.
AHEAD = 8


class Pace:
  """How many steps to send before waiting for the device."""

  def __init__(self, limit: int):
    """`limit` of config.train.steps_per_call; 0 leaves it to the clock."""
    # Processes must make the same calls, and clocks differ; on a CPU they also
    # deadlock where none waits for the others.
    self.fixed = jax.process_count() > 1
    self.most = limit or (8 if self.fixed else 1 << 20)
    self.steps = self.most if self.fixed else 1
    self._warm = set()
    self.restart()

  def restart(self) -> None:
    """What came before, such as a validation, says nothing about the next steps."""
    self._sent, self._since, self._compiled = 0, time.monotonic(), False

  def sent(self, state: State, count: int, program: object) -> None:
    """Waits for the device if enough was sent, and learns how fast it is."""
    self._sent += count
    # The first call of a program compiles it: it says nothing about speed either.
    self._compiled |= program not in self._warm
    self._warm.add(program)
    if self._sent < self.steps:
      return
    jax.block_until_ready(state.step)
    if self._compiled:
      allocator.release_fragments()
    if not (self._compiled or self.fixed):
      each = (time.monotonic() - self._since) / self._sent
      self.steps = int(np.clip(SECONDS / max(each, 1e-6), 1, 4 * self.steps))
      self.steps = min(self.steps, self.most)
    self.restart()


class Queue:
  """At most two calls are with the device, one at work and one that waits.

  Each holds its batches in memory; more would fill it with what is made too early.
  """

  def __init__(self):
    self._before = None

  def sent(self, state: State) -> None:
    """Waits for the call before the one that gives `state`."""
    if jax.process_count() > 1:
      return  # `Pace` waits often enough, and for all of them
    if self._before is not None:
      jax.block_until_ready(self._before)
    # The state itself is gone when the next call has it.
    self._before = jnp.copy(state.step)


class Resident:
  """The whole data set on the device; a call runs many steps."""

  def __init__(
    self,
    programs: Programs,
    dataset,
    lengths: Mapping[str, int],
    normalizer,
    buckets: tuple[Bounds, ...],
    pace: Pace,
  ):
    """Takes the features out of the data set, so that they are not held twice."""
    self.programs, self.buckets, self.pace = programs, buckets, pace
    normalizer.check(dataset)
    self.data, self._example = {}, {}
    for name, length in lengths.items():
      modality = dataset.modalities.pop(name)
      self._place(batches.whole(modality, name, length, normalizer))
    if dataset.labels is not None:
      self._place({"label": dataset.labels})
    del modality
    allocator.give_back()

  def _place(self, host: dict[str, np.ndarray]) -> None:
    # On a CPU the device takes over the memory of an array; elsewhere it ends here.
    self.data |= meshes.place(self.programs.mesh, host)
    self._example |= {name: array[:2].copy() for name, array in host.items()}

  def example(self) -> dict[str, np.ndarray]:
    """Two samples, for shapes."""
    return self._example | {"weight": np.ones(2, np.float32)}

  def train(
    self,
    state: State,
    schedule: Schedule,
    start: int,
    after: Callable[[State, int], None],
  ) -> State:
    """Runs the steps of a schedule from `start`; `after(state, position)` each call."""
    rows = meshes.place(self.programs.mesh, schedule.rows)
    self.pace.restart()
    position = start
    while position < len(schedule):
      bucket = schedule.bucket[position]
      rest = schedule.bucket[position : position + self.pace.steps]
      count = int(np.argmin(np.append(rest == bucket, False)))
      state = self.programs.run(
        state, self.data, rows, position, count, bounds=self.buckets[bucket]
      )
      position += count
      self.pace.sent(state, count, self.buckets[bucket])
      after(state, position)
    return state

  def predictions(self, variables, schedule: Schedule) -> Iterator[np.ndarray]:
    """(S, B, *outputs) of every batch of a schedule, in order."""
    sent = []
    for bucket, rows in zip(schedule.bucket, schedule.rows[0], strict=True):
      bounds = self.buckets[bucket]
      sent.append(self.programs.predict_rows(variables, self.data, rows, bounds=bounds))
      if len(sent) % AHEAD == 0:
        jax.block_until_ready(sent[-1])
    yield from map(np.asarray, sent)


class Stream:
  """Batches made on the host while the device works on the ones before.

  The host copies; the device normalises, where that melts into the first operation
  that reads the features and costs next to nothing.
  """

  def __init__(
    self, programs: Programs, dataset, normalizer, buckets, pace: Pace, pipeline: str
  ):
    self.programs, self.dataset, self.normalizer = programs, dataset, normalizer
    self.batches = _pipeline(pipeline).batches
    self.buckets, self.pace = buckets, pace
    normalizer.check(dataset)
    self.scale = meshes.place(
      programs.mesh,
      {
        m: (np.float32(normalizer.mean[m]), np.float32(normalizer.std[m]))
        for m, _ in buckets[0]
      },
    )
    scores = functools.partial(_scores, clip=normalizer.clip)
    self.step = jax.jit(
      lambda state, batch, scale: programs.step(state, scores(batch, scale)),
      donate_argnums=0,
      out_shardings=programs.by_seed,
    )
    self.predict = jax.jit(
      lambda variables, batch, scale: programs.predict(variables, scores(batch, scale)),
      out_shardings=meshes.shard(programs.mesh),
    )

  def example(self) -> dict[str, np.ndarray]:
    """Two samples, for shapes."""
    rows = np.arange(2)
    return batches.arrays(self.dataset, rows, self.buckets[-1], self.normalizer)

  def train(self, state, schedule, start, after) -> State:
    """As `Resident.train`, one step a call."""
    seed = "seed" if self.programs.mesh.shape["seed"] > 1 else None
    self.pace.restart()
    queue = Queue()
    source = self.batches(self.dataset, schedule, self.buckets, None, start=start)
    for position, batch in enumerate(source, start + 1):
      bucket = schedule.bucket[position - 1]
      batch = meshes.place(self.programs.mesh, batch, P(seed, "data"))
      state = self.step(state, batch, self.scale)
      self.pace.sent(state, 1, self.buckets[bucket])
      queue.sent(state)
      after(state, position)
    return state

  def predictions(self, variables, schedule) -> Iterator[np.ndarray]:
    """(S, B, *outputs) of every batch of a schedule, in order."""
    source = self.batches(self.dataset, schedule, self.buckets, None)
    for batch in source:
      batch = {name: array[0] for name, array in batch.items()}
      placed = meshes.place(self.programs.mesh, batch, P("data"))
      yield np.asarray(self.predict(variables, placed, self.scale))


def _scores(batch, scale, clip: float):
  """As `Normalizer.apply`, on the device."""
  batch = dict(batch)
  for name, (mean, std) in scale.items():
    mean, std = (x.reshape(*[1] * (batch[name].ndim - 1), -1) for x in (mean, std))
    # The deviation is an argument: XLA would multiply by the inverse of a constant.
    scores = jnp.clip((batch[name] - mean) / std, -clip, clip)
    # A hole may hold NaN.
    batch[name] = jnp.where(batch[f"{name}_mask"][..., None], scores, 0)
  return batch


def make_feed(programs, config, dataset, shape, normalizer, buckets):
  """The feed that a config asks for, or that the size of the data asks for."""
  pace = Pace(config.train.steps_per_call)
  if setup.streams(config, dataset, shape, _budget(programs.mesh)):
    return Stream(programs, dataset, normalizer, buckets, pace, config.data.pipeline)
  return Resident(programs, dataset, shape.lengths, normalizer, buckets, pace)


def _pipeline(choice: str):
  """The module that makes batches: tf.data's where TensorFlow is installed."""
  if choice == "auto":
    choice = "tf.data" if importlib.util.find_spec("tensorflow") else "threads"
  if choice == "threads":
    return stream
  from mcr_jax.data import pipeline

  return pipeline


def _budget(mesh) -> int:
  """Bytes that the data may take on each device: two fifths of what it has."""
  device = mesh.devices.flat[0]
  stats = device.memory_stats() if device.platform != "cpu" else None
  return int(0.4 * stats["bytes_limit"]) if stats else 2 << 30
