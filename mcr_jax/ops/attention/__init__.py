"""Attention of many tiny heads: one interface, several exact implementations."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.errors import UserError
from mcr_jax.native import fallbacks
from mcr_jax.ops.attention import blocked, dense, fused, library, literal, native
from mcr_jax.ops.dropout import Dropout

IMPLEMENTATIONS = ("auto", "literal", "dense", "blocked", "native", "cudnn", "pallas")
# Choices that may compute by native kernels, which round as their instruction set does.
MAY_BE_NATIVE = ("native", "auto")

# Scores in a block, by measurement (benchmarks/attention.py): on a CPU the arrays of a
# block share second-level caches of 1 to 2 MB a core.
CACHED = 2**18
# Elsewhere a block has to fill the device; its bound is memory (128 MB an array).
# Not measured.
RESIDENT = 2**25
# Up to so many scores, storing the weights takes less time than walking over blocks of
# them, where those of one head share a cache. Dropout reads them once more: then a
# single block is faster too. Between the shapes that were measured.
STORED, STORED_DROPPED, STORED_HEAD = 16 * CACHED, 13 * CACHED, CACHED // 4
# Elsewhere the bound is memory again (512 MB an array).
STORED_ELSEWHERE = 4 * RESIDENT


def attend(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  value: Float[Array, "B K H E"],
  mask: Bool[Array, "B K"] | None = None,
  *,
  query_mask: Bool[Array, "B Q"] | None = None,
  bias: Float[Array, "B K"] | None = None,
  scale: float,
  dropout: Dropout | None = None,
  implementation: str = "auto",
) -> Float[Array, "B Q H E"]:
  """Every query reads the values of the keys that exist, by softmax of its scores.

  A sample without keys reads zeros, and so does a query that `query_mask` says is
  padding. What stands under a mask, NaN included, reaches neither the output nor a
  gradient. `bias` is added to the scores of a key, for all heads and queries. Dropout
  falls on the weights, after the softmax, by the indices (sample, head, query, key), of
  which `dropout` may know the last two better.

  "pallas" is for tiny heads, and leaves wider ones to "auto"; so does "native" with
  calls that its kernels do not have, and counts them in `mcr_jax.native.fallbacks`.
  """
  if implementation not in IMPLEMENTATIONS:
    known = ", ".join(IMPLEMENTATIONS)
    raise UserError(f"attention implementation {implementation!r} is none of {known}.")
  widest = max(query.shape[-1], value.shape[-1])
  if implementation == "pallas" and widest > fused.MAX_FEATURES:
    implementation = "auto"
  if implementation == "auto" and native.serves(query, key, value):
    batch, queries, heads, _ = query.shape
    dropped = dropout is not None
    implementation = choose(
      "cpu", batch, queries, key.shape[1], heads, dropped, kernels=True
    )
  if implementation == "native":
    lacking = native.lacks(query, key, value)
    if not lacking:
      return native.attend(query, key, value, mask, query_mask, bias, scale, dropout)
    fallbacks[lacking] += 1
    implementation = "auto"
  if query_mask is not None:
    query = _keep(query, query_mask)
  key, value, bias = _without_padding(mask, key, value, bias)
  read = _attend(query, key, value, mask, bias, scale, dropout, implementation)
  return read if query_mask is None else _keep(read, query_mask)


def _attend(query, key, value, mask, bias, scale, dropout, implementation):
  """What every query reads, where padding is zero already."""
  platform = jax.default_backend()
  batch, queries, heads, features = query.shape
  if implementation == "auto" and not isinstance(batch, int):
    implementation = "dense"  # exported for a batch of any size: nothing to count
  if implementation == "auto":
    dropped = dropout is not None
    implementation = choose(platform, batch, queries, key.shape[1], heads, dropped)
  if implementation == "cudnn":
    library.require(platform, query.dtype, features, dropout)
    return library.attend(query, key, value, mask, bias, scale)
  if implementation == "pallas":
    if gpu := platform == "gpu":
      fused.require(jax.devices()[0].compute_capability, query.dtype)
    return fused.attend(query, key, value, mask, bias, scale, dropout, gpu=gpu)
  if implementation == "blocked":
    size = CACHED if platform == "cpu" else RESIDENT
    plan = blocked.plan(batch, queries, key.shape[1], heads, size)
    return blocked.attend(query, key, value, mask, bias, scale, dropout, plan)
  stored = literal if implementation == "literal" else dense
  return stored.attend(query, key, value, mask, bias, scale, dropout)


def choose(
  platform: str,
  batch: int,
  queries: int,
  keys: int,
  heads: int,
  dropped: bool,
  *,
  kernels: bool = False,
) -> str:
  """What "auto" is at this shape, by benchmarks/results/attention_cpu.json.

  Where the native `kernels` are there, they are as fast or up to five times faster at
  every shape of benchmarks/results/attention_native.json. On other platforms nothing
  was measured: what is exact and runs everywhere.
  """
  if kernels and platform == "cpu":
    return "native"
  scores = batch * heads * queries * keys
  if platform != "cpu":
    return "literal" if scores <= STORED_ELSEWHERE else "blocked"
  if queries * keys > STORED_HEAD:
    return "blocked"
  stored = CACHED < scores <= STORED_DROPPED if dropped else scores <= STORED
  return "dense" if stored else "blocked"


def attention_weights(
  query: Float[Array, "B Q H D"],
  key: Float[Array, "B K H D"],
  mask: Bool[Array, "B K"] | None = None,
  *,
  bias: Float[Array, "B K"] | None = None,
  scale: float,
) -> Float[Array, "B H Q K"]:
  """The weights that `attend` reads with before dropout, for drawing."""
  key, bias = _without_padding(mask, key, None, bias)[::2]
  return literal.weights(query, key, mask, bias, scale)


def _without_padding(mask, key, value, bias):
  """Zeroes what must not be seen; a product with it would still carry a NaN."""
  if mask is None:
    return key, value, bias
  key = _keep(key, mask)
  value = None if value is None else _keep(value, mask)
  return key, value, None if bias is None else jnp.where(mask, bias, 0.0)


def _keep(x, mask):
  """`x` (B, T, H, D) on real steps, zero elsewhere."""
  return jnp.where(mask[..., None, None], x, jnp.zeros((), x.dtype))
