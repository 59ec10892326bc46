"""A model beside its equations: predictions, losses, and the gradient of both."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.models.recurrent_cases import draw, make_batch, samples_of
from tests.slopes import assert_gradient

close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)


def assert_equals(model, written, *, change=None, fixed=None, train=False):
  """All that a model makes of some samples in float64, and the gradient of all of it.

  What is not real is NaN; a sample lacks the first modality, and one the last of them.

  Args:
    model: with every dropout rate 0.
    written: (params, sample) to a prediction (O,), losses by name, and intermediates.
    change: what is done to the batch before, if anything.
    fixed: (sample, its intermediates at the parameters) to what further arguments of
      `written` are held at while parameters move; for gradients that are stopped.
    train: whether losses are made.

  Returns:
    The output as arrays, and the intermediates that are written, a sample each.
  """
  with jax.enable_x64(True):
    batch = make_batch(model, dtype=np.float64)
    last = model.modalities[-1]
    batch.mask[last] = batch.mask[last].at[2].set(False)
    batch = change(batch) if change else batch
    nothing = lambda x, mask: jnp.where(mask[..., None], x, jnp.nan)
    batch = batch.replace(x=jax.tree.map(nothing, batch.x, batch.mask))
    params = jax.tree.map(np.asarray, draw(model, batch)["params"])
    samples = samples_of(batch)
    if batch.label is not None:
      for sample, label in zip(samples, batch.label, strict=True):
        sample["label"] = np.asarray(label)
    random = np.random.default_rng(5)
    weigh = random.normal(size=(len(samples), *model.outputs))
    share = random.normal(size=len(samples))

    def run(params):
      output = model.apply({"params": params}, batch, train=train)
      added = sum((share * values).sum() for values in output.losses.values())
      return (weigh * output.predictions).sum() + added, output

    (_, output), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    output = jax.tree.map(np.asarray, output)
    every = [written(params, sample) for sample in samples]
    held = [fixed(out) if fixed else {} for _, _, out in every]

    def number(params):
      total = 0.0
      for b, sample in enumerate(samples):
        y, losses, _ = written(params, sample, **held[b])
        total += (weigh[b].ravel() * y.ravel()).sum() + share[b] * sum(losses.values())
      return total

    for b, (expected, losses, _) in enumerate(every):
      close(output.predictions[b], expected.reshape(model.outputs))
      assert set(losses) == set(output.losses)
      for name, value in losses.items():
        found = np.broadcast_to(output.losses[name], len(samples))
        close(found[b], value, err_msg=name)
    assert_gradient(number, params, gradient)
    return output, [out for _, _, out in every]
