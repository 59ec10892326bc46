"""Every field of a config."""

import dataclasses
import inspect

from docs.generate import fields, markdown
from mcr_jax.config import groups

PHASE = "A phase of `train.phases`"
HEAD = """\
# Config

A config is groups of fields. A [config file](../guide/first_run.md) sets some, the
command line others (`--config.optim.lr=5e-4`), and what nobody sets has the default
given here. `model` has the [fields of its model](../models/index.md) besides.

"""


def page() -> str:
  """The page as Markdown."""
  own = [f.name for f in dataclasses.fields(groups.Config)]
  own = tuple(name for name in own if name not in groups.GROUPS)
  parts = [HEAD, fields.LEGEND, "\n", _table(fields.rows(groups.Config, own))]
  for name, group in {**groups.GROUPS, PHASE: groups.Phase}.items():
    about = markdown.text(inspect.getdoc(group) or "")
    path = "" if name == PHASE else f"{name}."
    parts += [f"\n## {name}\n\n{about}\n\n", _table(fields.rows(group, path=path))]
  return "".join(parts)


def _table(rows) -> str:
  return markdown.table(fields.HEADER, rows)
