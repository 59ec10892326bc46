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

# What one instruction may take in memory, in bytes, beside the text it carries.
COSTS = [16] * 256
for codes, cost in (
  (b"F]lIKMJLG\x8a\x8b", 80),
  (b"}d", 110),
  (b"t\x85\x86\x87", 80),
  (b"STUVXBC\x8c\x8d\x8e\x96", 90),
  (b"\x8f\x91", 260),
  (b"pqr\x94", 130),
  (b"R", 300),
  (b"b", 600),
):
  for code in codes:
    COSTS[code] = cost

# A pickle of arrays decodes to little more than its size; the constant leaves room
# for files that are nothing but short strings.
ALLOWANCE, FACTOR = 128 << 20, 8
LONG_PAYLOAD = 4096
FLOATS = re.compile(rb"(?:G.{8})+", re.DOTALL)
FLOAT_RECORD = np.dtype([("code", "u1"), ("value", ">f8")])
FORBIDDEN = {
  ord("P"): "a persistent id",
  ord("o"): "an object",
  0x81: "an object",
  0x92: "an object",
  0x82: "an extension code",
  0x83: "an extension code",
  0x84: "an extension code",
  0x97: "an out-of-band buffer",
  0x98: "an out-of-band buffer",
}
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

  def run(self) -> object:
    data, steps = self.data, STEPS
    while (code := data[self.at]) != ord("."):
      self.at += 1
      self.spend(COSTS[code])
      step = steps.get(code)
      if step is None:
        if code in FORBIDDEN:
          raise UserError(f"{self.source}: refused: {FORBIDDEN[code]}.")
        raise ValueError(f"unknown instruction {code}")
      try:
        step(self)
      except UserError as error:
        if not str(error).startswith("refused"):
          raise
        raise UserError(
          f"{self.source}: {error}. A file may hold NumPy arrays and plain containers; "
          "nothing of it was run."
        ) from None
    return self.stack[-1]

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


def _steps() -> dict:
  """Instruction -> what the machine does."""
  signed = lambda m: m.push(int.from_bytes(m.take(4), "little", signed=True))
  return {
    0x80: lambda m: m.take(1),
    0x95: lambda m: m.take(8),
    ord("("): lambda m: m.marks.append(len(m.stack)),
    ord("0"): Machine.pop,
    ord("1"): lambda m: m.items(),
    ord("2"): lambda m: m.push(m.stack[-1]),
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): Machine.decimal,
    ord("L"): Machine.decimal,
    ord("F"): lambda m: m.push(float(m.line())),
    ord("G"): Machine.floats,
    ord("J"): signed,
    ord("K"): lambda m: m.push(m.unsigned(1)),
    ord("M"): lambda m: m.push(m.unsigned(2)),
    0x8A: lambda m: m.long(1),
    0x8B: lambda m: m.long(4),
    ord("S"): Machine.quoted,
    ord("T"): lambda m: m.old_string(m.take(m.unsigned(4))),
    ord("U"): lambda m: m.old_string(m.take(m.unsigned(1))),
    ord("V"): Machine.unicode_line,
    ord("X"): lambda m: m.text(m.take(m.unsigned(4))),
    0x8C: lambda m: m.text(m.take(m.unsigned(1))),
    0x8D: lambda m: m.text(m.take(m.unsigned(8))),
    ord("B"): lambda m: m.octets(m.take(m.unsigned(4))),
    ord("C"): lambda m: m.octets(m.take(m.unsigned(1))),
    0x8E: lambda m: m.octets(m.take(m.unsigned(8))),
    0x96: lambda m: m.octets(m.take(m.unsigned(8))),
    ord("]"): lambda m: m.push([]),
    ord("}"): lambda m: m.push({}),
    ord(")"): lambda m: m.push(()),
    0x8F: lambda m: m.push(set()),
    ord("l"): lambda m: m.collect(list),
    ord("d"): lambda m: m.collect(dict),
    0x91: lambda m: m.collect(set),
    ord("t"): lambda m: m.push(tuple(m.items())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("a"): lambda m: m.extend([m.stack.pop()], list),
    ord("e"): lambda m: m.extend(m.items(), list),
    ord("s"): lambda m: m.extend(m.two(), dict),
    ord("u"): lambda m: m.extend(m.items(), dict),
    0x90: lambda m: m.extend(m.items(), set),
    ord("g"): lambda m: m.push(m.memo[int(m.line())]),
    ord("h"): lambda m: m.push(m.memo[m.unsigned(1)]),
    ord("j"): lambda m: m.push(m.memo[m.unsigned(4)]),
    ord("p"): lambda m: m.put(int(m.line())),
    ord("q"): lambda m: m.put(m.unsigned(1)),
    ord("r"): lambda m: m.put(m.unsigned(4)),
    0x94: lambda m: m.put(len(m.memo)),
    ord("c"): Machine.name_lines,
    0x93: lambda m: m.name(*m.two()),
    ord("i"): Machine.instance,
    ord("Q"): Machine.outside,
    ord("R"): Machine.reduce,
    ord("b"): Machine.build,
  }


STEPS = _steps()
