"""Every implementation of attention, and MIA-Net's kernel, against double precision.

Values and all gradients, with a bias on the keys, holes in the mask, a sample without
keys, and dropout. An error is the largest over the arrays, relative to the largest
number of its array. Products of float32 on a GPU are TF32 unless "highest" is asked
for; the kernel of our own multiplies in float32 whatever is asked for.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import attention
from benchmarks.gpu import together
from mcr_jax.ops import kernels
from mcr_jax.ops.attention import attend, fused
from mcr_jax.ops.dropout import Dropout

SHAPES = [
  ("aligned", "SCU self"),
  ("aligned", "SCU cross, 8 heads"),
  ("unaligned", "SCU vision cross"),
  ("unaligned", "encoder"),
  ("unaligned", "CMU text<-vision"),
]
QUICK = {"odd": (3, 5, 7, 2, 5)}
# By dtype and precision, in parts of the largest number.
TOLERANCE = {
  ("float32", "highest"): 2e-5,
  ("float32", "default"): 5e-3,
  ("bfloat16", "default"): 5e-2,
}


def inputs(shape):
  """Double precision; three samples, of which the last has no keys."""
  _, queries, keys, heads, features = shape
  random = np.random.default_rng(0)
  mask = random.random((3, keys)) < 0.8
  mask[-1] = False
  sizes = [(3, n, heads, features) for n in (queries, keys, keys, queries)]
  query, key, value, do = (random.normal(size=s) for s in sizes)
  return query, key, value, random.normal(size=(3, keys)), mask, do


def step(implementation, rate):
  """Value and gradients of query, key, value and bias."""

  def run(query, key, value, bias, mask, do):
    dropout = Dropout(rate, jnp.uint32(5)) if rate else None
    read = lambda q, k, v, b: attend(
      q, k, v, mask, bias=b, scale=0.5, dropout=dropout, implementation=implementation
    )
    read, back = jax.vjp(read, query, key, value, bias)
    return read, *back(do)

  return run


def exact(function, given):
  """The same in double precision."""
  with jax.enable_x64(True):
    return [np.asarray(x) for x in jax.jit(function)(*map(jnp.asarray, given))]


def furthest(found, right):
  """The largest relative distance of any array; infinite where one is not finite."""
  worst = 0.0
  for ours, theirs in zip(found, right, strict=True):
    ours = np.asarray(ours, np.float64)
    if not np.isfinite(ours).all():
      return float("inf")
    worst = max(worst, np.abs(ours - theirs).max() / max(1e-30, np.abs(theirs).max()))
  return float(worst)


def cases(features, ledger):
  """(implementation, dtype, precision, rate) of a head size."""
  tiny = features <= fused.MAX_FEATURES
  for rate in (0.0, 0.2):
    for name in ("literal", "dense", "blocked"):
      yield name, "float32", "highest", rate
    if tiny:
      yield "pallas", "float32", "default", rate
  if not ledger.quick:
    yield "auto", "float32", "default", 0.0
    yield "auto", "bfloat16", "default", 0.0
    if tiny:
      yield "pallas", "bfloat16", "default", 0.0
    if jax.default_backend() == "gpu":
      yield "cudnn", "bfloat16", "default", 0.0


def run(ledger):
  """A row a shape and case, then MIA-Net's kernel."""
  shapes = {f"{g} {n}": attention.SHAPES[g][n] for g, n in SHAPES}
  wanted = {}
  for title, shape in (QUICK if ledger.quick else shapes).items():
    for case in cases(shape[-1], ledger):
      label = " ".join([title, *case[:3], "dropout"][: 5 if case[-1] else 4])
      if ledger.due(label):
        wanted[label] = shape, case
  programs = together.compile_all(lowered(wanted))
  right = functools.cache(
    lambda shape, rate: exact(step("literal", rate), inputs(shape))
  )
  for label, (shape, case) in wanted.items():
    compare = functools.partial(beside, programs[label], right, shape, case)
    ledger.measure(label, compare, seconds=3)
  for name in ("stored", "blocked"):
    ledger.measure(f"MIA-Net kernel {name}", lambda name=name: similarity(name, ledger))


def lowered(wanted):
  """Traces one program a case."""
  for label, (shape, (name, dtype, precision, rate)) in wanted.items():
    with jax.default_matmul_precision(precision):
      yield label, together.lower(step(name, rate), *cast(inputs(shape), dtype))


def cast(given, dtype):
  """The inputs in this dtype, but for the mask."""
  return [jnp.asarray(x, None if x.dtype == bool else dtype) for x in given]


def beside(program, right, shape, case):
  """One implementation, in one dtype, beside double precision."""
  name, dtype, precision, rate = case
  found = together.ready(program)(*cast(inputs(shape), dtype))
  return verdict(furthest(found, right(shape, rate)), dtype, name, precision)


def verdict(error, dtype, name, precision):
  """The row of one comparison."""
  precise = name == "pallas" and dtype == "float32"
  bound = TOLERANCE[dtype, "highest" if precise else precision]
  right = error <= bound
  line = f"{'right' if right else 'WRONG'}  {error:.1e}"
  return {"line": line, "right": right, "error": error}


def similarity(name, ledger):
  """The similarity kernel at the sizes of MIA-Net's paper."""
  size, channels, auxiliary, main = (
    (2, 3, 20, 30) if ledger.quick else (4, 4, 768, 1024)
  )
  random = np.random.default_rng(0)
  given = (
    random.normal(size=(size, channels, auxiliary)),
    random.normal(size=(channels, channels)),
    random.normal(size=(size, channels, main)),
  )

  def step(*given, name=name):
    read = lambda *x: kernels.read_columns(
      *x, implementation=name, budget=auxiliary * 7
    )
    read, back = jax.vjp(read, *given)
    return read, *back(jnp.ones_like(read))

  with jax.default_matmul_precision("highest"):
    found = jax.jit(step)(*(jnp.asarray(x, jnp.float32) for x in given))
  right = exact(lambda *x: step(*x, name="stored"), given)
  return verdict(furthest(found, right), "float32", name, "highest")
