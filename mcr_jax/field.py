"""A field of a config that knows what it may be: it validates and documents itself.

Models and the groups of a config are dataclasses whose fields are made here.
"""

import dataclasses
import math
import typing
from collections.abc import Mapping
from typing import Any

from mcr_jax.errors import UserError, choose

KEY = "mcr_jax"


@dataclasses.dataclass(frozen=True)
class Domain:
  """What the value of a field may be.

  Attributes:
    choices: the values that are right, of a tuple those of its items; () is no list.
    low, high: bounds that are themselves right; None is no bound.
    above, below: bounds that are not.
    modalities: whether the value (or the keys of a dict) names modalities.
    sweep: whether members of one compiled program may differ in it.
    doc: one sentence for a reader.
    item: type of what a tuple or a dict holds, which `domain` reads in the annotation.
  """

  choices: tuple = ()
  low: int | float | None = None
  high: int | float | None = None
  above: int | float | None = None
  below: int | float | None = None
  modalities: bool = False
  sweep: bool = False
  doc: str = ""
  item: Any = None

  def check(self, path: str, value: Any) -> None:
    """Raises UserError where `value` of the field `path` is not right."""
    if isinstance(value, Mapping):
      for name, item in value.items():
        self._check_item(f"{path}.{name}", item)
    elif isinstance(value, tuple):
      for item in value:
        self._check_item(path, item)
      if (self.modalities or self.choices) and len(set(value)) < len(value):
        raise UserError(f"{path}={value!r} must be different names.")
    else:
      self._check_one(path, value)

  @property
  def range(self) -> str:
    """The bounds as mathematics writes them."""
    left = f"[{self.low}" if self.above is None else f"({self.above}"
    right = f"{self.high}]" if self.below is None else f"{self.below})"
    return f"in {left.replace('[None', '(-inf')}, {right.replace('None]', 'inf)')}"

  def _check_item(self, path: str, value: Any) -> None:
    if self.item in (bool, int, float, str) and type(value) is not self.item:
      if (type(value), self.item) != (int, float):
        raise UserError(f"{path}={value!r} must be {self.item.__name__}.")
    if self.modalities and value == "":
      raise UserError(f"{path}={value!r} must be a name.")
    self._check_one(path, value)

  def _check_one(self, path: str, value: Any) -> None:
    if self.choices:
      choose(value, self.choices, path)
    if isinstance(value, int | float) and not isinstance(value, bool):
      self._check_number(path, value)

  def _check_number(self, path: str, value: int | float) -> None:
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
  metadata = {KEY: Domain(**domain)}
  if isinstance(default, dict):  # every instance has its own
    return dataclasses.field(default_factory=default.copy, metadata=metadata)
  return dataclasses.field(default=default, metadata=metadata)


def rate(doc: str = "", default: float = 0.0) -> Any:
  """The field of a dropout rate, in [0, 1): it may differ inside one program."""
  return field(default, low=0, below=1, sweep=True, doc=doc)


def domain(of: dataclasses.Field) -> Domain:
  """The domain of a dataclass field.

  One that states none counts something if it is a whole number, which is then at least
  1, and is any finite number if it is a float.
  """
  stated = of.metadata.get(KEY)
  if stated is None:
    stated = Domain(low=1) if type(of.default) is int else Domain()
  if typing.get_origin(of.type) in (tuple, dict, Mapping):
    items = [t for t in typing.get_args(of.type) if t is not Ellipsis]
    return dataclasses.replace(stated, item=items[-1])
  return stated
