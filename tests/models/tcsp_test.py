"""TCSP against its equations, its two masks, and its two stages."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import optax

from mcr_jax import config as configs
from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.training.optim import path_name
from mcr_jax.training.recipe import Recipe
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.mfn_test import lstm
from tests.models.recurrent_cases import draw, make_batch, samples_of
from tests.reference.tcsp import tcsp as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 6, "audio": 7, "vision": 5}
SMALL = {"width": 4, "shared": 2, "private": 3}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("tcsp", spec, **{**SMALL, **fields})


def reference(model, **more):
  names = ("modalities", "shared", "private")
  fields = {name: getattr(model, name) for name in names}
  return functools.partial(written, scales=model.target_scales, **fields, **more)


def test_the_model_equals_its_equations():
  names = ("vision", "text", "audio")
  model = build(names, outputs=(2, 2), target_scales={"text": 2.0})
  output, samples = assert_equals(model, reference(model), train=True)
  for values in output.losses.values():  # where there are words, and something else
    np.testing.assert_array_equal(values != 0, [True, False, True, True, False])
  batch = make_batch(model)
  batch.mask["audio"] = batch.mask["audio"].at[2].set(False)  # as assert_equals does
  for b, expected in enumerate(samples):
    words = np.asarray(batch.mask["vision"][b])
    for m in ("text", "audio"):
      frames, found = np.asarray(batch.mask[m][b]), output.intermediates
      close(found["translations"][m][b][frames], expected["translations"][m])
      shared, private = found["shared"][m][b], found["private"][m][b]
      np.testing.assert_array_equal(shared[words][:, frames], expected["shared"][m])
      np.testing.assert_array_equal(private[frames], expected["private"][m])
      assert not (shared[~words].any() or shared[:, ~frames].any())
      assert not private[~frames].any()


@functools.cache
def small():
  """Parameters, a batch, and what they give, with losses and gradients by its side."""
  model = build(("text", "audio"))
  batch = make_batch(model)
  params = draw(model, batch)["params"]

  def learn(params):
    found = model.apply({"params": params}, batch, train=True)
    losses = {name: values.sum() for name, values in found.losses.items()}
    return {"task": found.predictions.sum(), **losses}

  return (
    params,
    batch,
    jax.jit(lambda params: model.apply({"params": params}, batch))(params),
    jax.jit(lambda params: (learn(params), jax.jacrev(learn)(params))),
  )


def test_attention_is_that_of_the_equations():
  params, batch, output, _ = small()
  one = reference(build(("text", "audio")), train=False)
  params = jax.tree.map(np.asarray, params)
  for b, sample in enumerate(samples_of(batch)):
    words, frames = (np.asarray(batch.mask[m][b]) for m in ("text", "audio"))
    found = {k: np.asarray(x[b]) for k, x in output.intermediates["attention"].items()}
    real = {
      "translation_audio": found["translation_audio"][frames][:, words],
      "shared_audio": found["shared_audio"][words][:, frames],
      "private_audio": found["private_audio"][frames],
      "words": found["words"][words],
    }
    expected = one(params, sample)[2]["attention"]
    assert set(expected) == set(found)
    for name, value in real.items():
      np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-6)
      assert np.isclose(value.sum(), found[name].sum()), name


def test_frames_share_so_many_words_and_so_many_are_private():
  _, batch, output, _ = small()
  words, frames = (np.asarray(batch.mask[m]) for m in ("text", "audio"))
  shared, private = (
    np.asarray(output.intermediates[name]["audio"]) for name in ("shared", "private")
  )
  each = np.minimum(words.sum(1), SMALL["shared"])[:, None] * frames
  np.testing.assert_array_equal(shared.sum(1), each)
  own = np.minimum(frames.sum(1), SMALL["private"])
  np.testing.assert_array_equal(private.sum(1), own)
  assert each.any() and (frames.sum(1) > own).any()
  attention = output.intermediates["attention"]
  np.testing.assert_allclose(
    attention["translation_audio"].sum(-1), frames * words.any(1)[:, None], rtol=1e-5
  )


def test_neither_stage_learns_from_the_losses_of_the_other():
  params, *_, learn = small()
  gradients = learn(params)[1]
  for name, gradient in gradients.items():
    moved = {m for m in params if any(x.any() for x in jax.tree.leaves(gradient[m]))}
    first = {"translate_audio"}
    assert moved == (set(params) - first if name == "task" else first)


def test_what_stage_1_predicts_gets_better_and_its_attention_sharper():
  params, *_, learn = small()
  before, _ = learn(params)
  optimizer = optax.adam(1e-2)
  state, update = optimizer.init(params), jax.jit(optimizer.update)
  for _ in range(100):
    found, gradients = learn(params)
    both = jax.tree.map(jnp.add, gradients["translation"], gradients["entropy"])
    changes, state = update(both, state)
    params = jax.tree.map(jnp.add, params, changes)
  for name in ("translation", "entropy"):
    assert found[name] < 0.5 * before[name]


def test_its_config_trains_the_stages_one_after_the_other():
  config = configs.load("systems:tcsp,quick")
  model = build()
  shapes = jax.eval_shape(model.init, jax.random.key(0), model.spec.example())["params"]
  recipe = Recipe.of(model, config)
  recipe.check_patterns(shapes)
  assert [phase.task for phase in recipe.phases] == [False, True]
  learns = []
  for phase in range(2):
    factors = jax.tree.leaves_with_path(recipe.factors(shapes, phase))
    learns.append({path_name(path) for path, factor in factors if factor})
  assert {name.split("/")[0] for name in learns[0]} == {
    "translate_audio",
    "translate_vision",
  }
  assert not learns[0] & learns[1]
  assert len(learns[0] | learns[1]) == len(jax.tree.leaves(shapes))


def count(model):
  h, widths = model.width, model.spec.widths
  text, *others = model.modalities
  additive = lambda size: (2 * size + 1) * size + size
  translate = lambda d: (
    *(lstm(widths[text], h), 2 * h, lstm(2 * h, h), additive(h)),
    *((2 * h + 1) * 2 * h, (2 * h + 1) * d),
  )
  total = sum(sum(translate(widths[m])) + additive(h) for m in others)
  fused = h * len(model.modalities)
  total += sum(lstm(widths[m], h) for m in model.modalities)
  total += lstm(fused, fused) + additive(fused) + h * bool(others)
  features = fused + h * len(others)
  return total + (features + 1) * h + (h + 1) * math.prod(model.outputs)


CASES = {"tcsp": Case(count, SMALL)}


def test_the_stated_sizes_have_their_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 2), dict(zip(THREE, (300, 74, 35), strict=True)))
  model = models.build("tcsp", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  of = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert of(params["translate_vision"]) == 348_435
  assert of(params["translate_audio"]) == 356_274
  # But for the bias of what scores private frames.
  assert of(params) == count(model) == 1_982_011 - 1
