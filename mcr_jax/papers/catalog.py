"""All tables and figures by their names on the command line."""

from mcr_jax.errors import choose
from mcr_jax.papers import mcr, mia_net, mia_net_figures, public
from mcr_jax.papers.definition import QUICK, Table

EVERY = (*mcr.TABLES, *mia_net.TABLES, *mia_net_figures.TABLES, *public.TABLES)
TABLES = {table.name: table for table in EVERY}


def find(text: str) -> tuple[Table, bool]:
  """A table by its name, and whether `:quick` stands behind it.

  Raises:
    UserError: there is no such table, or something else stands behind it.
  """
  name, colon, variant = text.partition(":")
  table = TABLES[choose(name, TABLES, "table")]
  if colon:
    choose(variant, (QUICK,), f"The variant of {name}")
  return table, bool(colon)
