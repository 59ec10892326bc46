"""Joining a run of several processes."""

import jax

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
  if coordinator == "auto":
    jax.distributed.initialize()
    return
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
  jax.distributed.initialize(address, count, index)
