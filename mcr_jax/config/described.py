"""Every field of a config in words: its name, default, what it may be, and its use."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config.completion import defaults, domains
from mcr_jax.config.groups import Phase
from mcr_jax.config.plain import plain
from mcr_jax.field import Domain, domain

KINDS = {
  bool: "true or false",
  int: "a whole number",
  float: "a number",
  str: "text",
}


def shown(value: Any) -> str:
  """A value as the command line would take it."""
  if isinstance(value, Mapping):
    return str(dict(value))
  return '""' if value == "" else str(value)


def allowed(
  may_be: Domain, default: Any, code: Callable[[str], str] = lambda text: text
) -> str:
  """What a field may be, in words and mathematics.

  Args:
    may_be: the domain of the field.
    default: its value where nobody sets it.
    code: marks what stands as it is typed.
  """
  one = _one(may_be, may_be.item or type(default), code)
  if isinstance(default, Mapping):
    return f"by {'modality' if may_be.modalities else 'name'}, each {one}"
  if isinstance(default, tuple):
    if may_be.modalities:
      return "names of modalities"
    return f"list, each {one}" if one else "list"
  return "name of a modality" if may_be.modalities else one


def _one(may_be: Domain, kind: Any, code) -> str:
  if may_be.choices:
    return ", ".join(code(shown(choice)) for choice in may_be.choices)
  bounds = (may_be.low, may_be.high, may_be.above, may_be.below)
  bounded = any(bound is not None for bound in bounds)
  words = KINDS.get(kind, "")
  if kind is bool:
    words = f"{code('true')} or {code('false')}"
  return f"{words} {may_be.range}" if bounded else words


def text(config: Mapping | ConfigDict) -> str:
  """A line a field of a whole config: value there, default, what it may be, and use."""
  values = plain(config)
  usual = plain(defaults(values["model"]))
  lines, before = [], ""
  for path, may_be in domains(values["model"]).items():
    group, _, name = path.rpartition(".")
    if group != before:
      lines.append("")
    before = group
    value, default = (x[group][name] if group else x[name] for x in (values, usual))
    parts = [f"--config.{path}={shown(value)}"]
    if value != default:
      parts.append(f"(default {shown(default)})")
    parts += [f"[{words}]" for words in [allowed(may_be, default)] if words]
    parts.append(may_be.doc[:1].upper() + may_be.doc[1:])
    lines.append("  ".join(filter(None, parts)))
  lines += ["", "Fields of a phase, a dict of train.phases:"]
  for field in dataclasses.fields(Phase):
    may_be, default = domain(field), getattr(Phase(), field.name)
    words = allowed(may_be, default)
    parts = (f"{field.name}={shown(default)}", words and f"[{words}]", may_be.doc)
    lines.append("  ".join(filter(None, parts)))
  return "\n".join(lines)
