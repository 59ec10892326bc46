"""cuDNN's fused attention on a GPU, through `jax.nn.dot_product_attention`.

It takes half precision and head sizes in steps of 8. Heads of 4 or 5 features leave
room there, so bias and mask travel as a feature and nothing of Q x K is ever stored;
handed to cuDNN as arrays they would be.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError
from mcr_jax.ops.attention.features import extend

STEP = 8
LONGEST = 128


def require(
  platform: str, dtype: jnp.dtype, features: int, dropout: object | None
) -> None:
  """Raises a `UserError` where cuDNN cannot serve this call."""
  if platform != "gpu":
    reason = f"it runs on a GPU, and this is a {platform}"
  elif dtype not in (jnp.bfloat16, jnp.float16):
    reason = f"it takes bfloat16 or float16, and this is {dtype}"
  elif features >= LONGEST:
    reason = f"it takes fewer than {LONGEST} features a head, and this is {features}"
  elif dropout is not None:
    reason = "its dropout would depend on padding; the others' does not"
  else:
    return
  raise UserError(f"attention implementation 'cudnn': {reason}.")


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None,
  bias: Float[Array, "B K"] | None,
  scale: float,
  implementation: str = "cudnn",
) -> Float[Array, "B Q H E"]:
  """Reads the values in one fused kernel."""
  # The kernel scales in float32; a scale in half precision would be off by 0.2%.
  query, key = extend(query, key, mask, None if bias is None else bias / scale, 1.0)
  size = max(query.shape[-1], value.shape[-1])
  size += -size % STEP
  read = jax.nn.dot_product_attention(
    *(_widen(x, size) for x in (query, key, value)),
    scale=scale,
    implementation=implementation,
  )
  return read[..., : value.shape[-1]]


def _widen(x, size):
  return jnp.pad(x, ((0, 0),) * 3 + ((0, size - x.shape[-1]),))
