"""Encoders of utterances against plain NumPy, and a fusion in a few lines."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.contract import Batch, Card, Spec
from mcr_jax.errors import UserError
from mcr_jax.layers.embed import sinusoids
from mcr_jax.layers.utterance import ENCODERS, Encoder, Fused, Fusion
from tests import reference_fusion
from tests.reference import recurrent

D, T, WIDTH = 3, 5, 4
MASK = np.array(
  [[1, 1, 0, 1, 0], [0, 0, 0, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]], bool
)


def build(how, **fields):
  return Encoder(how, WIDTH, layers=2, heads=2, **fields)


def sequences(dtype=np.float32):
  x = np.random.default_rng(0).normal(size=(*MASK.shape, D))
  return jnp.asarray(x, dtype), jnp.asarray(MASK)


def draw(encoder, x, mask, seed=1):
  random = np.random.default_rng(seed)
  init = functools.partial(encoder.init, train=False)
  shapes = jax.eval_shape(init, jax.random.key(0), x, mask)
  value = lambda s: jnp.asarray(0.7 * random.normal(size=s.shape), x.dtype)
  return jax.tree.map(value, shapes)


def convolved(kernel, bias, x, mask):
  """Along time at every step, from the steps that exist."""
  left, rows = (len(kernel) - 1) // 2, np.zeros((len(x), kernel.shape[-1])) + bias
  for t in range(len(x)):
    for i, part in enumerate(kernel):
      at = t + i - left
      if 0 <= at < len(x) and mask[at]:
        rows[t] += x[at] @ part
  return rows


def written(how, params, x, mask):
  if not mask.any():
    return 0.0
  if how == "mean":
    return x[mask].mean(0)
  if how == "first":
    return x[0] if mask[0] else 0.0
  if how == "lstm":
    return recurrent.rnn(params["lstm"], x[mask], layers=2)[1]
  if how == "conv":
    for i in range(2):
      bias = params[f"bias_{i}"]
      x = np.maximum(convolved(params[f"kernel_{i}"], bias, x, mask), 0.0)
    return x[mask].max(0)
  x = convolved(params["embed"]["kernel"], params["embed"]["bias"], x, mask)
  x = (x + sinusoids(len(x), WIDTH))[mask]
  for i in range(2):
    x = reference_fusion.encode(params[f"layer_{i}"], x)
  return reference_fusion.norm(params["norm"], x).mean(0)


@pytest.mark.parametrize("how", ENCODERS)
def test_an_encoder_equals_the_encoder_written_down(how):
  with jax.enable_x64(True):
    encoder = build(how)
    x, mask = sequences(np.float64)
    variables = draw(encoder, x, mask)
    run = jax.jit(functools.partial(encoder.apply, train=False))
    vector, present = run(variables, x, mask)
    params = jax.tree.map(np.asarray, variables.get("params", {}))
    assert present.tolist() == MASK.any(-1).tolist()
    for b, real in enumerate(MASK):
      expected = written(how, params, np.asarray(x[b]), real)
      np.testing.assert_allclose(vector[b], expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("how", ENCODERS)
def test_padding_reaches_neither_vectors_nor_gradients(how):
  encoder = build(how)
  x, mask = sequences()
  variables = draw(encoder, x, mask)

  @jax.jit
  def run(variables, x):
    value = lambda v, x: (encoder.apply(v, x, mask, train=False)[0] ** 2).sum()
    return jax.value_and_grad(value, (0, 1))(variables, x)

  clean, dirty = (
    run(variables, x),
    run(variables, jnp.where(mask[..., None], x, np.nan)),
  )
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))


class Sum(Fusion):
  """As short as a fusion can be."""

  card = Card("Sum")

  def fuse(self, vectors, present, batch, *, train):
    share = sum(present.values())
    total = sum(vectors.values())
    return Fused(total, {"share": share}, intermediates={"total": total})


@pytest.mark.parametrize("how", ENCODERS)
def test_a_fusion_is_one_method(how):
  spec = Spec({"text": T, "audio": T}, {"text": D, "audio": D}, (2,))
  model = Sum(spec, encoder=how, encoder_width=WIDTH, dtype="bfloat16")
  x, mask = sequences()
  batch = Batch({"text": x, "audio": x}, {"text": mask, "audio": ~mask}, None)
  output = jax.jit(lambda: model.init_with_output(jax.random.key(0), batch)[0])()
  assert output.predictions.shape == (4, 2)
  assert output.predictions.dtype == jnp.float32
  assert output.losses["share"].tolist() == [2, 1, 1, 2]
  total = output.intermediates["features"]
  assert total.dtype == jnp.bfloat16 and total.shape == (
    4,
    D if how in ("mean", "first") else WIDTH,
  )
  np.testing.assert_array_equal(total, output.intermediates["total"])


def test_an_unknown_encoder_is_answered_with_the_nearest_one():
  x, mask = sequences()
  with pytest.raises(UserError, match="encoder='lstn'.*Did you mean \"lstm\""):
    jax.eval_shape(lambda: build("lstn").init(jax.random.key(0), x, mask, train=False))
