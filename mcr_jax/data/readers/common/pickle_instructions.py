"""The instructions of a pickle: what each may cost, and what a `Machine` does at it.

Whatever is not in these tables is refused, or is no instruction.
"""

from mcr_jax.data.readers.common.pickle_machine import Machine
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


def run(machine: Machine) -> object:
  """What the pickle of a machine holds, up to its end.

  Raises:
    UserError: an instruction asks for what is no array and no plain container.
  """
  data = machine.data
  while (code := data[machine.at]) != ord("."):
    machine.at += 1
    machine.spend(COSTS[code])
    step = STEPS.get(code)
    if step is None:
      if code in FORBIDDEN:
        raise UserError(f"{machine.source}: refused: {FORBIDDEN[code]}.")
      raise ValueError(f"unknown instruction {code}")
    try:
      step(machine)
    except UserError as error:
      if not str(error).startswith("refused"):
        raise
      raise UserError(
        f"{machine.source}: {error}. A file may hold NumPy arrays and plain "
        "containers; nothing of it was run."
      ) from None
  return machine.stack[-1]


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
