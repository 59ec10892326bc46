"""The type in which a model computes, as a field of that model."""

import dataclasses

import jax.numpy as jnp

from mcr_jax.contract import DTYPES
from mcr_jax.field import field


@dataclasses.dataclass(kw_only=True)
class Precision:
  """What a model extends: class Model(contract.Model, Precision, kw_only=True)."""

  dtype: str = field(
    "",
    choices=DTYPES,
    doc="Of the computation, such as bfloat16; that of the parameters where empty.",
  )

  @property
  def computation(self) -> jnp.dtype | None:
    """The type of the computation; None is that of the parameters."""
    return jnp.dtype(self.dtype) if self.dtype else None
