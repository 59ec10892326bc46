"""The config of a run: a file on top of the defaults, the command line on top of both.

Whatever a run used is in the one locked ConfigDict that `load` or `complete` returns. A
field that nobody knows, a value of another type and a value that makes no sense are
each one clear error. Plain dicts serve wherever a config does.
"""

from mcr_jax.config.checks import epochs_are_fixed
from mcr_jax.config.completion import complete, default
from mcr_jax.config.loading import for_model, load
from mcr_jax.config.old import check_unfinished, parameters, saved
from mcr_jax.config.overrides import override
from mcr_jax.config.plain import difference, flatten, from_json, plain, to_json

__all__ = [
  "check_unfinished",
  "complete",
  "default",
  "difference",
  "epochs_are_fixed",
  "flatten",
  "for_model",
  "from_json",
  "load",
  "override",
  "parameters",
  "plain",
  "saved",
  "to_json",
]
