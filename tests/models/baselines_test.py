"""EF-LSTM and LF-DNN against the same in NumPy."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from tests.models import vector_cases as vectors
from tests.models.cases import Case
from tests.reference import recurrent

D, T = {"text": 3, "audio": 2}, 4
MASK = {
  "text": np.array([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool),
  "audio": np.array([[0, 1, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], bool),
}
SPEC = Spec(dict.fromkeys(D, T), D, (3,))


def linear(params, x):
  return x @ params["kernel"] + params["bias"]


def perceptron(params, x, layers):
  for i in range(layers):
    x = np.maximum(linear(params[f"layer_{i}"], x), 0.0)
  return x


def early(params, x, mask):
  real = mask["text"] | mask["audio"]
  joined = np.concatenate([np.where(mask[m][:, None], x[m], 0.0) for m in D], 1)
  _, last = recurrent.rnn(params["lstm"], joined[real], layers=2)
  return linear(params["output"], np.maximum(linear(params["hidden"], last), 0.0))


def late(params, x, mask):
  says = [
    perceptron(params[f"subnetwork_{m}"], x[m][mask[m]].mean(0), 3)
    if mask[m].any()
    else np.zeros(5)
    for m in D
  ]
  joined = perceptron(params["joint"], np.concatenate(says), 2)
  return linear(params["output"], joined)


MODELS = {
  "early": (models.build("ef_lstm", SPEC, width=4, layers=2), early),
  "late": (models.build("lf_dnn", SPEC, width=5, hidden=4), late),
}


def lstm(d, h):
  return 4 * h * (d + h + 1)


def dense(i, j):
  return (i + 1) * j


def count_early(model):
  h = model.width
  cells = lstm(sum(model.spec.widths.values()), h) + (model.layers - 1) * lstm(h, h)
  return cells + dense(h, h) + dense(h, math.prod(model.outputs))


def count_late(model):
  w, h, widths = model.width, model.hidden, model.spec.widths.values()
  own = sum(dense(d, w) + 2 * dense(w, w) for d in widths)
  joint = dense(len(widths) * w, h) + dense(h, h)
  return own + joint + dense(h, math.prod(model.outputs))


CASES = {
  "ef_lstm": Case(count_early, {"width": 4, "layers": 2}),
  "lf_dnn": Case(count_late, {"width": 5, "hidden": 4}),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_equals_its_equations(name):
  model, written = MODELS[name]
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x = {m: random.normal(size=(4, T, d)) for m, d in D.items()}
    # What is not a step must not be read.
    x = {m: np.where(MASK[m][..., None], x[m], np.nan) for m in D}
    batch = jax.tree.map(jnp.asarray, Batch(x, MASK, np.ones(4)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    variables = jax.tree.map(lambda s: jnp.asarray(random.normal(size=s.shape)), shapes)
    predictions = jax.jit(model.apply)(variables, batch).predictions
    params = jax.tree.map(np.asarray, variables["params"])
    for b in range(4):
      expected = written(params, *({m: t[m][b] for m in D} for t in (x, MASK)))
      np.testing.assert_allclose(predictions[b], expected, rtol=1e-10, atol=1e-12)


def test_the_late_one_drops_where_modalities_are_joined_alone():
  model = models.build("lf_dnn", SPEC, width=5, hidden=4, dropout=0.5)
  batch = vectors.make_batch(SPEC, whole=True)
  vectors.assert_nothing_drops_last(model, batch, vectors.draw(model, batch))
