"""Fields of a config as rows of a table: what they are by default, and may be."""

import dataclasses
from typing import Any

from docs.generate import markdown
from mcr_jax.config.described import allowed, shown
from mcr_jax.field import domain

HEADER = ("field", "default", "may be", "what it is")
LEGEND = "⇄: points of a sweep that differ only in such fields train in one program.\n"


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
    markdown.code(shown(value)),
    allowed(may_be, value, markdown.code),
    markdown.text(may_be.doc[:1].upper() + may_be.doc[1:]) + " ⇄" * may_be.sweep,
  )


def _default(field: dataclasses.Field) -> Any:
  if field.default is dataclasses.MISSING:
    return field.default_factory()
  return field.default
