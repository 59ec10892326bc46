"""EF-LSTM and LF-DNN against the same in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
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
lstm = lambda d, h: 4 * h * (d + h + 1)
dense = lambda i, j: (i + 1) * j
PARAMETERS = {
  "early": lstm(5, 4) + lstm(4, 4) + dense(4, 4) + dense(4, 3),
  "late": sum(dense(d, 5) + 2 * dense(5, 5) for d in D.values())
  + (dense(10, 4) + dense(4, 4) + dense(4, 3)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_equals_its_equations_and_has_as_many_parameters(name):
  model, written = MODELS[name]
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x = {m: random.normal(size=(4, T, d)) for m, d in D.items()}
    # What is not a step must not be read.
    x = {m: np.where(MASK[m][..., None], x[m], np.nan) for m in D}
    batch = jax.tree.map(jnp.asarray, Batch(x, MASK, np.ones(4)))
    shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
    sizes = [leaf.size for leaf in jax.tree.leaves(shapes)]
    assert sum(sizes) == PARAMETERS[name]
    variables = jax.tree.map(lambda s: jnp.asarray(random.normal(size=s.shape)), shapes)
    predictions = jax.jit(model.apply)(variables, batch).predictions
    params = jax.tree.map(np.asarray, variables["params"])
    for b in range(4):
      expected = written(params, *({m: t[m][b] for m in D} for t in (x, MASK)))
      np.testing.assert_allclose(predictions[b], expected, rtol=1e-10, atol=1e-12)
