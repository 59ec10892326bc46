"""Files that are damaged or attack: any bytes load, or end in one line.

The attacks come first, as they are; then files of every format and attack files,
damaged at random, and pickles whose contents nobody would write. Each is read in a
process with limits of memory and time, in which starting a program, opening a
connection and writing a file are errors.
"""

import contextlib
import os
import resource
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.faults import mutations, specimens
from benchmarks.faults.campaign import Failure, drawn
from mcr_jax.errors import UserError

WHAT = "damaged files of every format, invented contents, attacks; all readers"
MUST = "loads or one line: no stack, no code run, bounded memory and time"
# 10,000 mutations, and all attacks there are.
COUNT = 10_500
MEMORY = 2 << 30
SECONDS = 20
FORBIDDEN = (
  *("os.system", "subprocess.", "os.exec", "os.posix_spawn", "os.spawn", "os.fork"),
  *("socket.", "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink"),
  *("os.link", "os.chmod", "os.putenv", "shutil.", "ctypes.dlopen", "sqlite3."),
)


@contextlib.contextmanager
def cases(folder: Path, seed: int) -> Iterator[Callable[[int], str]]:
  """See `campaign`."""
  from mcr_jax.data import readers
  from mcr_jax.data.readers.common import hdf5  # noqa: F401  loaded before the limits

  readers.formats()
  attacks, contents = specimens.hostile(folder), specimens.contents()
  seeds, raw = specimens.every(folder / "seeds"), []
  for number, attack in enumerate(attacks):
    path = folder / f"attack{number}"
    path.write_bytes(attack.data)
    # Formats weigh as much as attacks.
    raw += [path] if number % 15 == 0 else []
  place = folder / "case"

  def case(number: int) -> str:
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    source = drawn(seed, "hostile", number)
    if number < len(attacks):
      kind, path = f"attack on {attacks[number].kind}", folder / f"attack{number}"
    elif number % 3 == 2:
      kind, path = "invented contents", place / "x.pkl"
      path.write_bytes(mutations.invented(source, contents))
    else:
      kind = "damaged file"
      path = mutations.damaged(source, [*seeds, *raw], place / "x")
    said = attempt(lambda: _read(path))
    if canaries := list(folder.glob("canary*")):
      canaries[0].unlink()
      raise Failure(f"{kind}: code ran")
    return f"{kind}: {said}"

  yield case


def attempt(read: Callable[[], str]) -> str:
  """What a reader says in a process of its own, under limits."""
  pipe, end = os.pipe()
  pid = os.fork()
  if not pid:
    said = "stopped"
    try:
      os.close(pipe)
      said = _guarded(read)
    finally:
      os.write(end, said.encode("utf-8", "replace")[:4000])
      os._exit(0)
  os.close(end)
  with open(pipe, "rb") as file:
    said = file.read().decode()
  _, status = os.waitpid(pid, 0)
  if code := os.waitstatus_to_exitcode(status):
    raise Failure(f"ended by {signal.Signals(-code).name if code < 0 else code}")
  if said.startswith("FAILED "):
    raise Failure(said.removeprefix("FAILED "))
  return said


def _guarded(read: Callable[[], str]) -> str:
  guard = Guard()
  sys.addaudithook(guard)
  pages = int(Path("/proc/self/statm").read_text().split()[0])
  most = pages * resource.getpagesize() + MEMORY
  resource.setrlimit(resource.RLIMIT_AS, (most, most))
  # Of CPU time: a machine may be busy with other things.
  resource.setrlimit(resource.RLIMIT_CPU, (SECONDS + 1, SECONDS + 1))
  signal.alarm(20 * SECONDS)
  guard.on = True
  try:
    said = read()
  except UserError as error:
    said = "one line"
    if isinstance(error.__cause__, MemoryError):
      said = "FAILED more memory than its bound"
    if len(str(error)) > 3000:
      said = "FAILED a line of more than 3,000 letters"
  except BaseException as error:
    said = f"FAILED {type(error).__name__} in {_place(error)} | {error}"
  guard.on = False
  return f"FAILED {guard.seen}" if guard.seen else said


def _read(path: Path) -> str:
  from mcr_jax.data import readers

  found = readers.read(path)
  # What a user sees of it, too.
  repr([(m, x.lengths, x.values.shape) for m, x in found.modalities.items()])
  "\n".join([*found.notes, *map(str, found.ids)]).encode()
  return "loaded"


def _place(error: BaseException) -> str:
  """The innermost line of the package that met an error."""
  frames = [x for x in traceback.extract_tb(error.__traceback__) if "mcr_jax" in x[0]]
  last = frames[-1] if frames else None
  return f"{Path(last.filename).name}:{last.name}" if last else "no line of ours"


class Guard:
  """An audit hook that notes what no reader may do."""

  def __init__(self):
    self.on, self.seen = False, None

  def __call__(self, event: str, arguments: tuple) -> None:
    if not self.on:
      return
    writes = event == "open" and self.writes(arguments)
    if writes or event.startswith(FORBIDDEN):
      self.seen = f"{event} is called | {arguments!r}"[:300]
      raise PermissionError(self.seen)

  @staticmethod
  def writes(arguments) -> bool:
    """Whether a file is opened to be written."""
    _, mode, flags = (*arguments, None, None, None)[:3]
    if isinstance(mode, str):
      return any(x in mode for x in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR))
