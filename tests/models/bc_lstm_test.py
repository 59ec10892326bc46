"""bc-LSTM against its equations, and what a batch of dialogues must not change."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from tests.models.cases import Case
from tests.reference import recurrent

D = {"text": 4, "audio": 3}
TURNS = np.array([5, 1, 3])
U = 5


def count(model):
  lstm = lambda d, h: 4 * h * (d + h + 1)
  h, outputs = model.width, math.prod(model.outputs)
  first = 2 * lstm(sum(model.spec.widths.values()), h)
  rest = 2 * (model.layers - 1) * lstm(2 * h, h)
  return first + rest + (2 * h + 1) * model.hidden + (model.hidden + 1) * outputs


CASES = {"bc_lstm": Case(count, {"width": 3, "layers": 2, "hidden": 4})}


def build(**fields):
  lengths = dict.fromkeys(D, 1)
  spec = Spec(
    lengths, D, (2, 3), "multitask", unit="dialogue", turns=U, columns=("turn",)
  )
  return models.build("bc_lstm", spec, width=3, layers=2, hidden=4, **fields)


def make_batch(dtype=np.float32, seed=0):
  """Dialogues of 5, 1 and 3 turns; some turns lack a modality, one lacks both."""
  random = np.random.default_rng(seed)
  turn = np.arange(U) < TURNS[:, None]
  mask = {m: turn & (random.random(turn.shape) < 0.7) for m in D}
  mask["text"][0, 2] = mask["audio"][0, 2] = False
  x = {m: random.normal(size=(*turn.shape, d)).astype(dtype) for m, d in D.items()}
  batch = Batch(x, mask, turn.astype(dtype), None, {"turn": turn})
  return jax.tree.map(jnp.asarray, batch)


def draw(model, batch, seed=1):
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  value = lambda s: jnp.asarray(0.6 * random.normal(size=s.shape), batch.weight.dtype)
  return jax.tree.map(value, shapes)


def written(params, batch, b):
  """The predictions of the turns of dialogue b."""
  x = np.concatenate(
    [np.where(batch.mask[m][b][:, None], batch.x[m][b], 0) for m in D], 1
  )
  context, _ = recurrent.rnn(params["context"], x[: TURNS[b]], "lstm", 2, True)
  dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]
  return dense("output", np.maximum(dense("hidden", context), 0)).reshape(-1, 2, 3)


def test_the_model_equals_its_equations():
  with jax.enable_x64(True):
    model, batch = build(), make_batch(np.float64)
    variables = draw(model, batch)
    predictions = jax.jit(model.apply)(variables, batch).predictions
    assert predictions.shape == (3, U, 2, 3)
    params = jax.tree.map(np.asarray, variables["params"])
    for b, turns in enumerate(TURNS):
      expected = written(params, batch, b)
      np.testing.assert_allclose(predictions[b, :turns], expected, rtol=1e-10)


def test_a_dialogue_of_one_turn_alone_a_longer_one_and_nan_change_nothing():
  model, batch = build(), make_batch()
  variables = draw(model, batch)

  @jax.jit
  def run(batch):
    def value(variables):
      predictions = model.apply(variables, batch).predictions
      counted = jnp.where(batch.more["turn"][..., None, None], predictions, 0)
      return (counted**2).sum(), predictions

    (_, predictions), gradient = jax.value_and_grad(value, has_aux=True)(variables)
    return predictions, gradient

  clean, gradient = run(batch)
  at = lambda array, real: jnp.where(real[..., None], array, jnp.nan)
  dirty, dirty_gradient = run(
    batch.replace(x={m: at(batch.x[m], batch.mask[m]) for m in D})
  )
  real = batch.more["turn"]
  np.testing.assert_array_equal(clean[real], dirty[real])
  jax.tree.map(np.testing.assert_array_equal, gradient, dirty_gradient)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  longer = jax.tree.map(
    lambda y: jnp.pad(y, ((0, 0), (0, 7)) + ((0, 0),) * (y.ndim - 2)), batch
  )
  np.testing.assert_allclose(run(longer)[0][:, :U][real], clean[real], rtol=1e-5)
  alone = jax.tree.map(lambda y: y[1:2, :1], batch)
  np.testing.assert_allclose(run(alone)[0][0], clean[1, :1], rtol=1e-5)


def test_a_turn_hears_those_before_and_after_it():
  model, batch = build(), make_batch()
  variables = draw(model, batch)
  run = jax.jit(
    lambda text: (
      model.apply(variables, batch.replace(x={**batch.x, "text": text})).predictions
    )
  )
  here = int(np.flatnonzero(np.asarray(batch.mask["text"][0]))[1])
  change = run(batch.x["text"].at[0, here].add(1.0)) - run(batch.x["text"])
  assert change[0].any((-1, -2)).all() and not change[1:].any()
