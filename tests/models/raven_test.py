"""RAVEN against its equations, and what holds of its gates and shifts."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.layers.recurrent import Recurrent
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.mfn_test import lstm
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.raven import raven as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"width": 4, "frame_width": 3, "beta": 0.7}
# A word has several frames, and more than stay.
LONG = {"text": 4, "audio": 12, "vision": 6}
SUBWORD = {"subword": "uniform", "frames": 2}


def build(modalities=THREE, lengths=None, outputs=(1,), **fields):
  lengths = lengths or dict.fromkeys(THREE, 5)
  spec = Spec(
    {m: lengths[m] for m in modalities}, {m: D[m] for m in modalities}, outputs
  )
  return models.build("raven", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "fields",
  [
    {},
    {"lengths": LONG, **SUBWORD, "outputs": (2, 2)},
    {"modalities": ("audio", "text"), "shift": "code"},
  ],
  ids=["words", "frames", "code"],
)
def test_the_model_equals_its_equations(fields):
  model = build(**fields)
  names = {name: getattr(model, name) for name in ("modalities", "beta", "shift")}
  frames = model.frames if model.subword == "uniform" else 0
  one = functools.partial(written, **names, frames=frames)
  output, samples = assert_equals(model, one)
  scale = output.intermediates["scale"]
  assert (scale < 1).any() and (scale == 1).any() == (model.shift == "paper")
  for b, out in enumerate(samples):
    for m, gate in out["gates"].items():
      close(output.intermediates["gates"][m][b], gate)
    close(output.intermediates["shift"][b], out["shift"])
    close(scale[b], out["scale"])


@functools.cache
def small():
  """A model of frames: its parameters, a batch, and what they lead to."""
  model = build(lengths=LONG, **SUBWORD)
  batch = make_batch(model)
  params = draw(model, batch)["params"]

  @jax.jit
  def run(params, batch):
    value = lambda p: (lambda output: (jnp.square(output.predictions).sum(), output))(
      model.apply({"params": p}, batch)
    )
    (_, output), gradient = jax.value_and_grad(value, has_aux=True)(params)
    return output, gradient

  return params, batch, run


def test_a_word_moves_by_no_more_than_a_part_of_its_length():
  params, batch, run = small()
  output, gradient = run(params, batch)
  real = batch.mask["text"]
  words = jnp.where(real[..., None], batch.x["text"], 0)
  longest = SMALL["beta"] * np.linalg.norm(words, axis=-1)
  moved = np.linalg.norm(output.intermediates["shift"], axis=-1)
  assert (moved <= longest + 1e-6).all() and (moved > 0.9 * longest)[real].any()
  for gate in output.intermediates["gates"].values():
    assert ((gate > 0) & (gate < 1)).all()
  # What the released code never trains.
  for name in ("lstm_audio", "project_vision", "gate_audio", "shift"):
    for leaf in jax.tree.leaves(gradient[name]):
      assert leaf.any(), name


def test_words_that_nothing_is_said_of_are_read_by_a_plain_lstm():
  params, batch, run = small()
  nothing = {m: mask & (m == "text") for m, mask in batch.mask.items()}
  found = run(params, batch.replace(mask=nothing))[0]
  hidden, _ = Recurrent(SMALL["width"]).apply(
    {"params": params["lstm"]}, batch.x["text"], batch.mask["text"]
  )
  expected = hidden[:, -1] @ params["output"]["kernel"]
  expected = expected + params["output"]["bias"][None]
  np.testing.assert_allclose(found.predictions, expected, rtol=1e-4)
  still = build(lengths=LONG, **SUBWORD, beta=0.0)
  unmoved = jax.jit(still.apply)({"params": params}, batch).predictions
  np.testing.assert_allclose(unmoved, expected, rtol=1e-4)
  heard = run(params, batch)[0].predictions
  assert (np.abs(heard - expected) > 1e-3).any()


def test_without_words_nothing_is_heard():
  params, batch, run = small()
  mute = {**batch.mask, "text": jnp.zeros_like(batch.mask["text"])}
  found = run(params, batch.replace(mask=mute))[0].predictions
  bias = np.broadcast_to(params["output"]["bias"], found.shape)
  np.testing.assert_array_equal(found, bias)


def test_frames_and_an_alignment_do_not_go_together():
  model = build(lengths=LONG, **SUBWORD, align="ctc")
  with pytest.raises(UserError, match="model.align='ctc'.*model.subword='uniform'"):
    jax.eval_shape(model.init, jax.random.key(0), model.spec.example())


def count(model):
  first, *others = model.modalities
  word, c = model.spec.widths[first], model.frame_width
  heard = [(model.spec.widths[m] + 1) * c + lstm(c, c) + c + word + 1 for m in others]
  shift = (len(others) * c + 1) * word if others else 0
  last = (model.width + 1) * math.prod(model.outputs)
  return sum(heard) + shift + lstm(word, model.width) + last


CASES = {"raven": Case(count, {**SMALL, **SUBWORD, "frames": 5})}


@pytest.mark.parametrize("subword", ["none", "uniform"])
def test_the_layout_of_the_authors_has_its_number_of_parameters(subword):
  widths = dict(zip(THREE, (300, 74, 35), strict=True))
  model = models.build("raven", Spec(dict.fromkeys(THREE, 2), widths), subword=subword)
  init = functools.partial(jax.eval_shape, model.init, jax.random.key(0))
  params = init(model.spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert total == count(model) == 1_190_553
