"""Runs of several processes: joining them, and what they must agree on.

All processes run the same host code and must make the same calls in the same order,
or the devices wait for each other for ever. What only one of them knows (its clock, a
signal) is made common knowledge here before anybody acts on it.
"""

import atexit
import contextlib
import hashlib
import os
import sys
import threading
from collections.abc import Iterator

import jax
import numpy as np

from mcr_jax.errors import McrJaxError, UserError
from mcr_jax.hosts import watch as watches

# Between two agreements, which make every process wait for the others' devices.
STEPS = 8

_watch: watches.Watch | None = None
# Set where this process must leave without a word to the others, who are gone.
_leave_with: int | None = None


def join(coordinator: str | None) -> None:
  """Connects this process to the others; nothing to do for a run of one.

  Args:
    coordinator: `HOST:PORT,COUNT,INDEX`; `auto` takes all three from SLURM, Kubernetes,
      Open MPI or a TPU pod, as `jax.distributed` finds them.
  """
  global _watch
  if not coordinator:
    return
  if "cpu" in (jax.config.jax_platforms or ""):
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
  # Its handler would swallow a SIGTERM that comes before the loop listens for one.
  with contextlib.suppress(AttributeError):
    jax.config.update("jax_enable_preemption_service", False)
  arguments = () if coordinator == "auto" else _parse(coordinator)
  # JAX waits for five minutes, then aborts with a stack of C++.
  note = f"mcr_jax: still waiting for the other processes (--coordinator {coordinator})"
  patient = threading.Timer(20.0, print, [note], {"file": sys.stderr, "flush": True})
  patient.daemon = True
  patient.start()
  try:
    # Later than the watch, which ends a process in a more orderly way.
    patience = int(2 * watches.TIMEOUT)
    jax.distributed.initialize(
      *arguments,
      heartbeat_timeout_seconds=patience,
      shutdown_timeout_seconds=patience,
    )
  except (RuntimeError, ValueError) as error:
    hint = ""
    if coordinator == "auto":
      hint = (
        " Outside SLURM, Kubernetes, Open MPI and TPU pods, give HOST:PORT,COUNT,INDEX."
      )
    raise UserError(
      f"--coordinator {coordinator}: the processes did not find each other ({error})."
      f"{hint}"
    ) from error
  finally:
    patient.cancel()
  # What only those can know who asked: jax.process_count() would start the backend.
  state = _state()
  if state is not None and state.num_processes > 1:
    _watch = watches.Watch(state.client, state.process_id, state.num_processes)
    # After JAX's own, so before it: that one waits for the others.
    atexit.register(_leave)


@contextlib.contextmanager
def together() -> Iterator[None]:
  """Turns what the loss of another process does to this one into `LostProcess`."""
  global _leave_with
  try:
    yield
  except McrJaxError:
    raise
  except KeyboardInterrupt:
    _leave_with = 130
    raise
  except Exception as error:
    # A collective that broke off may be a ValueError, where jit dispatches it.
    known = isinstance(error, jax.errors.JaxRuntimeError) or "Gloo" in str(error)
    reason = _watch.explain(error) if known and _watch is not None else ""
    if not reason:
      raise
    _leave_with = watches.LostProcess.exit_code
    raise watches.LostProcess(watches.sentence(reason)) from error


def largest(*numbers: int) -> tuple[int, ...]:
  """Of each number, the largest that any process has."""
  if jax.process_count() == 1:
    return numbers
  return tuple(int(n) for n in _gather(np.asarray(numbers, np.int32)).max(0))


def wait(reason: str) -> None:
  """Returns when every process has come this far."""
  if jax.process_count() > 1:
    from jax.experimental import multihost_utils

    multihost_utils.sync_global_devices(reason)


def check_same(**texts: str) -> None:
  """Raises UserError where a process has another text than the first, by name.

  Every process raises the same error, so that none is left waiting.
  """
  if jax.process_count() == 1:
    return
  hashes = [hashlib.sha256(x.encode()).digest()[:8] for x in texts.values()]
  own = np.frombuffer(b"".join(hashes), np.int32).reshape(len(texts), 2)
  everyone = _gather(own)
  differs = (everyone != everyone[:1]).any(-1)
  for name, other in zip(texts, differs.T, strict=True):
    if other.any():
      raise UserError(
        f"The processes of this run differ in {name.replace('_', ' ')}: that of "
        f"process {int(other.argmax())} is not that of process 0. All of them need the "
        "same arguments, and a --workdir and data that they share."
      )


def _gather(array: np.ndarray) -> np.ndarray:
  """That of every process, stacked."""
  from jax.experimental import multihost_utils

  return multihost_utils.process_allgather(array)


def _state():
  """JAX's own record of the connection; it is not public, but nothing else has it."""
  try:
    from jax._src.distributed import global_state
  except ImportError:
    return None  # JAX's heartbeat remains
  return global_state


def _leave() -> None:
  _watch.close()
  if _leave_with is not None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(_leave_with)


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
