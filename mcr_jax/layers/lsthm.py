"""LSTMs with a code: memories, one a modality, that share a vector of all of them.

The long-short term hybrid memory of P. P. Liang et al., "Multimodal language analysis
with recurrent multistage fusion", EMNLP 2018. An LSTM of a modality reads, beside its
input and its last output, a code z (B, Z) that is made of the outputs of all:

  [i, f, g, o] = W_m x_m[t] + U_m h_m + V_m z + b_m

Side by side they are one LSTM of H = sum of h_m units, whose recurrent weights are a
block a modality over rows for the code: one product a step. As in PyTorch, gates stand
in the order i, f, g, o.
"""

from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.layers.recurrent import by_gate, forgets_little, orthogonal
from mcr_jax.ops import recurrence
from mcr_jax.ops.broadcast import broadcast_left
from mcr_jax.ops.masking import keep


class Hybrid(NamedTuple):
  """What a step of one memory, or of several side by side, needs.

  Attributes:
    products: (B, T, 4, H) of the inputs, with biases.
    recurrent: (H, 4, H), what multiplies the last output.
    code: (Z, 4, H), what multiplies the code.
    mask: (B, T, H), True where a step is real.
  """

  products: Float[Array, "B T 4 H"]
  recurrent: Float[Array, "H 4 H"]
  code: Float[Array, "Z 4 H"]
  mask: Bool[Array, "B T H"]

  @property
  def kernel(self) -> Float[Array, "R G"]:
    """What multiplies [h, z]: R = H + Z rows, G = 4 H columns."""
    rows = jnp.concatenate([self.recurrent, self.code])
    return rows.reshape(len(rows), -1)


class LSTHM(nn.Module):
  """The memory of one modality: `4 H (D + H + Z + 1)` parameters.

  Attributes:
    width: H.
    codes: Z.
    dtype: of the products.
  """

  width: int
  codes: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x: Float[Array, "B T D"], mask: Bool[Array, "B T"]) -> Hybrid:
    lecun, size = nn.initializers.lecun_normal(), 4 * self.width
    kernel = self.param("kernel", lecun, (x.shape[-1], size))
    recurrent = self.param("recurrent", by_gate(orthogonal, 4), (self.width,))
    code = self.param("code_kernel", lecun, (self.codes, size))
    bias = self.param("bias", forgets_little, (size,))
    x, kernel, recurrent, code, bias = nn.dtypes.promote_dtype(
      keep(x, mask), kernel, recurrent, code, bias, dtype=self.dtype
    )
    products = x @ kernel
    products = products + broadcast_left(bias, products)
    by_gates = lambda array: array.reshape(*array.shape[:-1], 4, self.width)
    wide = jnp.broadcast_to(mask[..., None], (*mask.shape, self.width))
    return Hybrid(by_gates(products), by_gates(recurrent), by_gates(code), wide)


def side_by_side(memories: Sequence[Hybrid]) -> Hybrid:
  """Several memories as one."""
  total, blocks, start = sum(x.recurrent.shape[-1] for x in memories), [], 0
  for memory in memories:
    size = memory.recurrent.shape[-1]
    beside = (start, total - start - size)
    blocks.append(jnp.pad(memory.recurrent, ((0, 0), (0, 0), beside)))
    start += size
  joined = lambda name: jnp.concatenate([getattr(x, name) for x in memories], -1)
  return Hybrid(
    joined("products"), jnp.concatenate(blocks), joined("code"), joined("mask")
  )


def step(
  state: recurrence.State,
  code: Float[Array, "B Z"],
  product: Float[Array, "B G"],
  kernel: Float[Array, "R G"],
  mask: Bool[Array, "B H"],
) -> recurrence.State:
  """The next (h, c) of memories side by side, in float32 or wider.

  Args:
    state: (h, c) before.
    code: made of the step before.
    product: of the inputs of this step.
    kernel: of the memories.
    mask: where this step is real; elsewhere the state stays.
  """
  read = jnp.concatenate([state[0], code], -1).astype(kernel.dtype)
  joined = (product + read @ kernel).astype(state[0].dtype)
  new = recurrence.lstm(state, joined)
  return tuple(jnp.where(mask, a, b) for a, b in zip(new, state, strict=True))
