"""How far the host runs ahead of the device."""

import time

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mcr_jax import allocator

# Ctrl-C is answered between two calls, and calls wait for the device this often.
SECONDS = 2.0


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

  def sent(self, done: Array, count: int, program: object) -> None:
    """Waits for the device if enough was sent, and learns how fast it is.

    Args:
      done: an array that exists once the steps are taken.
      count: how many steps were sent.
      program: what tells the compiled program from others.
    """
    self._sent += count
    # The first call of a program compiles it: it says nothing about speed either.
    self._compiled |= program not in self._warm
    self._warm.add(program)
    if self._sent < self.steps:
      return
    jax.block_until_ready(done)
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

  def sent(self, done: Array) -> None:
    """Waits for the call before the one that gives `done`."""
    if jax.process_count() > 1:
      return  # `Pace` waits often enough, and for all of them
    if self._before is not None:
      jax.block_until_ready(self._before)
    # The state itself is gone when the next call has it.
    self._before = jnp.copy(done)
