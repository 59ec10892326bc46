"""Names that moved to `mcr_jax.config`."""

from mcr_jax.config.groups import SPLITS
from mcr_jax.config.plain import flatten, plain
from mcr_jax.errors import nearest

__all__ = ["SPLITS", "flatten", "nearest", "plain"]
