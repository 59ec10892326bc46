"""Fields of a config as rows of a table: what they are by default, and may be."""

import dataclasses
import inspect
import re
from collections.abc import Mapping
from typing import Any

from docs.generate import markdown
from mcr_jax.field import Domain, domain

HEADER = ("field", "default", "may be", "what it is")
LEGEND = "⇄: points of a sweep that differ only in such fields train in one program.\n"
# `name: words`, and lines further in that go on with them.
_ATTRIBUTE = re.compile(r"^  (\w[\w, ]*): (.*(?:\n    .*)*)", re.M)


def rows(group: type, names: tuple[str, ...] = (), path: str = "") -> list[tuple]:
  """The cells of a dataclass's fields, whose names in a config begin with `path`.

  Args:
    group: the dataclass.
    names: of the fields; all of them without.
    path: such as `data.`.
  """
  of = dataclasses.fields(group)
  said = _attributes(group)
  return [_row(f, path, said) for f in of if not names or f.name in names]


def _row(field: dataclasses.Field, path: str, said: Mapping[str, str]) -> tuple:
  may_be, value = domain(field), _default(field)
  about = may_be.doc or said.get(field.name, "")
  return (
    markdown.code(path + field.name),
    markdown.code(_shown(value)),
    _allowed(may_be, value),
    markdown.text(about[:1].upper() + about[1:]) + " ⇄" * may_be.sweep,
  )


def _attributes(group: type) -> dict[str, str]:
  """What the docstrings of a class and of those it extends say of their fields."""
  said: dict[str, str] = {}
  for base in reversed(group.__mro__):
    for names, words in _ATTRIBUTE.findall(inspect.cleandoc(base.__doc__ or "")):
      said |= dict.fromkeys(names.split(", "), " ".join(words.split()))
  return said


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
  if may_be.choices:
    return ", ".join(markdown.code(_shown(choice)) for choice in may_be.choices)
  if isinstance(default, bool):
    return "true, false"
  kinds = {int: "whole number", float: "number", str: "text"}
  kind = kinds.get(type(default), "")
  if isinstance(default, Mapping):
    kind = "numbers by name" if _bounded(may_be) else "values by name"
    kind = kind.replace("name", "modality") if may_be.modalities else kind
  elif isinstance(default, tuple):
    kind = "names of modalities" if may_be.modalities else "list"
  elif may_be.modalities:
    kind = "name of a modality"
  return f"{kind} {may_be.range}".strip() if _bounded(may_be) else kind


def _bounded(may_be: Domain) -> bool:
  bounds = (may_be.low, may_be.high, may_be.above, may_be.below)
  return any(bound is not None for bound in bounds)
