"""Fields of a config as rows of a table: what they are by default, and may be."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from docs.generate import markdown
from mcr_jax.field import Domain, domain

HEADER = ("field", "default", "may be", "what it is")
LEGEND = "⇄: points of a sweep that differ only in such fields train in one program.\n"
KINDS = {
  bool: "`true` or `false`",
  int: "a whole number",
  float: "a number",
  str: "text",
}


def rows(group: type, names: tuple[str, ...] = (), path: str = "") -> list[tuple]:
  """The cells of a dataclass's fields, whose names in a config begin with `path`.

  Args:
    group: the dataclass.
    names: of the fields; all of them without.
    path: such as `data.`.
  """
  of = dataclasses.fields(group)
  return [_row(f, path) for f in of if not names or f.name in names]


def _row(field: dataclasses.Field, path: str) -> tuple:
  may_be, value = domain(field), _default(field)
  return (
    markdown.code(path + field.name),
    markdown.code(_shown(value)),
    _allowed(may_be, value),
    markdown.text(may_be.doc[:1].upper() + may_be.doc[1:]) + " ⇄" * may_be.sweep,
  )


def _default(field: dataclasses.Field) -> Any:
  if field.default is dataclasses.MISSING:
    return field.default_factory()
  return field.default


def _shown(value: Any) -> str:
  """A value as the command line would take it."""
  if isinstance(value, Mapping):
    return str(dict(value))
  return '""' if value == "" else str(value)


def _allowed(may_be: Domain, default: Any) -> str:
  """What a field may be, in words and mathematics."""
  one = _one(may_be, may_be.item or type(default))
  if isinstance(default, Mapping):
    return f"by {'modality' if may_be.modalities else 'name'}, each {one}"
  if isinstance(default, tuple):
    return (
      "names of modalities"
      if may_be.modalities
      else f"list, each {one}"
      if one
      else "list"
    )
  return "name of a modality" if may_be.modalities else one


def _one(may_be: Domain, kind: Any) -> str:
  if may_be.choices:
    return ", ".join(markdown.code(_shown(choice)) for choice in may_be.choices)
  bounds = (may_be.low, may_be.high, may_be.above, may_be.below)
  bounded = any(bound is not None for bound in bounds)
  words = KINDS.get(kind, "")
  return f"{words} {may_be.range}" if bounded else words
