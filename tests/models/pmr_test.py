"""PMR against its equations, and what its gates and messages are for."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.layers.stream import joined_positions
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.pmr import pmr as written

KEY = jax.random.key(3)
THREE = ("text", "vision", "audio")
D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 4, "audio": 6, "vision": 5}
SMALL = {"width": 4, "heads": 2, "layers": 1, "encoder_layers": 1}


def build(modalities=("text", "audio"), outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("pmr", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "modalities, outputs, fields",
  [
    (("audio", "text"), (1,), {"layers": 2, "encoder_layers": 2}),
    (
      THREE,
      (2, 2),
      {"scoring": "literal", "residual": False, "pooling": "last", "kernel": 1},
    ),
  ],
  ids=["pooled", "literal"],
)
def test_the_model_equals_its_equations(modalities, outputs, fields):
  model = build(modalities, outputs, **fields)
  one = functools.partial(
    written,
    modalities=modalities,
    heads=model.heads,
    layers=model.layers,
    encoder_layers=model.encoder_layers,
    residual=model.residual,
    literal=model.scoring == "literal",
    last=model.pooling == "last",
  )
  output, samples = assert_equals(model, one)
  masks = dict(make_batch(model).mask)
  masks[modalities[-1]] = (
    masks[modalities[-1]].at[2].set(False)
  )  # as assert_equals does
  masks["hub"] = jnp.concatenate([masks[m] for m in modalities], 1)
  for b, out in enumerate(samples):
    for i in range(model.layers):
      layer = output.intermediates[f"layer_{i}"]
      close(layer["weights"][b], out["weights"][i])
      for name, rows in out["streams"][i].items():
        close(layer["streams"][name][b][masks[name][b]], rows)
      for m in modalities:
        for name, real in ((f"from_hub_{m}", m), (f"to_hub_{m}", "hub")):
          close(layer[name]["gate"][b][masks[real][b]], out[name][i])


@functools.cache
def small():
  """Parameters, a batch, a program, and what it gives."""
  model = build()
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  run = jax.jit(lambda params, batch: model.apply({"params": params}, batch))
  return params, batch, run, run(params, batch)


def changed(params, path, change):
  """The parameters with another array at a/b/c."""
  name, _, rest = path.partition("/")
  inner = changed(params[name], rest, change) if rest else change(params[name])
  return {**params, name: inner}


def test_gates_and_weights_are_shares():
  _, batch, _, output = small()
  layer = output.intermediates["layer_0"]
  mask = {m: batch.mask[m] for m in ("text", "audio")}
  there = jnp.stack([real.any(-1) for real in mask.values()], -1)
  np.testing.assert_array_equal(layer["weights"] > 0, there)
  np.testing.assert_allclose(layer["weights"].sum(-1), there.any(-1), rtol=1e-6)
  hub = jnp.concatenate([*mask.values()], 1)
  for i, m in enumerate(mask):
    for name, real in ((f"from_hub_{m}", mask[m]), (f"to_hub_{m}", hub)):
      gate = layer[name]["gate"]
      # Nothing is read of a modality that misses.
      open_ = real & there[:, i, None]
      assert ((gate > 0) & (gate < 1))[open_].all() and not gate[~open_].any()


def test_behind_a_shut_gate_a_modality_does_not_hear_the_hub():
  params, batch, run, output = small()
  louder = batch.replace(x={**batch.x, "audio": 2 * batch.x["audio"]})
  text = lambda found: found.intermediates["layer_0"]["streams"]["text"]
  assert (text(run(params, louder)) != text(output))[0].any()
  shut = changed(params, "layers/from_hub/gate/bias", lambda b: b.at[:, 0].add(-200))
  np.testing.assert_array_equal(text(run(shut, louder)), text(run(shut, batch)))


def test_the_hub_of_a_layer_is_made_of_what_the_layer_made_of_modalities():
  params, batch, run, output = small()
  for i, m in enumerate(("text", "audio")):
    move = lambda b, i=i: b.at[:, i].set(jnp.asarray([1.0, -1.0, 3.0, 0.5]))
    moved = changed(params, "layers/from_hub/residual/bias", move)
    found = run(moved, batch).intermediates["layer_0"]["streams"]["hub"]
    there = batch.mask[m].any(-1)
    differs = (found != output.intermediates["layer_0"]["streams"]["hub"]).any((1, 2))
    np.testing.assert_array_equal(differs, there)


def test_dropout_is_the_same_where_padding_was_cut_inside_the_hub():
  rates = ("attention", "relu", "residual", "embed", "output")
  model = build(**{f"{name}_dropout": 0.3 for name in rates})
  params, batch, *_ = small()
  real = {"text": 3, "audio": 5}
  mask = {m: x & (np.arange(x.shape[1]) < real[m])[None] for m, x in batch.mask.items()}
  batch = batch.replace(mask=mask)
  cut = {m: batch.x[m][:, : real[m]] for m in real}
  short = batch.replace(x=cut, mask={m: mask[m][:, : real[m]] for m in real})
  train = functools.partial(model.apply, train=True)
  run = jax.jit(lambda b: train({"params": params}, b, rngs={"dropout": KEY}))
  expected, found = (run(b).predictions for b in (batch, short))
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def count(model, joined=True):
  """`joined` is whether what is pooled of all parts goes to the head, or of one."""
  d, names, outputs = model.width, model.modalities, math.prod(model.outputs)
  widths, lengths = model.spec.widths, model.spec.lengths
  kernels = {m: model.kernels.get(m, model.kernel) for m in names}
  convolutions = sum(kernels[m] * widths[m] for m in names) * d
  unit, feed = 18 * d**2 + 20 * d, 8 * d**2 + 7 * d
  size = d * (sum(lengths.values()) if model.scoring == "literal" else 1)
  layer = 2 * len(names) * unit + len(names) * (size**2 + size) + size + feed
  encoder = model.encoder_layers * (12 * d**2 + 13 * d) + 2 * d
  n = (len(names) + 1) * d if joined else d
  head = 2 * (n + 1) * n + (n + 1) * outputs
  return convolutions + model.layers * layer + encoder + head


CASES = {"pmr": Case(count, SMALL)}


@pytest.mark.parametrize("layers, total", [(5, 1_135_201), (3, 743_921)])
def test_the_stated_sizes_have_their_number_of_parameters(layers, total):
  spec = Spec(dict.fromkeys(THREE, 3), dict(zip(THREE, (300, 35, 74), strict=True)))
  fields = {"heads": 8, "layers": layers, "kernels": {"audio": 5}}
  model = models.build("pmr", spec, **fields)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == count(model)
  assert count(model, joined=False) == total


def test_steps_of_the_hub_stand_where_they_stood_before_a_cut():
  found = joined_positions([4, 6, 5], [2, 6, 1])
  np.testing.assert_array_equal(found, [0, 1, 4, 5, 6, 7, 8, 9, 10])
