"""MMIM against its equations, whom its losses move, and what it remembers."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Spec
from mcr_jax.models.mmim import GaussianBound
from mcr_jax.ops.covariance import Moments, log_determinant
from mcr_jax.ops.statistics import contrast
from tests.models import vector_cases as vectors
from tests.models.cases import Case
from tests.reference.mmim import mmim as written

D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"encoder_width": 3, "width": 4, "hidden": 6, "entropy_width": 2}
SIZE = 26


def build(names=tuple(D), outputs=(1,), task="regression", length=2, **fields):
  widths = {m: D[m] for m in names}
  spec = Spec(dict.fromkeys(names, length), widths, outputs, task)
  return models.build("mmim", spec, **{**SMALL, **fields})


def dense(i, j):
  return (i + 1) * j


def pairs_of(model):
  main, *others = model.modalities
  pairs = [(main, m) for m in others]
  if model.all_pairs:
    pairs += [(m, n) for i, m in enumerate(others) for n in others[:i]]
  return pairs


def count(model):
  main, *others = model.modalities
  w, h, widths = model.width, model.hidden, model.spec.widths
  size, total = {main: widths[main]}, 0
  for m in others:
    read = widths[m]
    if model.how(m) == "lstm":
      read = model.encoder_width
      total += 4 * read * (widths[m] + read + 1)
    total, size[m] = total + dense(read, w), w
  total += (
    dense(sum(size.values()), h) + dense(h, h) + dense(h, math.prod(model.outputs))
  )
  total += sum(dense(h, d) for d in size.values())
  return total + sum(
    2 * (dense(size[x], size[s]) + dense(size[s], size[s])) for x, s in pairs_of(model)
  )


CASES = {"mmim": Case(count, SMALL)}


def draw(model, *, classes=0):
  """Two batches, and variables that have seen the first of them."""
  batches = []
  for seed in (0, 1):
    batch = vectors.make_batch(model.spec, SIZE, seed)
    if classes:
      label = np.random.default_rng(seed).integers(0, classes, SIZE)
      batch = batch.replace(label=jnp.asarray(label))
    batches.append(batch)
  variables = vectors.draw(model, batches[0])
  others = [name for name in variables if name != "params"]
  remember = jax.jit(lambda v, b: model.apply(v, b, train=True, mutable=others)[1])
  return batches, variables, {**variables, **remember(variables, batches[0])}


@pytest.mark.parametrize(
  "fields",
  [
    {"encoder": "lstm", "all_pairs": True, "ba_normalised": True},
    {
      **{"names": ("text", "audio"), "length": 1},
      **{"outputs": (3,), "task": "multiclass"},
    },
  ],
  ids=["signs", "classes"],
)
def test_the_model_equals_its_equations(fields):
  with jax.enable_x64(True):
    model = build(**fields)
    classes = model.outputs[0] if model.spec.task == "multiclass" else 0
    (before, batch), _, variables = draw(model, classes=classes)
    of = functools.partial(
      written,
      fixed={
        name.removeprefix("entropy_"): np.asarray(inner["projection"])
        for name, inner in variables["fixed"].items()
      },
      before=vectors.samples_of(before),
      modalities=model.modalities,
      pairs=pairs_of(model),
      lstm=[m for m in model.modalities if model.how(m) == "lstm"],
      classes=classes,
      normalised=model.ba_normalised,
    )
    output, _ = vectors.assert_equals_its_equations(model, of, batch, variables)
    assert output.losses["entropy"] > 0


def test_it_has_the_published_number_of_parameters():
  spec = Spec(dict.fromkeys(D, 2), {"text": 768, "audio": 74, "vision": 47})
  model = models.build("mmim", spec, encoder="lstm")
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  # PyTorch's LSTMs have a second bias, and W_e is no parameter here.
  other = 2 * 4 * 16 + 2 * (16 * 4 + 4)
  assert flops.parameters(params) == count(model) == 283_401 - other


@functools.cache
def slopes():
  """name -> the gradient of that loss alone; and the memory before and after."""
  with jax.enable_x64(True):
    model = build(names=("text", "audio"), length=1)
    (_, batch), fresh, variables = draw(model)
    others = [name for name in variables if name != "params"]

    def losses(params, variables):
      output, after = model.apply(
        {**variables, "params": params}, batch, train=True, mutable=others
      )
      label = batch.label[:, None]
      task = jnp.square(output.predictions - label)[:-1].mean()
      mean = {"task": task} | {k: v.mean() for k, v in output.losses.items()}
      return mean, (mean, after)

    run = jax.jit(jax.jacrev(losses, has_aux=True))
    gradient, (found, after) = run(variables["params"], variables)
    first = run(fresh["params"], fresh)[1][0]
    return jax.tree.map(np.asarray, (gradient, found, variables, after, first))


def moved(gradient):
  return {name for name, inner in gradient.items() if any(map(np.any, inner.values()))}


def test_the_networks_of_the_bound_learn_from_its_first_form_alone():
  gradient = {name: moved(tree) for name, tree in slopes()[0].items()}
  encoders = {"project_audio"}
  assert gradient["fit"] == {"bound_text_audio"}
  assert gradient["bound"] == gradient["entropy"] == encoders
  fusion = {"fusion_0", "fusion_1"}
  assert gradient["task"] == encoders | fusion | {"output"}
  assert gradient["nce"] == encoders | fusion | {"predict_text", "predict_audio"}


def test_the_entropy_waits_for_a_batch_and_keeps_the_last_one():
  _, found, before, after, first = slopes()
  assert first["entropy"] == 0 and found["entropy"] != 0
  one, two = (x["memory"]["entropy_text_audio"]["moments"] for x in (before, after))
  # Samples of the batch that have a sign, both modalities, and a weight.
  assert one["count"].sum() == two["count"].sum() == SIZE - 4
  assert (one["mean"] != two["mean"]).any()
  jax.tree.map(np.testing.assert_array_equal, before["fixed"], after["fixed"])


@pytest.mark.parametrize("normalised", [False, True])
def test_what_shrinks_with_its_prediction_lowers_a_density_alone(normalised):
  random, shrink = np.random.default_rng(0), 1e-3
  x, s = (jnp.asarray(random.normal(size=(5, d))) for d in (4, 3))
  module = GaussianBound(normalised)
  params = module.init(jax.random.key(0), x, s)["params"]
  small = {
    name: shrink * value if name.startswith("mean_output") else value
    for name, value in params.items()
  }
  small["variance_output_bias"] = params["variance_output_bias"] + 2 * np.log(shrink)
  run = lambda params, s: module.apply({"params": params}, x, s)[1]
  change = run(small, shrink * s) - run(params, s)
  expected = normalised * 3 * np.log(shrink)
  np.testing.assert_allclose(change, expected, rtol=1e-5, atol=1e-5)
  assert not build().ba_normalised  # for that reason


def test_moments_of_two_batches_are_those_of_all_rows():
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    x, member = random.normal(size=(13, 3)), random.integers(0, 2, (13, 1, 4)) * 1.0
    member[:, :, 3] = 0
    whole = Moments.of(jnp.asarray(x), jnp.asarray(member))
    one, two = (
      Moments.of(jnp.asarray(x[part]), jnp.asarray(member[part]))
      for part in (slice(0, 5), slice(5, None))
    )
    jax.tree.map(vectors.close, one.joined(two), whole)
    rows = x[member[:, 0, 0] > 0]
    vectors.close(whole.covariance[0, 0], np.cov(rows.T, bias=True))
    volume = np.linalg.slogdet(whole.covariance[0, :3])[1]
    vectors.close(log_determinant(whole.covariance)[0, :3], volume)


def test_contrast_has_its_bounds():
  random = np.random.default_rng(0)
  x, y = random.normal(size=(2, 9, 4)).astype(np.float32)
  rows = jnp.asarray(np.arange(9) < 7)
  low, high = (np.log1p(6 * np.exp(s * 2.0)) for s in (-1, 1))
  run = jax.jit(contrast)
  assert low < run(jnp.asarray(x), jnp.asarray(y), rows) < high
  # The best that two can do, and the worst.
  ends = jnp.asarray([[1.0, 0], [-2, 0]])
  both = jnp.ones(2, bool)
  np.testing.assert_allclose(run(ends, ends, both), np.log1p(np.exp(-2)), rtol=1e-5)
  np.testing.assert_allclose(run(ends, -ends, both), np.log1p(np.exp(2)), rtol=1e-5)
  assert run(ends, ends, both & (np.arange(2) < 1)) == 0
  slope = jax.jit(jax.grad(contrast))(0 * ends, ends, both)
  assert np.isfinite(slope).all()
