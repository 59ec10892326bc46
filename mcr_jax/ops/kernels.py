"""MIA-Net's similarity kernel: columns of one modality read columns of another.

A column is one feature of a vector that was lifted to C channels. The general linear
kernel k(x, y) = x^T W y compares an auxiliary column with a main column (Eq. 1); a
softmax over the auxiliary columns turns similarities into weights (Eq. 3), and every
main column reads the auxiliary columns with its weights (Eq. 4-5). It is attention
with d_m queries and d_a keys of width C, scale 1 and keys = values.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mcr_jax.errors import UserError

IMPLEMENTATIONS = ("auto", "stored", "blocked")

# The most similarities that a block holds. On a CPU a block has to stay in the cache
# (about 8 MB of float32): at 1024 x 768 blocks of two samples are three to ten times
# faster than the stored array and need an eighth of its memory for a batch of 18, a
# seventieth for one of 512 (benchmarks/fusion_flops.py --similarity). On other devices
# the bound was not tuned: it keeps a block below a gigabyte.
CPU_BUDGET = 2**21
DEVICE_BUDGET = 2**28


def similarity(
  auxiliary: Float[Array, "B C K"], w: Float[Array, "C C"], main: Float[Array, "B C Q"]
) -> Float[Array, "B K Q"]:
  """The general linear kernel of every pair of columns (Eq. 1)."""
  return _scores(auxiliary, jnp.einsum("ce,beq->bcq", w, main)).swapaxes(-1, -2)


def weights(similarities: Float[Array, "B K Q"]) -> Float[Array, "B K Q"]:
  """Softmax over the auxiliary columns (Eq. 3)."""
  return jax.nn.softmax(similarities, axis=-2)


def read_columns(
  auxiliary: Float[Array, "B C K"],
  w: Float[Array, "C C"],
  main: Float[Array, "B C Q"],
  *,
  implementation: str = "auto",
  budget: int | None = None,
) -> Float[Array, "B C Q"]:
  """What every main column reads from the auxiliary columns (Eq. 1-5).

  Args:
    auxiliary: the columns that are read.
    w: the kernel.
    main: the columns that read.
    implementation: "stored" holds all similarities, "blocked" those of some samples
      or columns at a time and computes them again in the backward pass; "auto" blocks
      when they are more than `budget`.
    budget: the most similarities that a block holds; by default the measured one.
  """
  if implementation not in IMPLEMENTATIONS:
    known = ", ".join(IMPLEMENTATIONS)
    raise UserError(f"kernel implementation {implementation!r} is none of {known}.")
  if budget is None:
    budget = CPU_BUDGET if jax.default_backend() == "cpu" else DEVICE_BUDGET
  query = jnp.einsum("ce,beq->bcq", w, main)
  samples, _, queries = query.shape
  pairs = queries * auxiliary.shape[-1]
  # A batch of any size, as of a program that is exported, cannot be counted.
  fits = not isinstance(samples, int) or samples * pairs <= budget
  if implementation == "stored" or (implementation == "auto" and fits):
    return _read(auxiliary, query)
  if pairs <= budget:
    return _by_samples(_read, auxiliary, query, max(1, budget // pairs))
  block = max(1, budget // auxiliary.shape[-1])
  return _by_samples(
    lambda a, q: _by_columns(a, q, min(block, queries)), auxiliary, query, 1
  )


def regularization(w: Float[Array, "*N C C"]) -> Float[Array, ""]:
  """How far kernels are from symmetric and positive semi-definite (Eq. 10).

  |W^T - W|_1 + sum_i |l_i - |l_i||, summed over the kernels; zero exactly on positive
  semi-definite matrices.

  Deviation: l are the eigenvalues of (W + W^T) / 2, which are real and differentiable;
  the paper says W's own. Where the first term is zero the two are the same.
  """
  transposed = w.swapaxes(-1, -2)
  asymmetry = jnp.abs(transposed - w).sum()
  eigenvalues = jnp.linalg.eigvalsh((w + transposed) / 2)
  return asymmetry + jnp.abs(eigenvalues - jnp.abs(eigenvalues)).sum()


def _scores(auxiliary, query):
  wide = jnp.promote_types(query.dtype, jnp.float32)
  # Keys last: rows of a softmax then lie together in memory.
  return jnp.einsum("bcq,bck->bqk", query.astype(wide), auxiliary.astype(wide))


def _read(auxiliary, query):
  scores = _scores(auxiliary, query)
  peak = jax.lax.stop_gradient(scores.max(-1, keepdims=True))
  shares = jnp.exp(scores - peak)
  # Divide C rows of sums, not K rows of weights.
  total = jnp.einsum("bqk,bck->bcq", shares, auxiliary.astype(shares.dtype))
  return (total / shares.sum(-1)[:, None]).astype(query.dtype)


def _by_samples(read, auxiliary, query, group):
  samples = len(query)
  group = min(group, samples)
  steps = -(-samples // group)

  def split(x):
    x = jnp.pad(x, ((0, steps * group - samples), (0, 0), (0, 0)))
    # Every step takes samples from all over the batch, so from every device's share.
    return x.reshape(group, steps, *x.shape[1:]).swapaxes(0, 1)

  block = jax.checkpoint(lambda pair: read(*pair))
  _, parts = jax.lax.scan(
    lambda _, pair: (None, block(pair)), None, (split(auxiliary), split(query))
  )
  return parts.swapaxes(0, 1).reshape(steps * group, *parts.shape[2:])[:samples]


def _by_columns(auxiliary, query, block):
  queries = query.shape[-1]
  steps = -(-queries // block)
  padded = jnp.pad(query, ((0, 0), (0, 0), (0, steps * block - queries)))
  blocks = jnp.moveaxis(padded.reshape(*query.shape[:-1], steps, block), -2, 0)
  read = jax.checkpoint(_read)
  _, parts = jax.lax.scan(lambda _, q: (None, read(auxiliary, q)), None, blocks)
  return jnp.moveaxis(parts, 0, -2).reshape(*query.shape[:-1], -1)[..., :queries]
