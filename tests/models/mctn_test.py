"""MCTN against its equations, and what holds of its translations and attention."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.mfn_test import lstm
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.mctn import mctn as written

THREE = ("text", "vision", "audio")
D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 4, "audio": 6, "vision": 5}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("mctn", spec, width=4, **fields)


@pytest.mark.parametrize(
  "modalities, fields",
  [
    (THREE, {"order": ("vision", "text", "audio")}),
    (("audio",), {}),
  ],
  ids=["three", "one"],
)
def test_the_model_equals_its_equations(modalities, fields):
  model = build(modalities, **fields)
  one = functools.partial(written, modalities=model.modalities)
  assert_equals(model, one, train=True)


def test_translations_and_attention_are_those_of_the_equations():
  names = ("text", "audio")
  model = build(names, outputs=(2, 2), score="linear")
  one = functools.partial(written, modalities=names, score="linear", train=False)
  output, samples = assert_equals(model, one)
  batch, found = make_batch(model), output.intermediates
  batch.mask["audio"] = batch.mask["audio"].at[2].set(False)  # as assert_equals does
  for b, expected in enumerate(samples):
    mask = {m: np.asarray(batch.mask[m][b]) for m in names}
    to, of = {**mask, "cycle": mask["text"]}, {"audio": "text", "cycle": "audio"}
    for name in of:
      close(found["translations"][name][b][to[name]], expected["translations"][name])
      attention = found["attention"][name][b][to[name]][:, mask[of[name]]]
      close(attention, expected["attention"][name])
    steps = found["attention"]["steps"][b][mask["text"]]
    close(steps, expected["attention"]["steps"])


@functools.cache
def small():
  """A model that predicts: its parameters, a batch, a program, and what it gives."""
  model = build()
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  run = jax.jit(lambda params, batch: model.apply({"params": params}, batch))
  return params, batch, run, run(params, batch)


def test_only_the_first_modality_is_read_to_predict():
  params, batch, run, output = small()
  random = np.random.default_rng(8)
  noise = lambda m, x: x if m == "text" else random.normal(size=x.shape)
  others = {m: jnp.asarray(noise(m, x), x.dtype) for m, x in batch.x.items()}
  nothing = {m: mask & (m == "text") for m, mask in batch.mask.items()}
  for change in ({"x": others}, {"mask": nothing}):
    found = run(params, batch.replace(**change)).predictions
    np.testing.assert_array_equal(found, output.predictions)
  found = run(params, batch.replace(x={**batch.x, "text": 2 * batch.x["text"]}))
  assert (found.predictions[0] != output.predictions[0]).all()


def test_attention_sums_to_one_and_moves_from_step_to_step():
  params, batch, run, output = small()
  here = batch.mask["text"].any(-1) & batch.mask["vision"].any(-1)
  for name in ("vision", "audio", "cycle"):
    attention = output.intermediates["attention"][name][here]
    np.testing.assert_allclose(attention.sum(-1), 1.0, rtol=1e-5)
  assert np.ptp(output.intermediates["attention"]["vision"][here], axis=1).max() > 1e-3
  linear = build(score="linear")
  params = draw(linear, batch)["params"]
  found = jax.jit(linear.apply)({"params": params}, batch).intermediates["attention"]
  for name in ("vision", "audio", "cycle"):  # as in the released code
    assert np.ptp(found[name][here], axis=1).max() < 1e-6


def test_the_second_level_does_not_move_the_first_translation_and_its_cycle():
  params, batch, run, output = small()
  moved = {**params}
  for name in ("encoder_2", "decoder_2"):
    moved[name] = jax.tree.map(lambda x: 2 * x + 0.1, params[name])
  found = run(moved, batch).intermediates["translations"]
  expected = output.intermediates["translations"]
  for name in ("vision", "cycle"):
    np.testing.assert_array_equal(found[name], expected[name])
  assert (found["audio"] != expected["audio"]).any()


def test_an_aligner_learns_nothing_from_translations():
  model = build(("text", "audio"), align="ctc", align_words=4, align_width=3)
  batch = make_batch(model)

  def run(params):
    losses = model.apply({"params": params}, batch, train=True).losses
    assert set(losses) == {"translation", "cycle", "further", "l2", "ctc"}
    return sum(losses[name].sum() for name in ("translation", "cycle", "further"))

  gradient = jax.jit(jax.grad(run))(draw(model, batch)["params"])
  assert not any(leaf.any() for leaf in jax.tree.leaves(gradient["align_audio"]))


def test_an_order_names_all_modalities():
  model = build(order=("vision", "text"))
  with pytest.raises(UserError, match=r"\('vision', 'text'\).*text, vision, audio"):
    jax.eval_shape(model.init, jax.random.key(0), model.spec.example())


def count(model):
  h, widths = model.width, model.spec.widths
  p, *others = model.modalities
  levels = max(1, len(others))
  lstms = 2 * levels + len(others) + 1
  into = sum((widths[m] + 1) * h for m in (p, *others[:1]))
  out = sum((h + 1) * widths[m] for m in (p, *others) if others)
  scores = len(others) * ((2 * h + 1) * h + h)
  last = (h + 1) * (1 + math.prod(model.outputs))
  return lstms * lstm(h, h) + scores + into + out + last


CASES = {"mctn": Case(count, {"width": 4})}


def test_the_stated_sizes_have_their_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 2), dict(zip(THREE, (300, 35, 74), strict=True)))
  model = models.build("mctn", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert total == count(model) == 86_811
