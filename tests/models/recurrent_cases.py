"""Samples on one grid, and a recurrent model beside its equations."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.contract import Batch
from tests.slopes import assert_gradient


def make_batch(model, size=5, seed=0, dtype=np.float32):
  """Holes, padding, a modality that misses, and a sample of nothing."""
  random, arrays = np.random.default_rng(seed), {}
  for i, (m, steps) in enumerate(model.spec.lengths.items()):
    width = model.spec.widths[m]
    arrays[m] = random.normal(size=(size, steps, width)).astype(dtype)
    ends = random.integers(2, steps + 1, size=(size, 1))
    mask = (np.arange(steps) < ends) & (random.random((size, steps)) < 0.8)
    mask[1, :] &= i > 0
    mask[-1] = False
    arrays[f"{m}_mask"] = mask
  arrays["weight"] = np.ones(size, dtype)
  return Batch.of(jax.tree.map(jnp.asarray, arrays))


def draw(model, batch, seed=1):
  """Parameters that are nowhere zero, in the precision of the batch."""
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  value = lambda s: jnp.asarray(0.6 * random.normal(size=s.shape), batch.weight.dtype)
  return jax.tree.map(value, shapes)


def samples_of(batch):
  """What a reference takes, a sample each."""
  arrays = {**batch.x, **{f"{m}_mask": mask for m, mask in batch.mask.items()}}
  return [
    {name: np.asarray(array[b]) for name, array in arrays.items()}
    for b in range(len(batch.weight))
  ]


def assert_equals_its_equations(model, written):
  """Predictions, intermediates a real step, and the gradient of a sum of predictions.

  Args:
    model: any that reads one grid.
    written: (params, sample) to a prediction (O,) and intermediates, a row a step.

  Returns:
    The parameters and their gradient.
  """
  with jax.enable_x64(True):
    batch = make_batch(model, dtype=np.float64)
    params = jax.tree.map(np.asarray, draw(model, batch)["params"])
    samples = samples_of(batch)
    weigh = np.random.default_rng(5).normal(size=(len(samples), *model.outputs))

    def run(params):
      output = model.apply({"params": params}, batch)
      return (weigh * output.predictions).sum(), output

    (_, output), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    every = lambda params: [written(params, sample) for sample in samples]
    number = lambda params: sum(
      (w.ravel() * y).sum() for w, (y, _) in zip(weigh, every(params), strict=True)
    )
    assert_gradient(number, params, gradient)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
    for b, (expected, out) in enumerate(every(params)):
      close(output.predictions[b], expected.reshape(model.outputs))
      real = np.any([samples[b][f"{m}_mask"] for m in model.modalities], 0)
      for name, rows in out.items():
        if len(rows):
          close(output.intermediates[name][b][real], rows, err_msg=name)
    return params, gradient
