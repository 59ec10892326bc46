"""The file formats that are read, each in the words of its reader."""

import inspect
from types import ModuleType

from docs.generate import fields, markdown
from mcr_jax.config import groups
from mcr_jax.data import npz, readers

HEAD = """\
# File formats

`--config.data.path=FILE` is the whole story: the format is recognised from the content.
`python -m mcr_jax.data inspect FILE` says which it is, what it holds, and which choices
it leaves; `convert` writes any of them as a feature file.

"""


def page() -> str:
  """The page as Markdown."""
  return HEAD + "\n".join(map(_section, readers.formats()))


def _section(module: ModuleType) -> str:
  title = module.FORMAT.removeprefix("an ").removeprefix("a ")
  own = npz if module is readers.feature_file else module
  parts = [f"## {title[0].upper()}{title[1:]}\n", markdown.prose(inspect.getdoc(own))]
  if module.OPTIONS:
    rows = fields.rows(groups.Data, module.OPTIONS, "data.")
    parts.append(markdown.table(fields.HEADER, rows))
  return "\n".join(parts)
