"""The command line on top of a config: `--config.group.field=value`."""

import ast
import re
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from mcr_jax.config.completion import complete, domains, unknown
from mcr_jax.config.groups import GROUPS
from mcr_jax.config.plain import plain
from mcr_jax.data.schema import canonical
from mcr_jax.errors import UserError

SWITCHES = {
  **dict.fromkeys(("true", "yes", "on", "t", "y", "1"), True),
  **dict.fromkeys(("false", "no", "off", "f", "n", "0"), False),
}


def override(config: Mapping | ConfigDict, overrides: Sequence[str]) -> ConfigDict:
  """A locked copy of a config with `--config.group.field=value` applied.

  Args:
    config: whole, or a part that is completed.
    overrides: later ones win. What is True or False is also set by
      `--config.group.field` and `--noconfig.group.field`.
  """
  values = plain(complete(config))
  of_fields = domains(values["model"])
  for argument in overrides:
    match = re.fullmatch(r"--?(no)?config\.([^=]+)(?:=(.*))?", argument, re.DOTALL)
    if not match:
      raise UserError(f"{argument} is not of the form --config.group.field=value.")
    negated, path, text = match.groups()
    group, name, known = _find(values, path, of_fields)
    if text is None and not isinstance(known, bool):
      wrong = f"{argument}: only what is True or False can do without a value"
      raise UserError(f"{wrong}; {path} is {known!r}: write --config.{path}=VALUE.")
    if negated and text is not None:
      raise UserError(f"{argument}: what is switched off has no value.")
    group[name] = not negated if text is None else _parse(path, text, known)
  return complete(values)


def _find(values: dict, path: str, of_fields: Mapping) -> tuple[dict, str, Any]:
  """The dict that holds a field, its key there, and a value of its type."""
  group, where = values, ""
  for name in path.split("."):
    if not isinstance(group, dict):
      raise UserError(f"--config.{path}: {where} is a value, not a group of fields.")
    holder, found = group, of_fields.get(where)
    if where in GROUPS or not where:
      if name not in group:
        raise UserError(f"--config.{path}: {unknown(list(group), where, name)}")
      group = group[name]
    else:  # a dict by name
      name = canonical(name) if found.modalities else name
      group = found.item() if found.item else None
    where = f"{where}.{name}" if where else name
  if where in GROUPS:
    raise UserError(
      f"--config.{path} is a group: set one of its fields, {', '.join(group)}."
    )
  return holder, name, group


def _parse(path: str, text: str, known: Any) -> Any:
  """The text as the type of `known`."""
  if isinstance(known, tuple):
    return _tuple(path, text.strip())
  try:
    if isinstance(known, bool):
      return SWITCHES[text.lower()]
    if isinstance(known, str):
      return text
    if isinstance(known, int | float):
      return type(known)(text)
    value = ast.literal_eval(text)
    if isinstance(value, dict):
      return value
  except (SyntaxError, ValueError, KeyError):
    pass
  kind = type(known).__name__
  raise UserError(f"{path}={text!r} must be {kind}, such as {known!r}.")


def _tuple(path: str, text: str) -> tuple:
  """`(0, 1)`, `[0, 1]`, `0,1`, `0`, `text,audio` and nothing, each as a tuple."""
  try:
    value = ast.literal_eval(text) if text else ()
  except (SyntaxError, ValueError):
    inner = text
    if text[:1] + text[-1:] in ("()", "[]"):
      inner = text[1:-1]
    value = tuple(part.strip(" '\"") for part in inner.split(",") if part.strip())
    if re.search(r"[()\[\]]", inner):
      raise UserError(
        f"{path}={text!r}: brackets do not match; right are a,b and (a,b)."
      ) from None
  return tuple(value) if isinstance(value, list | tuple) else (value,)
