"""Metrics as their definitions say, in NumPy; undefined ones are NaN with a reason."""

from mcr_jax.metrics.report import (
  Report,
  compute,
  confusion,
  higher_is_better,
  weighted,
)
from mcr_jax.metrics.schemes import SCHEMES, names_of, resolve

__all__ = [
  "Report",
  "SCHEMES",
  "compute",
  "confusion",
  "higher_is_better",
  "names_of",
  "resolve",
  "weighted",
]
