"""What a compiled program launches on a GPU, counted in XLA's text of it.

One instruction that is not merely a view of memory is one launch; those of a loop count
as often as it turns. What the driver joins into a graph afterwards (command buffers)
costs less and is counted as if it were not.
"""

import collections
import re
from collections.abc import Iterator
from typing import NamedTuple

# What no kernel computes.
VIEWS = {
  "parameter",
  "constant",
  "get-tuple-element",
  "tuple",
  "bitcast",
  "after-all",
  "opt-barrier",
}
_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.\-]+) .*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?[\w.\-]+ = .*? ([a-z][\w\-]*)\((.*)$")


class Instruction(NamedTuple):
  """A line of a computation: what it does, and the line."""

  operation: str
  line: str
  root: bool

  def named(self, attribute: str) -> str:
    """The computation or word that an attribute names; "" where there is none."""
    found = re.search(rf'{attribute}="?%?([\w.$\-]+)', self.line)
    return found[1] if found else ""

  @property
  def place(self) -> str:
    """Where it was traced: the name of the operation in the model."""
    found = re.search(r'op_name="([^"]*)"', self.line)
    return found[1] if found else ""


Computations = dict[str, list[Instruction]]


def count(text: str) -> dict[str, int]:
  """Launches by kind, most first, of one turn where a program is a loop of steps.

  Args:
    text: of a compiled program.
  """
  counted = collections.Counter()
  for kind, times, _ in launches(text):
    counted[kind] += times
  return dict(counted.most_common())


def launches(text: str) -> Iterator[tuple[str, int, Instruction]]:
  """(kind, how often, instruction) of what `count` counts."""
  entry, computations = _parse(text)
  for one in computations[entry]:
    if one.operation == "while" and not _turns(one):
      entry = one.named("body")
  yield from _of(computations, entry, 1)


def _of(computations, name, times):
  for one in computations[name]:
    if one.operation in VIEWS or one.operation.endswith("-done"):
      continue
    if one.operation == "while":
      yield from _of(computations, one.named("body"), times * (_turns(one) or 1))
    elif one.operation in ("call", "async-start"):
      inside = one.named("to_apply") or one.named("calls")
      yield from _of(computations, inside, times)
    else:
      yield _kind(one, computations), times, one


def _turns(loop):
  """How often it turns; None where that is a number of the program."""
  found = re.search(r'known_trip_count":\{"n":"(\d+)"', loop.line)
  return int(found[1]) if found else None


def _kind(one, computations):
  if one.operation == "custom-call":
    target = one.named("custom_call_target")
    known = {"__cublas": "cuBLAS", "__cudnn": "cuDNN", "mosaic": "own kernels"}
    return next(
      (word for start, word in known.items() if target.startswith(start)), target
    )
  if one.operation != "fusion":
    return "copies" if one.operation.startswith("copy") else one.operation
  inside = {each.operation for each in computations[one.named("calls")]}
  kind = one.named("kind")
  if kind == "kCustom":
    return "Triton"
  if kind == "kInput":
    return "reductions" if "reduce" in inside else "joins, transposes"
  return "elementwise"


def _parse(text) -> tuple[str, Computations]:
  """The name of the entry computation, and all by name."""
  entry, computations, current = "", {}, None
  for line in text.splitlines():
    if found := _INSTRUCTION.match(line):
      current.append(Instruction(found[2], line, bool(found[1])))
    elif found := _COMPUTATION.match(line):
      current = computations[found[2]] = []
      entry = found[2] if found[1] else entry
  return entry, computations
