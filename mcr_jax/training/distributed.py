"""Runs of several processes: joining them, and what they must agree on.

All processes run the same host code and must make the same calls in the same order,
or the devices wait for each other for ever. What only one of them knows (its clock, a
signal) is made common knowledge here before anybody acts on it.
"""

import jax
import numpy as np

from mcr_jax.errors import UserError


def join(coordinator: str | None) -> None:
  """Connects this process to the others; nothing to do for a run of one.

  Args:
    coordinator: `HOST:PORT,COUNT,INDEX`; `auto` takes all three from SLURM, Kubernetes,
      Open MPI or a TPU pod, as `jax.distributed` finds them.
  """
  if not coordinator:
    return
  if "cpu" in (jax.config.jax_platforms or ""):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
  arguments = () if coordinator == "auto" else _parse(coordinator)
  try:
    jax.distributed.initialize(*arguments)
  except (RuntimeError, ValueError) as error:
    raise UserError(
      f"--coordinator {coordinator}: the processes did not find each other ({error})."
    ) from error


def largest(*numbers: int) -> tuple[int, ...]:
  """Of each number, the largest that any process has."""
  if jax.process_count() == 1:
    return numbers
  from jax.experimental import multihost_utils

  found = multihost_utils.process_allgather(np.asarray(numbers, np.int32))
  return tuple(int(n) for n in found.max(0))


def wait(reason: str) -> None:
  """Returns when every process has come this far."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(reason)


def _parse(coordinator: str) -> tuple[str, int, int]:
  try:
    address, count, index = coordinator.split(",")
    count, index = int(count), int(index)
    if ":" not in address or not 0 <= index < count:
      raise ValueError
  except ValueError:
    raise UserError(
      f"--coordinator {coordinator!r} is neither 'auto' nor HOST:PORT,COUNT,INDEX with "
      "0 <= INDEX < COUNT."
    ) from None
  return address, count, index
