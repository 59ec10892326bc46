"""MIB against its equations, and what a bottleneck lets through."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Spec
from mcr_jax.models import mib
from mcr_jax.training.keys import fast_key
from tests.models import vector_cases as vectors
from tests.models.cases import Case
from tests.reference.mib import mib as written

D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"width": 4, "hidden": 7}


def build(names=tuple(D), outputs=(1,), length=4, **fields):
  spec = Spec(dict.fromkeys(names, length), {m: D[m] for m in names}, outputs)
  return models.build("mib", spec, **{**SMALL, **fields})


def dense(i, j):
  return (i + 1) * j


def count(model):
  w, n, late = model.width, len(model.modalities), model.variant != "early"
  outputs = math.prod(model.outputs)
  block = dense(w, model.hidden) + 2 * dense(model.hidden, w)
  blocks = late * n + (model.variant != "late")
  encoders = sum(dense(d, w) for d in model.spec.widths.values())
  heads = (1 + late * n) * dense(w, outputs)
  return encoders + blocks * block + dense(n * w, w) + heads


CASES = {"mib": Case(count, SMALL)}
CONVOLVED = {"encoder": "conv_transformer", "encoder_layers": 1, "heads": 2}


@pytest.mark.parametrize(
  "fields",
  [
    {},
    {"variant": "late", "names": ("audio",), "outputs": (2,)},
    {"variant": "early", "main": "audio", "pool": "last", **CONVOLVED},
  ],
  ids=["complete", "late", "early"],
)
def test_the_model_equals_its_equations(fields, monkeypatch):
  with jax.enable_x64(True):
    model = build(**fields)
    batch = vectors.make_batch(model.spec)
    if model.encoder == "conv_transformer":  # whose positions count steps in holes
      ends = {m: mask.sum(1, keepdims=True) for m, mask in batch.mask.items()}
      batch = batch.replace(
        mask={m: jnp.arange(4)[None] < end for m, end in ends.items()},
        x=jax.tree.map(jnp.nan_to_num, batch.x),
      )
    variables = vectors.draw(model, batch)
    shape = (len(batch.weight), model.width)
    blocks = [] if model.variant == "early" else [*model.modalities]
    blocks += [] if model.variant == "late" else [""]
    noise = {
      name: np.random.default_rng(i).normal(size=shape) for i, name in enumerate(blocks)
    }
    draws = []

    def normal(key, shape, dtype):
      draws.append(shape)
      return jnp.asarray(noise[blocks[(len(draws) - 1) % len(blocks)]], dtype)

    monkeypatch.setattr(mib.jax.random, "normal", normal)
    options = {"modalities": model.modalities, "variant": model.variant}
    if model.encoder == "conv_transformer":
      options |= {"main": model.main, "pool": model.pool}
    of = lambda params, samples, _: written(params, samples, noise, **options)
    rngs = {"noise": jax.random.key(0)}
    vectors.assert_equals_its_equations(model, of, batch, variables, rngs=rngs)
    assert len(draws) >= len(blocks)
    params = jax.tree.map(np.asarray, variables["params"])
    expected = written(params, vectors.samples_of(batch), {}, **options)[0]
    found = jax.jit(model.apply)(variables, batch).predictions
    vectors.close(found, expected.reshape(found.shape))


def test_variants_differ_by_the_published_numbers_of_parameters():
  spec = Spec(dict.fromkeys(D, 1), D)
  sizes = {}
  for variant in mib.VARIANTS:
    model = models.build("mib", spec, variant=variant)
    params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
    sizes[variant] = flops.parameters(params)
    assert sizes[variant] == count(model)
  block, decoder = 154_724, 51
  none = sizes["early"] - block
  assert sizes["late"] == none + 464_325 == none + 3 * (block + decoder)
  assert sizes["complete"] == none + 619_049


def test_a_code_says_nothing_only_where_it_is_the_prior():
  with jax.enable_x64(True):
    block = mib.Bottleneck(2, 3)
    x = jnp.ones((1, 2))
    params = jax.tree.map(
      jnp.zeros_like, block.init(jax.random.key(0), x, train=False)["params"]
    )
    prior = np.log(np.expm1(1.0)) + 5

    @jax.jit
    def says(mean, deviation):
      own = {**params["mean"], "bias": jnp.stack([mean, 0.0 * mean])}
      other = {**params["deviation"], "bias": jnp.stack([deviation, prior])}
      moved = {**params, "mean": own, "deviation": other}
      return block.apply({"params": moved}, x, train=False)[1][0]

    assert abs(says(0.0, prior)) < 1e-12
    np.testing.assert_allclose(says(2.0, prior), 4 / 4, rtol=1e-12)
    assert min(says(0.0, prior + 0.5), says(0.0, prior - 0.5)) > 1e-3
    # A deviation that is no number any more: 2 ln sigma is twice the logit.
    far = says(0.0, -895.0)
    np.testing.assert_allclose(far, (2 * 900 - 1) / 4, rtol=1e-12)
    assert np.isfinite(jax.grad(says, 1)(0.0, -895.0))
    near = np.linspace(-16, -14, 9)
    expected = np.log(np.log1p(np.exp(near)))
    np.testing.assert_allclose(
      mib.log_softplus(jnp.asarray(near)), expected, rtol=1e-12
    )


def test_training_draws_from_the_noise_stream_and_predictions_do_not():
  model = build(length=1, names=("text", "audio"))
  batch = vectors.make_batch(model.spec, whole=True)
  batch = jax.tree.map(lambda x: x.astype("f4") if x.dtype == "f8" else x, batch)
  variables = jax.jit(model.init)(fast_key(jax.random.key(0)), batch)

  @jax.jit
  def run(key):
    rngs = {"dropout": jax.random.key(0), "noise": key}
    trained = model.apply(variables, batch, train=True, rngs=rngs)
    return trained.intermediates["codes"], model.apply(variables, batch).intermediates

  (one, still), (two, again) = (run(jax.random.key(i)) for i in range(2))
  jax.tree.map(np.testing.assert_array_equal, still, again)
  for m, z in one.items():
    assert (np.asarray(z) != two[m])[:-2].any()
    # At the start, sigma is softplus(-5) and some.
    assert np.abs(z - still["codes"][m]).max() < 0.1
