"""From predictions of all seeds to results, tables and files."""

from mcr_jax.evaluators.files import Evaluation, read, stem, write
from mcr_jax.evaluators.render import csv_rows, table
from mcr_jax.evaluators.summary import (
  MetricResult,
  Results,
  ensemble,
  shares,
  summarise,
)

__all__ = [
  "Evaluation",
  "MetricResult",
  "Results",
  "csv_rows",
  "ensemble",
  "read",
  "shares",
  "stem",
  "summarise",
  "table",
  "write",
]
