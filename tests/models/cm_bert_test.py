"""CM-BERT's head against its equations, and what the paper's audio cannot say."""

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
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.cm_bert import cm_bert as written

D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"channels": 4}


def build(modalities=("text", "audio"), outputs=(1,), steps=6, **fields):
  spec = Spec(dict.fromkeys(modalities, steps), {m: D[m] for m in modalities}, outputs)
  return models.build("cm_bert", spec, **{**SMALL, **fields})


def with_cls(batch):
  """The same samples, where text that is there begins with a real step."""
  text = batch.mask["text"]
  text = text.at[:, 0].set(text.any(1))
  return batch.replace(mask={**batch.mask, "text": text})


@pytest.mark.parametrize(
  "modalities, outputs, fields",
  [
    (("text", "audio"), (1,), {}),
    (("text", "audio", "vision"), (2, 2), {"text_has_cls": True}),
    (("text",), (1,), {"cls_audio": "zero"}),
  ],
  ids=["words", "cls", "alone"],
)
def test_the_head_equals_its_equations(modalities, outputs, fields):
  model = build(modalities, outputs, **fields)

  def one(params, sample, **held):
    how = {"has_cls": model.text_has_cls, "cls_audio": model.cls_audio}
    y, out = written(params, sample, modalities=modalities, **how, **held)
    return y, {}, out

  fixed = lambda out: {"norms": out["norms"]}
  change = with_cls if model.text_has_cls else None
  output, written_out = assert_equals(model, one, change=change, fixed=fixed)
  seen = output.intermediates
  for b, out in enumerate(written_out):
    close(seen["features"][b], out["features"])
    close(seen["attention"][b][seen["attention"][b] > 0], out["attention"])


@functools.cache
def gradients(**fields):
  """Of a model, one of predictions by what audio says; with parameters, samples, y."""
  model = build(**fields)
  batch = make_batch(model)
  params = draw(model, batch)["params"]

  @jax.jit
  def run(params, batch):
    def total(audio):
      x = {**batch.x, "audio": audio}
      return model.apply({"params": params}, batch.replace(x=x)).predictions.sum()

    return jax.grad(total)(batch.x["audio"])

  return run, params, batch, jax.jit(lambda b: model.apply({"params": params}, b))


def test_audio_that_is_zero_at_cls_says_nothing_as_in_the_paper():
  run, params, batch, _ = gradients(cls_audio="zero")
  assert not run(params, batch).any()
  run, params, batch, _ = gradients()
  assert run(params, batch).any()
  assert not run({**params, "agreement_audio": jnp.zeros(1)}, batch).any()


def test_attention_is_one_over_the_words_and_mates_do_not_matter():
  *_, batch, apply = gradients()
  output = apply(batch)
  attention, real = output.intermediates["attention"], batch.mask["text"]
  np.testing.assert_allclose(attention.sum(1), real.any(1), rtol=1e-6)
  assert not attention[:, 1:][~real].any() and (attention[:, 1:][real] > 0).all()
  loud = {m: x.at[1:].multiply(100.0) for m, x in batch.x.items()}
  again = apply(batch.replace(x=loud))
  np.testing.assert_array_equal(again.predictions[0], output.predictions[0])
  assert (again.predictions[2] != output.predictions[2]).all()


def test_text_that_misses_leaves_the_bias():
  _, params, batch, apply = gradients()
  mask = {**batch.mask, "text": jnp.zeros_like(batch.mask["text"])}
  found = apply(batch.replace(mask=mask)).predictions
  expected = np.broadcast_to(params["output"]["bias"], found.shape)
  np.testing.assert_array_equal(found, expected)


def test_vectors_are_refused():
  with pytest.raises(UserError, match="1 of them"):
    build(steps=1).init(jax.random.key(0), build(steps=1).spec.example())


def count(model):
  d = [model.spec.widths[m] for m in model.modalities]
  compare = sum(size * model.channels + 1 for size in d)
  return compare + (d[0] + 1) * d[0] + 2 * d[0] + (d[0] + 1) * math.prod(model.outputs)


CASES = {"cm_bert": Case(count, SMALL)}


@pytest.mark.parametrize("audio, published", [(74, 618_159), (5, 616_089)])
def test_published_widths_have_the_published_number_of_parameters(audio, published):
  spec = Spec({"text": 3, "audio": 3}, {"text": 768, "audio": audio})
  model = models.build("cm_bert", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == count(model) == published
