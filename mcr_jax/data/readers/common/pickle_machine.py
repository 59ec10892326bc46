"""The machine that pickles are programs for, without anything that could call code.

It knows a dozen names, each of them made in `pickle_names`, and has no way to import,
call or set anything else. What an instruction may take of memory is counted before.
"""

import codecs
import mmap
import re
import warnings
from collections.abc import Callable, Mapping

import numpy as np

from mcr_jax.data import memory
from mcr_jax.data.readers.common import refusals
from mcr_jax.data.readers.common.pickle_names import (
  Array,
  Dtype,
  Global,
  checked_key,
  filled,
)
from mcr_jax.errors import UserError

# A pickle of arrays decodes to little more than its size; the constant leaves room
# for files that are nothing but short strings.
ALLOWANCE, FACTOR = 128 << 20, 8
LONG_PAYLOAD = 4096
FLOATS = re.compile(rb"(?:G.{8})+", re.DOTALL)
FLOAT_RECORD = np.dtype([("code", "u1"), ("value", ">f8")])
Data = bytes | bytearray | mmap.mmap


class Machine:
  """The stack, the memo and the position in the file."""

  def __init__(
    self,
    data: Data,
    source: str,
    known: Mapping[tuple[str, str], Global],
    persistent: Callable[[object], object] | None,
  ):
    self.data, self.view, self.source = data, memoryview(data), source
    self.known, self.persistent = known, persistent
    self.at, self.stack, self.marks, self.memo = 0, [], [], {}
    self.spent, self.limit = 0, min(ALLOWANCE + FACTOR * len(data), memory.left())

  def spend(self, amount: int) -> None:
    self.spent += amount
    if self.spent > self.limit:
      raise UserError(
        f"{self.source}: refused: its {len(self.data)} bytes would take more than "
        f"{self.limit >> 20} MiB of memory."
      )

  def push(self, value) -> None:
    self.stack.append(value)

  def unsigned(self, width: int) -> int:
    return int.from_bytes(self.take(width), "little")

  def take(self, count: int) -> memoryview:
    if count > len(self.data) - self.at:
      raise ValueError(f"{count} bytes announced, {len(self.data) - self.at} left")
    self.at += count
    return self.view[self.at - count : self.at]

  def line(self, longest: int = 80) -> bytes:
    end = self.data.find(b"\n", self.at, self.at + longest + 1)
    if end < 0:
      raise ValueError(f"no end of line within {longest} bytes")
    begin, self.at = self.at, end + 1
    return bytes(self.view[begin:end])

  def items(self) -> list:
    begin = self.marks.pop()
    items = self.stack[begin:]
    del self.stack[begin:]
    return items

  def text(self, raw: bytes | memoryview) -> None:
    self.spend(4 * len(raw))
    # Lone surrogates are replaced: such text could be neither printed nor stored.
    self.push(str(raw, "utf-8", "replace"))

  def octets(self, raw: memoryview) -> None:
    # Long runs are the data of arrays: they stay where they are, in the file.
    self.push(bytes(raw) if len(raw) <= LONG_PAYLOAD else raw)

  def old_string(self, raw: memoryview) -> None:
    self.push(str(raw, "latin1") if len(raw) <= LONG_PAYLOAD else raw)

  def quoted(self) -> None:
    raw = self.line(len(self.data)).strip()
    if len(raw) < 2 or raw[:1] not in b"'\"" or raw[:1] != raw[-1:]:
      raise ValueError("a string without its quotes")
    self.spend(len(raw))
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      raw = codecs.escape_decode(raw[1:-1])[0]
    self.old_string(memoryview(raw))

  def unicode_line(self) -> None:
    raw = self.line(len(self.data))
    self.spend(8 * len(raw))
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      text = str(raw, "raw-unicode-escape")
    self.push(text.encode("utf-8", "replace").decode("utf-8"))

  def decimal(self) -> None:
    line = self.line().strip()
    special = {b"00": False, b"01": True}
    self.push(special[line] if line in special else int(line.rstrip(b"L")))

  def floats(self) -> None:
    run = FLOATS.match(self.data, self.at - 1)
    values = np.frombuffer(self.view[run.start() : run.end()], FLOAT_RECORD)["value"]
    self.spend(40 * len(values))
    self.stack.extend(values.tolist())
    self.at = run.end()

  def long(self, width: int) -> None:
    size = self.unsigned(width)
    if size > 255:
      raise UserError(f"refused: an integer of {size} bytes")
    self.push(int.from_bytes(self.take(size), "little", signed=True))

  def outside(self) -> None:
    if self.persistent is None:
      raise UserError("refused: a persistent id")
    self.push(self.persistent(self.stack.pop()))

  def pop(self) -> None:
    if self.marks and self.marks[-1] == len(self.stack):
      self.marks.pop()
    else:
      self.stack.pop()

  def tuple_of(self, count: int) -> None:
    items = tuple(self.stack[-count:])
    if len(items) != count:
      raise ValueError("too few items for a tuple")
    self.stack[-count:] = [items]

  def extend(self, items: list, kind: type) -> None:
    target = self.stack[-1]
    if type(target) is not kind:
      raise UserError(f"refused: items for a {type(target).__name__}")
    if kind is list:
      target.extend(items)
    elif kind is set:
      target.update(checked_key(item) for item in items)
    else:
      if len(items) % 2:
        raise ValueError("a key without a value")
      pairs = zip(items[::2], items[1::2], strict=True)
      target.update((checked_key(key), value) for key, value in pairs)

  def two(self) -> list:
    items = self.stack[-2:]
    del self.stack[-2:]
    return items

  def collect(self, kind: type) -> None:
    items = self.items()
    self.push(kind())
    self.extend(items, kind)

  def put(self, slot: int) -> None:
    value = self.memo[slot] = self.stack[-1]
    if isinstance(value, Array):
      value.slots.append(slot)

  def name(self, module, name) -> None:
    known = self.known.get((module, name)) if isinstance(module, str) else None
    if known is None:
      hint = refusals.hint(str(module))
      hint = f", {hint}" if hint else ""
      raise UserError(f"refused: {str(module)[:60]}.{str(name)[:60]}{hint}")
    self.push(known)

  def name_lines(self) -> None:
    module, name = (str(self.line(200), "utf-8", "replace") for _ in range(2))
    if module.endswith("\r") and name.endswith("\r"):
      raise ValueError("a name that ends in a carriage return")
    self.name(module, name)

  def instance(self) -> None:
    self.name_lines()
    raise UserError(f"refused: an instance of {self.stack[-1].name}")

  def reduce(self) -> None:
    function, arguments = self.two()
    if not isinstance(function, Global) or type(arguments) is not tuple:
      raise UserError(f"refused: a call of a {type(function).__name__}")
    if function.call is None:
      raise UserError(f"refused: a call of {function.name}")
    self.push(function.call(*arguments))

  def build(self) -> None:
    state = self.stack.pop()
    target = self.stack[-1]
    if isinstance(target, Dtype) and isinstance(state, tuple):
      target.build(state)
    elif isinstance(target, Array) and isinstance(state, tuple):
      # The first of five items is the version of the layout.
      shape, dtype, order, data = state[-4:]
      array = self.stack[-1] = filled(shape, dtype, order, data)
      self.memo.update(dict.fromkeys(target.slots, array))
    else:
      raise UserError(f"refused: a state for a {type(target).__name__}")
