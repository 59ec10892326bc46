"""BBFN against its equations, and what its gates, streams and separator are for."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.bbfn import bbfn as written

D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 4, "audio": 6, "vision": 5}
SMALL = {"width": 4, "heads": 2, "layers": 2}


def build(modalities=("text", "audio"), outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("bbfn", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "modalities, outputs, layers, has_cls",
  [(("text", "audio"), (1,), 2, False), (("audio", "text", "vision"), (2, 2), 1, True)],
  ids=["two", "cls"],
)
def test_the_model_equals_its_equations(modalities, outputs, layers, has_cls):
  model = build(modalities, outputs, layers=layers, text_has_cls=has_cls)
  fields = {"heads": model.heads, "layers": layers, "has_cls": has_cls}
  one = functools.partial(written, modalities=modalities, **fields)
  output, samples = assert_equals(model, one, train=True)
  for b, out in enumerate(samples):
    close(output.intermediates["features"][b], out["features"])


@functools.cache
def small():
  """One layer whose convolutions see one step, with a CLS token."""
  model = build(layers=1, kernel=1, text_has_cls=True)
  batch = make_batch(model)
  params = draw(model, batch)["params"]

  @jax.jit
  def run(params, batch):
    return model.apply({"params": params}, batch)

  return params, batch, run


def test_the_order_of_audio_does_not_count_without_its_neighbours():
  params, batch, run = small()
  order = jnp.asarray([0, 4, 3, 5, 1, 2])
  turned = batch.replace(
    x={**batch.x, "audio": batch.x["audio"][:, order]},
    mask={**batch.mask, "audio": batch.mask["audio"][:, order]},
  )
  expected, found = run(params, batch), run(params, turned)
  np.testing.assert_allclose(found.predictions, expected.predictions, rtol=1e-4)
  others = batch.replace(x={**batch.x, "audio": 2 * batch.x["audio"]})
  assert (run(params, others).predictions[0] != expected.predictions[0]).all()


def test_gates_that_only_hold_leave_the_feed_forward_layer():
  params, batch, run = small()
  shut = dict(params["first"]["pair_audio"])
  for name in ("text", "other"):
    gates = {"kernel": jnp.zeros((8, 8)), "bias": jnp.repeat(jnp.asarray([-99, 99]), 4)}
    shut[name] = {**shut[name], "gates": gates}
  params = {**params, "first": {**params["first"], "pair_audio": shut}}
  expected = run(params, batch).intermediates["features"]
  attention = jax.tree.map(lambda x: 3 * x + 1, shut["text"]["attention"])
  shut["text"] = {**shut["text"], "attention": attention}
  found = run(params, batch).intermediates["features"]
  np.testing.assert_array_equal(found, expected)
  # Text, whose features come first, has not heard of audio.
  loud = batch.replace(x={**batch.x, "audio": 2 * batch.x["audio"]})
  found = run(params, loud).intermediates["features"]
  np.testing.assert_array_equal(found[:, :4], expected[:, :4])
  assert (found[:, 4:] != expected[:, 4:]).any()


STARTS = ("kernel", "separator", "pair")


def test_both_stacks_are_alike():
  names = ("text", "audio", "vision")
  spec = Spec(dict.fromkeys(names, 4), {"text": 5, "audio": 3, "vision": 3})
  model = models.build("bbfn", spec, **SMALL | {"layers": 1})
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  other = {"audio": "vision", "vision": "audio"}
  # The streams of the first pair, then those of the second.
  order = np.asarray([2, 3, 0, 1])

  def swap(tree):
    names = {f"{start}_{m}": f"{start}_{other[m]}" for start in STARTS for m in other}
    return {names.get(name, name): branch for name, branch in tree.items()}

  layer = swap(params["first"])
  layer["control"] = jax.tree.map(lambda x: x[order], layer["control"])
  swapped = {**swap(params), "first": layer}
  turn = lambda tree: {"text": tree["text"], **{m: tree[other[m]] for m in other}}
  turned = batch.replace(x=turn(batch.x), mask=turn(batch.mask))
  run = jax.jit(lambda p, b: model.apply({"params": p}, b).intermediates["features"])
  expected, found = run(params, batch), run(swapped, turned)
  np.testing.assert_allclose(
    found, np.roll(expected, 2 * model.width, 1), rtol=1e-4, atol=1e-6
  )


def count(model):
  d, others = model.width, len(model.modalities) - 1
  convolutions = model.kernel * sum(model.spec.widths.values()) * d
  attention = 4 * (d + 1) * d + 2 * d
  feed = 2 * d + (d + 1) * 4 * d + (4 * d + 1) * d
  gates = 2 * (2 * d + 1) * d
  direction = attention + feed + gates
  separator = (d + 1) * 4 * d + 4 * d + 1
  stack = model.layers * (2 * direction + separator)
  gru = 3 * d * (d + d) + 4 * d
  controls = 2 * (d + 1) * d + (model.layers - 1) * 4 * gru
  joined, outputs = 2 * others * d, math.prod(model.outputs)
  head = 2 * (joined + 1) * joined + (joined + 1) * outputs
  return convolutions + others * (stack + controls) + head


# Layers are compiled slowly; the equations above have two, and NaN for padding.
CASES = {"bbfn": Case(count, SMALL | {"layers": 1})}


def test_published_widths_have_the_published_number_of_parameters():
  names = ("text", "audio", "vision")
  spec = Spec(dict.fromkeys(names, 3), dict(zip(names, (768, 74, 47), strict=True)))
  model = models.build("bbfn", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  # PyTorch's 32 GRUs have a second bias for each of two gates.
  published = 1_071_011 - 32 * 2 * 40
  assert sum(x.size for x in jax.tree.leaves(params)) == count(model) == published
