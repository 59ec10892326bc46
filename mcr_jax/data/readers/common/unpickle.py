"""Reads pickles of NumPy arrays and plain containers, and runs nothing.

The standard unpickler is a machine with an instruction to call whatever a file names.
`pickle_machine` is a smaller one for the same files: protocols 0 to 5, strings of
Python 2 as latin1. Array data are views into the mapped file, so that a large file
costs no memory until its arrays are used.
"""

import mmap
import os
import struct
from collections.abc import Callable, Mapping

from mcr_jax.data.readers.common import damage, pickle_instructions
from mcr_jax.data.readers.common.pickle_machine import Data, Machine
from mcr_jax.data.readers.common.pickle_names import KNOWN, Global
from mcr_jax.errors import UserError

MAX_DUMPS, PROTO = 64, 0x80


def mapped(path: str | os.PathLike) -> mmap.mmap:
  """The bytes of a file, which must have some."""
  with open(path, "rb") as file:
    if not os.fstat(file.fileno()).st_size:
      raise UserError(f"{path} is empty.")
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def load(path: str | os.PathLike) -> object:
  """The content of a pickle file, of several dumps the first.

  Raises:
    UserError: the file is damaged, or holds anything but arrays and containers.
  """
  return loads(mapped(path), str(path))


def loads(
  data: Data,
  source: str = "The pickle",
  *,
  known: Mapping[tuple[str, str], Global] = KNOWN,
  persistent: Callable[[object], object] | None = None,
) -> object:
  """The content of a pickle in memory; see `load`.

  Args:
    data: of the file.
    source: for messages.
    known: the names that it may mention.
    persistent: makes what an id of something outside of the pickle stands for.
  """
  return _run(Machine(data, source, known, persistent))


def dumps(data: Data, source: str) -> tuple[list[object], int]:
  """All that was dumped into a file, one after another, and the bytes behind it.

  Bytes that are no pickle may follow; a further dump that is damaged is an error.
  """
  machine = Machine(data, source, KNOWN, None)
  found = [_run(machine)]
  while machine.at < len(data) and len(found) < MAX_DUMPS:
    end = machine.at
    machine.stack, machine.marks, machine.memo = [], [], {}
    try:
      found.append(_run(machine))
    except UserError as error:
      if data[end] == PROTO or "refused" in str(error):
        raise
      return found, len(data) - end
  return found, len(data) - machine.at


def _run(machine: "Machine") -> object:
  """The next dump; the machine is then behind its end."""
  try:
    content = pickle_instructions.run(machine)
    machine.at += 1
    return content
  except UserError:
    raise
  # Damage can break any instruction; where it did says more than how.
  except (ArithmeticError, AttributeError, LookupError, MemoryError) as error:
    reason = error
  except (TypeError, ValueError, struct.error) as error:
    reason = error
  told = damage.of(machine.data)
  raise UserError(
    f"{machine.source} is no pickle, or a damaged one: byte {machine.at} of "
    f"{len(machine.data)} does not make sense ({type(reason).__name__}: "
    f"{str(reason)[:100]}).{' ' + told if told else ''}"
  )
