"""Metrics as their definitions say, in NumPy; undefined ones are NaN with a reason."""

from mcr_jax.metrics.catalog import definitions, find, higher_is_better
from mcr_jax.metrics.metric import Metric
from mcr_jax.metrics.report import Report, compute, confusion, weighted
from mcr_jax.metrics.schemes import SCHEMES, classes_of, names_of, resolve, scheme_of

__all__ = [
  "Metric",
  "Report",
  "SCHEMES",
  "classes_of",
  "compute",
  "confusion",
  "definitions",
  "find",
  "higher_is_better",
  "names_of",
  "resolve",
  "scheme_of",
  "weighted",
]
