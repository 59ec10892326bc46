"""From predictions of all seeds to results, tables and files."""

from mcr_jax.evaluators.files import Evaluation, read, stem, write
from mcr_jax.evaluators.render import csv_rows, table, to_json
from mcr_jax.evaluators.summary import Results, ensemble, shares, summarise

__all__ = [
  "Evaluation",
  "Results",
  "csv_rows",
  "ensemble",
  "read",
  "shares",
  "stem",
  "summarise",
  "table",
  "to_json",
  "write",
]
