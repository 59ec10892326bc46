"""A field of a config that knows what it may be: it validates and documents itself.

Models and the groups of a config are dataclasses whose fields are made here.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from mcr_jax.errors import UserError, choose

KEY = "mcr_jax"


@dataclasses.dataclass(frozen=True)
class Domain:
  """What the value of a field may be.

  Attributes:
    choices: the values that are right; () is no list.
    low, high: bounds that are themselves right; None is no bound.
    above, below: bounds that are not.
    modalities: whether the value (or the keys of a dict) names modalities.
    sweep: whether members of one compiled program may differ in it.
    doc: one sentence for a reader.
  """

  choices: tuple = ()
  low: float | None = None
  high: float | None = None
  above: float | None = None
  below: float | None = None
  modalities: bool = False
  sweep: bool = False
  doc: str = ""

  def check(self, path: str, value: Any) -> None:
    """Raises UserError where `value` of the field `path` is not right."""
    if self.choices:
      choose(value, self.choices, path)
    if isinstance(value, int | float) and not isinstance(value, bool):
      self._check_number(path, value)
    elif isinstance(value, Mapping) and self._bounded:
      for name, item in value.items():
        if type(item) is not int and type(item) is not float:
          raise UserError(f"{path}.{name}={item!r} must be a number {self.range}.")
        self._check_number(f"{path}.{name}", item)
    elif isinstance(value, tuple) and self.modalities:
      named = all(isinstance(name, str) and name for name in value)
      if not named or len(set(value)) < len(value):
        raise UserError(f"{path}={value!r} must be different names.")

  @property
  def range(self) -> str:
    """The bounds as mathematics writes them."""
    left = f"[{self.low}" if self.above is None else f"({self.above}"
    right = f"{self.high}]" if self.below is None else f"{self.below})"
    return f"in {left.replace('[None', '(-inf')}, {right.replace('None]', 'inf)')}"

  @property
  def _bounded(self) -> bool:
    return any(x is not None for x in (self.low, self.high, self.above, self.below))

  def _check_number(self, path: str, value: float) -> None:
    right = (
      math.isfinite(value)
      and (self.low is None or value >= self.low)
      and (self.high is None or value <= self.high)
      and (self.above is None or value > self.above)
      and (self.below is None or value < self.below)
    )
    if not right:
      raise UserError(f"{path}={value!r} must lie {self.range}.")


def field(default: Any = dataclasses.MISSING, **domain: Any) -> Any:
  """A dataclass field with a `Domain`; its keywords are those of the class."""
  return dataclasses.field(default=default, metadata={KEY: Domain(**domain)})


def rate(doc: str = "", default: float = 0.0) -> Any:
  """The field of a dropout rate, in [0, 1): it may differ inside one program."""
  return field(default, low=0, below=1, sweep=True, doc=doc)


def domain(of: dataclasses.Field) -> Domain:
  """The domain of a dataclass field.

  One that states none counts something if it is a whole number, which is then at least
  1, and is any finite number if it is a float.
  """
  stated = of.metadata.get(KEY)
  if stated is not None:
    return stated
  return Domain(low=1) if type(of.default) is int else Domain()
