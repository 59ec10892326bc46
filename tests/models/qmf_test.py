"""QMF against density matrices, and what holds of states and measurements."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.models import qmf
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.qmf import qmf as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 4}
SMALL = {"width": 2, "text_width": 3, "kernels": 4, "hidden": 5}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 6), {m: D[m] for m in modalities}, outputs)
  return models.build("qmf", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "modalities, outputs, windows",
  [(THREE, (1,), (2, 3)), (("text", "audio"), (2, 2), (1, 4))],
  ids=["three", "two"],
)
def test_the_model_equals_its_equations(modalities, outputs, windows):
  model = build(modalities, outputs, windows=windows)

  def one(params, sample):
    y, out = written(params, sample, modalities=modalities, windows=windows)
    real = np.any([sample[f"{m}_mask"] for m in modalities], 0)
    return y, {}, (real, out)

  output, samples = assert_equals(model, one)
  for b, (real, out) in enumerate(samples):
    for name, rows in out.items():
      if len(rows):
        close(output.intermediates["probability"][name][b][real], rows)


@functools.cache
def small():
  model = build(kernels=8)
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  # Every unit alive, so that no state is zero.
  for m in THREE[1:]:
    for i in range(3):
      layer = params[f"state_{m}_{i}"]
      params[f"state_{m}_{i}"] = {**layer, "bias": jnp.abs(layer["bias"]) + 9.0}
  return batch, params, jax.jit(lambda p: model.apply({"params": p}, batch))


def complex_kernels(matrix):
  return jnp.asarray(np.stack([matrix.real, matrix.imag]), jnp.float32)


def test_measurements_of_a_basis_sum_to_one():
  batch, params, run = small()
  random = np.random.default_rng(0)
  basis, _ = np.linalg.qr(random.normal(size=(8, 8)) + 1j * random.normal(size=(8, 8)))
  found = run({**params, "measure": complex_kernels(basis)}).intermediates
  real = np.any([*batch.mask.values()], 0)
  for rows in found["probability"].values():
    np.testing.assert_allclose(rows.sum(-1), real, rtol=1e-5)
    assert (rows >= 0).all()


def test_conjugating_phases_and_kernels_changes_nothing_and_phases_alone_do():
  _, params, run = small()
  expected = run(params).predictions
  turned = dict(params)
  for m in THREE:
    turned[f"phase_{m}"] = {"kernel": -params[f"phase_{m}"]["kernel"]}
  assert not np.allclose(run(turned).predictions[0], expected[0], rtol=1e-3)
  turned["measure"] = params["measure"] * jnp.asarray([1.0, -1.0])[:, None, None]
  np.testing.assert_allclose(run(turned).predictions, expected, rtol=1e-4)


def test_only_differences_of_phases_count():
  random = np.random.default_rng(1)
  draw = lambda *shape: jnp.asarray(random.normal(size=shape), jnp.float32)
  amplitudes, phase, weight = draw(1, 4, 3), draw(1, 4, 3), draw(1, 4)
  kernel = draw(3, 5) + 1j * draw(3, 5)
  real = jnp.ones((1, 4), bool)

  def measured(phase):
    u, v = qmf.rotated(amplitudes, phase)
    chance = jnp.square(jnp.abs((u + 1j * v) @ kernel.conj()))
    return qmf.mixture(chance, weight, real, 3)

  one = draw(1, 4, 1)  # an angle a word, of all of its features
  np.testing.assert_allclose(measured(phase + one), measured(phase), rtol=1e-4)
  assert not np.allclose(measured(phase.at[..., 0].add(1.0)), measured(phase))


def test_the_order_inside_a_window_does_not_count():
  random = np.random.default_rng(2)
  chance = jnp.asarray(random.random((1, 3, 4)), jnp.float32)
  weight = jnp.asarray(random.normal(size=(1, 3)), jnp.float32)
  real = jnp.ones((1, 3), bool)
  turned = jnp.asarray([2, 1, 0])
  expected = qmf.mixture(chance, weight, real, 3)[:, 1]
  found = qmf.mixture(chance[:, turned], weight[:, turned], real, 3)[:, 1]
  np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_kernels_start_as_unit_vectors_without_a_sign():
  kernels = np.asarray(qmf.unit_uniform(jax.random.key(0), (2, 9, 5)))
  np.testing.assert_allclose(np.square(kernels).sum((0, 1)), 1.0, rtol=1e-5)
  assert (kernels >= 0).all() and kernels.std() > 0.01


def count(model):
  (text, d), *others = ((m, model.spec.widths[m]) for m in model.modalities)
  e, h, n = model.width, model.text_width, len(model.modalities)
  lstm = 4 * h * (d + h + 1) + (h + 1) * e
  layers = sum((size + 1) * e + 2 * (e + 1) * e for _, size in others)
  phases, shares = n * d * e, n
  measure = 2 * e**n * model.kernels
  last = (model.kernels + 1) * model.hidden + (model.hidden + 1) * model.hidden
  outputs = (model.hidden + 1) * math.prod(model.outputs)
  return lstm + layers + phases + shares + measure + last + outputs


# Wide enough that no modality is dead in all of its units.
CASES = {"qmf": Case(count, SMALL | {"width": 4})}


def test_published_widths_have_the_published_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 3), {"text": 300, "audio": 74, "vision": 47})
  model = models.build("qmf", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  # PyTorch's LSTM has a second bias, and phases here are functions of the text.
  published = 86_516 - 4 * 32 + 9_000
  assert sum(x.size for x in jax.tree.leaves(params)) == count(model) == published
