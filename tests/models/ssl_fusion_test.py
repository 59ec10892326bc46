"""SSL against its equations, and what its two forms are."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from tests.models import vector_cases as vectors
from tests.models.cases import Case
from tests.reference.ssl_fusion import ssl_fusion as written

D = {"text": 4, "audio": 6, "vision": 2}


def build(names=("text", "audio"), outputs=(1,), length=4, **fields):
  spec = Spec(dict.fromkeys(names, length), {m: D[m] for m in names}, outputs)
  return models.build("ssl_fusion", spec, attention_dropout=0.0, **fields)


def dense(i, j):
  return (i + 1) * j


def count(model):
  widths, outputs = [*model.spec.widths.values()], math.prod(model.outputs)
  if model.fusion == "shallow":
    return dense(sum(widths), outputs)
  pairs = [(i, j) for i in range(len(widths)) for j in range(len(widths)) if i != j]
  attention = sum(
    2 * dense(widths[i], widths[i]) + 2 * dense(widths[j], widths[i]) for i, j in pairs
  )
  return attention + dense(sum(widths[i] for i, _ in pairs), outputs)


CASES = {"ssl_fusion": Case(count)}


@pytest.mark.parametrize(
  "fields",
  [
    {"names": ("audio",), "outputs": (2,)},
    {"fusion": "coattention", "names": tuple(D)},
  ],
  ids=["shallow", "coattention"],
)
def test_the_model_equals_its_equations(fields):
  with jax.enable_x64(True):
    model = build(**fields)
    batch = vectors.make_batch(model.spec)
    options = {
      "modalities": model.modalities,
      "coattention": model.fusion == "coattention",
    }
    of = lambda params, samples, _: written(params, samples, **options)
    vectors.assert_equals_its_equations(
      model, of, batch, vectors.draw(model, batch), rngs={"dropout": jax.random.key(0)}
    )


def test_it_has_the_parameters_of_the_published_widths():
  spec = Spec({"text": 3, "audio": 3}, {"text": 1024, "audio": 768})
  shallow, attending = (
    models.build("ssl_fusion", spec, fusion=fusion)
    for fusion in ("shallow", "coattention")
  )
  sizes = [
    flops.parameters(
      jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
    )
    for model in (shallow, attending)
  ]
  assert sizes == [1793, 1793 + 6_429_696] == [count(shallow), count(attending)]


@functools.cache
def attending():
  """(what the model says of x and mask, a batch), with x64 on."""
  model = build(fusion="coattention")
  batch = vectors.make_batch(model.spec, whole=True)
  variables = vectors.draw(model, batch)

  @jax.jit
  def run(x, mask):
    return model.apply(variables, batch.replace(x=x, mask=mask)).predictions

  return run, batch, variables


def test_what_lacks_its_other_side_is_as_it_was_and_one_key_is_a_linear_map():
  with jax.enable_x64(True):
    run, batch, variables = attending()
    params = jax.tree.map(np.asarray, variables["params"])
    nobody = {**batch.mask, "audio": jnp.zeros_like(batch.mask["audio"])}
    text = np.nanmean(np.asarray(batch.x["text"]), 1)
    kernel, bias = params["output"]["kernel"], params["output"]["bias"]
    vectors.close(run(batch.x, nobody), text @ kernel[:4] + bias)
    first = {
      m: jnp.arange(4)[None] < 1 + 0 * mask[:, :1] for m, mask in batch.mask.items()
    }
    halves = [
      run({**batch.x, "audio": share * batch.x["audio"]}, first)
      for share in (0, 0.5, 1)
    ]
    vectors.close(halves[1], (halves[0] + halves[2]) / 2)
    assert np.abs(halves[0] - halves[2]).min() > 1e-3


def test_the_shallow_form_adds_what_modalities_say():
  with jax.enable_x64(True):
    model = build()
    batch = vectors.make_batch(model.spec, whole=True)
    variables = vectors.draw(model, batch)
    run = jax.jit(lambda x: model.apply(variables, batch.replace(x=x)).predictions)
    silent = {**batch.x, "text": 0 * batch.x["text"]}
    other = {"audio": 1 - batch.x["audio"]}
    differences = [
      run({**batch.x, **more}) - run({**silent, **more}) for more in ({}, other)
    ]
    vectors.close(*differences)


def test_attention_needs_another_modality():
  model = build(("text",), fusion="coattention")
  with pytest.raises(UserError, match="coattention.*text"):
    jax.eval_shape(model.init, jax.random.key(0), model.spec.example())
