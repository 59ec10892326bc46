"""How much memory a file may take, asked before it is taken.

A reader knows the size of an array before it makes it. A file that does not fit should
end in one sentence, not in the system ending the process.
"""

import contextlib
import contextvars
import os
import pathlib
from collections.abc import Iterator

from mcr_jax.errors import UserError

_left = contextvars.ContextVar("bytes that may still be taken", default=None)


@contextlib.contextmanager
def bounded(limit: float | int | None = None) -> Iterator[None]:
  """Inside, `take` allows `limit` bytes in total; by default what is free now."""
  token = _left.set([available() if limit is None else int(limit)])
  try:
    yield
  finally:
    _left.reset(token)


def left() -> int:
  """Bytes that may still be taken."""
  budget = _left.get()
  return available() if budget is None else budget[0]


def take(size: int, what: str) -> None:
  """Raises a UserError where `size` bytes more are too much; call it before."""
  budget = _left.get()
  free = left()
  if size > free:
    raise UserError(
      f"{what} would take {_gb(size)} more of memory, of which {_gb(max(free, 0))} may "
      "be taken. On a machine with more, `python -m mcr_jax.data convert` makes an "
      ".npz of it, which loads in place; its --memory-gb sets the bound."
    )
  if budget is not None:
    budget[0] -= size


def available() -> int:
  """Bytes that this process could still take: of the machine, its group, its limit."""
  bounds = [_of_machine(), _of_group(), _of_process()]
  return max(0, min(x for x in bounds if x is not None))


def _gb(size) -> str:
  return f"{size / 1e9:.2f} GB"


def _of_machine() -> int:
  with contextlib.suppress(OSError, StopIteration):
    with open("/proc/meminfo") as file:
      line = next(x for x in file if x.startswith("MemAvailable"))
    return int(line.split()[1]) << 10
  return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_group() -> int | None:
  """What a container leaves, by the second version of control groups."""
  with contextlib.suppress(OSError, ValueError, StopIteration):
    with open("/proc/self/cgroup") as file:
      own = next(x for x in file if x.startswith("0::")).strip()[3:]
    folder = pathlib.Path("/sys/fs/cgroup") / own.lstrip("/")
    most = int((folder / "memory.max").read_text())
    return most - int((folder / "memory.current").read_text())
  return None


def _of_process() -> int | None:
  """What `ulimit -v` leaves."""
  with contextlib.suppress(ImportError, OSError):
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
      with open("/proc/self/statm") as file:
        return limit - int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
  return None
