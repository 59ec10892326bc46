"""MFM against its equations, and what its factors are for."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from tests.models.cases import Case
from tests.models.equations import close
from tests.models.mfn_test import count as count_mfn
from tests.models.mfn_test import lstm, mlp
from tests.models.recurrent_cases import draw, make_batch, samples_of
from tests.ops.losses_test import mmd
from tests.reference.mfm import mfm as written
from tests.slopes import assert_gradient

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {
  **{"width": 2, "memory": 3, "attention_width": 5, "proposal_width": 6},
  **{"retain_width": 4, "update_width": 5},
  **{"label_code": 4, "code": 3, "label_factor": 6, "factor": 5},
}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 5), {m: D[m] for m in modalities}, outputs)
  return models.build("mfm", spec, **{**SMALL, **fields})


def normal(count, size):
  """What stands for the draws of a code."""
  return np.random.default_rng(size).normal(size=(count, size))


@pytest.fixture
def known_draws(monkeypatch):
  """The same numbers at every draw of codes of one width."""
  draws = lambda key, shape, dtype: jnp.asarray(normal(*shape), dtype)
  monkeypatch.setattr("mcr_jax.models.mfm.jax.random.normal", draws)


@pytest.mark.usefixtures("known_draws")
def test_the_model_equals_its_equations():
  fields = {
    **{"modalities": ("vision", "text"), "outputs": (2, 2)},
    **{"codes": {"text": 2}, "factors": {"text": 4}},
    "generation_weights": {"text": 0.3},
  }
  with jax.enable_x64(True):
    model = build(**fields)
    batch = make_batch(model, dtype=np.float64)
    batch = batch.replace(weight=batch.weight.at[3].set(0.0))
    junk = lambda x, mask: jnp.where(mask[..., None], x, jnp.nan)
    batch = batch.replace(x=jax.tree.map(junk, batch.x, batch.mask))
    params = jax.tree.map(np.asarray, draw(model, batch)["params"])
    samples, random = samples_of(batch), np.random.default_rng(5)
    weigh = random.normal(size=(len(samples), *model.outputs))
    share = random.normal(size=len(samples))

    def run(params):
      rngs = {"noise": jax.random.key(0)}
      output = model.apply({"params": params}, batch, train=True, rngs=rngs)
      total = (weigh * output.predictions).sum() + 3 * output.losses["mmd"]
      return total + (share * output.losses["generation"]).sum(), output

    (_, output), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    names = {"modalities": model.modalities, "weights": model.generation_weights}

    def every(params):
      found = [written(params, sample, **names) for sample in samples]
      total = 0.0
      for name in ("label", *model.modalities):
        has = lambda b, m: samples[b][f"{m}_mask"].any() and batch.weight[b] > 0
        of = model.modalities if name == "label" else (name,)
        rows = [b for b in range(len(samples)) if any(has(b, m) for m in of)]
        codes = np.stack([found[b][2]["codes"][name] for b in rows])
        total += mmd(codes, normal(len(samples), codes.shape[1])[rows])
      return found, total

    def number(params):
      found, total = every(params)
      y = sum((w.ravel() * y).sum() for w, (y, *_) in zip(weigh, found, strict=True))
      return y + 3 * total + sum(share * [generation for _, generation, _ in found])

    assert_gradient(number, params, gradient)
    found, total = every(params)
    close(output.losses["mmd"], total)
    for b, (y, generation, out) in enumerate(found):
      close(output.predictions[b], y.reshape(model.outputs))
      close(output.losses["generation"][b], generation)
      for m in model.modalities:
        mask = np.asarray(batch.mask[m][b])
        close(output.intermediates["generated"][m][b][mask], out["generated"][m])
      for name in ("codes", "factors"):
        for m, row in out[name].items():
          close(output.intermediates[name][m][b], row)


@functools.cache
def small():
  model = build(("text", "audio"))
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  return params, batch, jax.jit(lambda p: model.apply({"params": p}, batch))


def test_a_prediction_does_not_depend_on_the_factors_of_modalities():
  params, _, run = small()
  expected, moved = run(params), dict(params)
  for name in ("encoder_audio", "code_audio", "factor_audio", "decoder_audio"):
    moved[name] = jax.tree.map(lambda x: 2 * x + 0.1, params[name])
  found = run(moved)
  np.testing.assert_array_equal(found.predictions, expected.predictions)
  made = [output.intermediates["generated"]["audio"] for output in (found, expected)]
  assert (made[0] != made[1]).any()
  moved = {**params, "factor": jax.tree.map(lambda x: 2 * x + 0.1, params["factor"])}
  assert (run(moved).predictions != expected.predictions).any()


def test_a_decoder_makes_the_steps_that_its_modality_has():
  params, batch, run = small()
  made = run(params).intermediates["generated"]
  for m in ("text", "audio"):
    assert made[m].shape == batch.x[m].shape
    np.testing.assert_array_equal(np.any(made[m], -1), batch.mask[m])


def count(model):
  h = [model.widths.get(m, model.width) for m in model.modalities]
  joined = sum(h) + model.memory
  inner = [f"{name}_width" for name in ("attention", "proposal", "retain", "update")]
  fields = {
    name: getattr(model, name) for name in ("width", "widths", "memory", *inner)
  }
  beside = models.build("mfn", model.spec, **fields)
  last = mlp(joined, beside.output_width, math.prod(model.outputs))
  total = count_mfn(beside) - last + (joined + 1) * model.label_code
  label = model.label_factor
  total += mlp(model.label_code, label, label)
  total += mlp(label, label, math.prod(model.outputs))
  for m in model.modalities:
    d, z = model.spec.widths[m], model.codes.get(m, model.code)
    f = model.factors.get(m, model.factor)
    total += lstm(d, z) + (z + 1) * z + mlp(z, f, f)
    total += lstm(label + f, label + f) + (label + f + 1) * d
  return total


CASES = {"mfm": Case(count, SMALL)}
SETTINGS = {
  "mosi": (
    *((300, 74, 35), (128, 32, 128), 80, (64, 80, 80), 64, (32, 16, 64)),
    *((32, 64, 32, 64), 1_013_642),
  ),
  "mosei": (
    *((300, 74, 35), (256, 32, 256), 32, (256, 80, 80), 16, (32, 80, 32)),
    *((128, 32, 64, 128), 2_350_826),
  ),
  "authors": (
    *((300, 5, 20), (88, 64, 48), 32, (32, 8, 80), 16, (88, 8, 8)),
    *((128, 128, 128, 128), 698_806),
  ),
}


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_published_settings_have_the_published_number_of_parameters(setting):
  inputs, widths, label_code, codes, label_factor, factors, inner, published = setting
  by_name = lambda values: dict(zip(THREE, values, strict=True))
  names = ("attention", "proposal", "retain", "update")
  model = models.build(
    "mfm",
    Spec(dict.fromkeys(THREE, 2), by_name(inputs)),
    widths=by_name(widths),
    memory=64,
    **{f"{name}_width": size for name, size in zip(names, inner, strict=True)},
    label_code=label_code,
    codes=by_name(codes),
    label_factor=label_factor,
    factors=by_name(factors),
  )
  params = jax.eval_shape(model.init, jax.random.key(0), model.spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert total == count(model) == published
