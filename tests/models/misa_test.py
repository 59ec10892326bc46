"""MISA against its equations, and what its losses measure."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Batch, Spec
from mcr_jax.ops.statistics import moment_discrepancy, overlap
from tests.models import vector_cases as vectors
from tests.models.cases import Case
from tests.reference.misa import misa as written

D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"width": 4, "hidden": 6, "lstm_width": 2, "layer_dropout": 0.0}


def build(names=tuple(D), outputs=(1,), length=4, **fields):
  spec = Spec(dict.fromkeys(names, length), {m: D[m] for m in names}, outputs)
  return models.build("misa", spec, **{**SMALL, **fields})


def dense(i, j):
  return (i + 1) * j


def lstm(d, h):
  return 4 * h * (d + h + 1)


def count(model):
  h, n, spec, total = model.width, len(model.modalities), model.spec, 0
  for m in model.modalities:
    size = spec.widths[m]
    if model.how(m) == "lstm":
      w = min(size, model.lstm_width)
      total += 2 * lstm(size, w) + 4 * w + 2 * lstm(2 * w, w)
      size = 4 * w
    total += dense(size, h) + 2 * h + 2 * dense(h, h)
  layer = 4 * dense(h, h) + dense(h, model.hidden) + dense(model.hidden, h) + 4 * h
  head = dense(2 * n * h, 3 * h) + dense(3 * h, math.prod(model.outputs))
  return total + dense(h, h) + layer + head


CASES = {"misa": Case(count, SMALL)}


@pytest.mark.parametrize(
  "fields",
  [{"encoder": "lstm", "outputs": (2,)}, {"names": ("audio",), "length": 1}],
  ids=["three", "one"],
)
def test_the_model_equals_its_equations(fields):
  with jax.enable_x64(True):
    model = build(**fields)
    batch = vectors.make_batch(model.spec)
    lstms = [m for m in model.modalities if model.how(m) == "lstm"]
    vectors.assert_equals_its_equations(
      model,
      functools.partial(written, modalities=model.modalities, lstm=lstms),
      batch,
      vectors.draw(model, batch),
    )


SIZES = {
  "vectors": ({}, 1, (1024, 256, 768), 1_267_585),
  # The LSTMs of PyTorch have a second bias.
  "encoders": ({"encoder": "lstm"}, 2, (768, 74, 47), 1_477_453 - 16 * (74 + 47)),
}


@pytest.mark.parametrize("fields, length, widths, expected", SIZES.values(), ids=SIZES)
def test_it_has_the_published_number_of_parameters(fields, length, widths, expected):
  spec = Spec(dict.fromkeys(D, length), dict(zip(D, widths, strict=True)))
  model = models.build("misa", spec, **fields)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  assert flops.parameters(params) == count(model) == expected
  if not fields:
    assert flops.parameters(params["layer"]) == 593_024


def test_discrepancy_is_symmetric_and_zero_between_the_same():
  random = np.random.default_rng(0)
  x, y = jnp.asarray(random.random((2, 9, 4)), jnp.float32)
  rows = jnp.asarray(np.arange(9) < 7)
  both = moment_discrepancy(x, y, rows)
  assert both > 0.1
  np.testing.assert_allclose(moment_discrepancy(y, x, rows), both, rtol=1e-6)
  slope = jax.grad(lambda x: moment_discrepancy(x, x, rows))(x)
  assert moment_discrepancy(x, x, rows) == 0 and not slope.any()
  assert moment_discrepancy(x, y, rows & (np.arange(9) < 1)) == 0


def test_overlap_is_zero_of_what_is_orthogonal_and_grows_with_the_batch():
  x = np.array([[1.0, 2], [1, 2], [-1, -2], [-1, -2]], np.float32)
  y = np.array([[1.0], [-1], [1], [-1]], np.float32)
  rows = jnp.ones(4, bool)
  assert overlap(jnp.asarray(x), jnp.asarray(y), rows) == 0
  same = overlap(jnp.asarray(y), jnp.asarray(y), rows)
  np.testing.assert_allclose(same, 16, rtol=1e-4)
  # Only the rows that count, whatever else there is.
  junk = jnp.where(jnp.asarray([1, 0, 0, 0], bool)[:, None], jnp.nan, y)
  found, slope = jax.value_and_grad(overlap)(
    junk, jnp.asarray(y), rows.at[0].set(False)
  )
  np.testing.assert_allclose(found, 9, rtol=1e-4)
  assert np.isfinite(slope).all()


def test_the_same_representation_of_all_modalities_has_no_discrepancy():
  spec = Spec({"text": 1, "audio": 1}, {"text": 3, "audio": 3})
  model = models.build("misa", spec, **SMALL)
  x = np.random.default_rng(0).normal(size=(5, 1, 3)).astype(np.float32)
  mask = np.ones((5, 1), bool)
  weight = np.ones(5, np.float32)
  batch = Batch({"text": x, "audio": x}, {"text": mask, "audio": mask}, weight)
  batch = jax.tree.map(jnp.asarray, batch)

  @jax.jit
  def run(same):
    params = model.init(jax.random.key(0), batch)["params"]
    for name in ("project", "norm"):
      other = params[f"{name}_text"]
      own = params[f"{name}_audio"]
      params[f"{name}_audio"] = jax.tree.map(
        lambda a, b: jnp.where(same, a, b), other, own
      )
    rngs = {"dropout": jax.random.key(1)}
    losses = model.apply({"params": params}, batch, train=True, rngs=rngs).losses
    return losses["similarity"]

  # But for rounding: a compiler may fuse the two sides differently.
  assert run(True) < 1e-8 and run(False) > 1e-3
