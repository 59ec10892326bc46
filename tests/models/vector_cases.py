"""Samples of vectors or short sequences, and a model beside its equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.contract import Batch
from mcr_jax.training.keys import fast_key
from tests.slopes import assert_gradient

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)


def make_batch(spec, size=7, seed=0, *, whole=False):
  """Holes, padding, missing modalities, a sample of nothing, and one of no weight.

  With `whole` every sample has every modality.
  """
  random, arrays = np.random.default_rng(seed), {}
  for i, (m, steps) in enumerate(spec.lengths.items()):
    arrays[m] = random.normal(size=(size, steps, spec.widths[m]))
    mask = random.random((size, steps)) < 0.7
    mask[:, 0] = True
    if not whole:
      mask[1] &= i > 0
      mask[2] &= i < len(spec.lengths) - 1
      mask[-2] = False
    arrays[m][~mask] = np.nan
    arrays[f"{m}_mask"] = mask
  arrays["label"] = random.normal(size=size)
  arrays["weight"] = np.where(np.arange(size) == size - 1, 0.0, 1.0)
  return Batch.of(jax.tree.map(jnp.asarray, arrays))


def draw(model, batch, seed=1):
  """Variables whose parameters are nowhere zero, in float64."""
  random = np.random.default_rng(seed)
  init = lambda batch: model.init(fast_key(jax.random.key(0)), batch)
  shapes = jax.eval_shape(init, batch)
  value = lambda x: jnp.asarray(0.6 * random.normal(size=x.shape))
  params = jax.tree.map(value, shapes.pop("params"))
  others = jax.jit(lambda batch: {k: init(batch)[k] for k in shapes})(batch)
  return {"params": params, **jax.tree.map(lambda x: x.astype("f8"), others)}


def samples_of(batch):
  """The arrays of every sample, steps that are real alone: <m> (n, D)."""
  of = lambda array, b: np.asarray(array[b])
  return [
    {m: of(x, b)[of(batch.mask[m], b)] for m, x in batch.x.items()}
    | {"label": of(batch.label, b), "weight": of(batch.weight, b)}
    for b in range(len(batch.weight))
  ]


def assert_equals_its_equations(model, written, batch, variables, **options):
  """Predictions, heads and losses in training, and a gradient through all of them.

  Args:
    model: without dropout.
    written: (params, samples, held) to predictions (B, O), heads by name, and losses by
      name, (B,) or a number; `held` are the parameters where gradients are stopped.
    batch: in float64.
    variables: of the model.
    **options: of `model.apply`.
  """
  random = np.random.default_rng(5)
  params, samples = variables["params"], samples_of(batch)
  others = {name: x for name, x in variables.items() if name != "params"}

  def run(params):
    return model.apply(
      {"params": params, **others}, batch, train=True, mutable=[*others], **options
    )[0]

  shapes = jax.eval_shape(run, params)
  parts = lambda y: (y.predictions, dict(y.auxiliary), dict(y.losses))
  share = jax.tree.map(lambda y: random.normal(size=y.shape), parts(shapes))
  # The sample of no weight may say anything.
  weigh = lambda w, y: (w * y)[:-1].sum() if jnp.ndim(y) else w * y

  def total(parts):
    return sum(jax.tree.leaves(jax.tree.map(weigh, share, parts)))

  def value(params):
    output = run(params)
    return total(parts(output)), output

  (_, output), gradient = jax.jit(jax.value_and_grad(value, has_aux=True))(params)
  params = jax.tree.map(np.asarray, params)

  def shaped(params):
    found = written(params, samples, params0)
    return jax.tree.map(lambda s, y: np.reshape(y, s.shape), parts(shapes), found)

  params0 = params
  found, expected = parts(output), shaped(params)
  jax.tree_util.tree_map_with_path(
    lambda path, a, b: close(a, b, err_msg=str(path)), found, expected
  )
  assert_gradient(lambda p: total(shaped(p)), params, gradient)
  return output, found


def assert_nothing_drops_last(model, batch, variables):
  """Behind the features there is no dropout, in training either, and before them is."""

  @jax.jit
  def run(key):
    keys = {"dropout": fast_key(key)}
    return model.apply(variables, batch, train=True, rngs=keys)

  one, two = (run(jax.random.key(seed)) for seed in (0, 1))
  feature = lambda output: np.asarray(output.intermediates["features"])
  assert (feature(one) != feature(two)).any()
  last = jax.tree.map(np.asarray, variables["params"]["output"])
  expected = feature(one) @ last["kernel"] + last["bias"]
  found = np.reshape(one.predictions, expected.shape)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
