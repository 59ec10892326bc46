"""PMR against its equations, and what its gates and messages are for."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.layers.stream import Stream, concatenate, joined_positions
from mcr_jax.models import pmr
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import make_batch
from tests.reference import pmr as written

TWO, THREE = ("text", "audio"), ("text", "vision", "audio")
D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 4, "audio": 6, "vision": 5}
SMALL = {"width": 4, "heads": 2, "layers": 1, "encoder_layers": 1}


def build(modalities=TWO, outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("pmr", spec, **{**SMALL, **fields})


def test_the_model_equals_its_equations():
  names = ("audio", "text")
  model = build(names, (2, 2), layers=2)
  fields = {"heads": 2, "layers": 2, "encoder_layers": 1}
  one = functools.partial(written.pmr, modalities=names, **fields)
  output, samples = assert_equals(model, one)
  masks = dict(make_batch(model).mask)
  masks["text"] = masks["text"].at[2].set(False)  # as assert_equals does
  masks["hub"] = concatenate({m: masks[m] for m in names})
  for b, out in enumerate(samples):
    for i in range(model.layers):
      layer = output.intermediates[f"layer_{i}"]
      close(layer["weights"][b], out["weights"][i])
      for name, rows in out["streams"][i].items():
        close(layer["streams"][name][b][masks[name][b]], rows)
      for m in names:
        for name, real in ((f"from_hub_{m}", m), (f"to_hub_{m}", "hub")):
          close(layer[name]["gate"][b][masks[real][b]], out[name][i])


def random_streams(model, seed=2):
  """What a layer takes, of real steps alone, and its masks."""
  found, random = make_batch(model).mask, np.random.default_rng(seed)
  masks = {m: found[m] for m in model.modalities}
  draw = lambda mask: random.normal(size=(*mask.shape, 4)) * np.asarray(mask)[..., None]
  z = {m: jnp.asarray(draw(mask), jnp.zeros(()).dtype) for m, mask in masks.items()}
  return (pmr.padded(z), concatenate(z)), masks


def drawn(module, *arguments):
  """Parameters that are nowhere zero."""
  random = np.random.default_rng(4)
  shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *arguments))
  value = lambda x: jnp.asarray(0.6 * random.normal(size=x.shape), x.dtype)
  return jax.tree.map(value, shapes)["params"]


def test_without_residuals_a_unit_is_that_of_the_paper():
  with jax.enable_x64(True):
    (_, hub), masks = random_streams(build())
    mask = concatenate(masks)
    settings = pmr.Settings(spec=build().spec, width=4, heads=2, residual=False)
    unit, stream = pmr.Unit(settings, True), Stream.of(hub, mask)
    params = drawn(unit, stream, stream)
    found, _ = jax.jit(unit.apply)({"params": params}, stream, stream)
    params, hub = jax.tree.map(np.asarray, (params, hub))
    for b, real in enumerate(np.asarray(mask)):
      x = hub[b][real]
      close(found[b][real], written.unit(params, x, x, 2, False)[0])


def test_the_literal_score_is_of_all_features_of_all_steps():
  with jax.enable_x64(True):
    (_, hub), masks = random_streams(build())
    sent, mask = jnp.stack([hub, 2 * hub]), concatenate(masks)
    settings = pmr.Settings(spec=build().spec, width=4, scoring="literal")
    messages = pmr.Messages(settings, True)
    params = drawn(messages, sent, masks)
    kernel, bias, u = (params[x] for x in ("score_kernel", "score_bias", "score"))
    assert kernel.shape == (2, 40, 40)
    _, weights = jax.jit(messages.apply)({"params": params}, sent, masks)
    one = lambda m, b: written.score(
      kernel[m], bias[m], u, np.asarray(sent[m, b][mask[b]]), np.asarray(mask[b]), True
    )
    powers = np.exp([one(0, 0), one(1, 0)])
    close(weights[0], powers / powers.sum())


@functools.cache
def small():
  """A layer with dropout: parameters, streams, masks, a program, what it gives."""
  rates = {f"{name}_dropout": 0.3 for name in ("attention", "relu", "residual")}
  layer = pmr.Layer(pmr.Settings(spec=build().spec, width=4, heads=2, **rates))
  carry, masks = random_streams(build())
  params = drawn(layer, carry, masks, True)

  @jax.jit
  def run(params, carry, masks):
    masks = {m: masks[m] for m in TWO}
    rngs = {"dropout": jax.random.key(3)}
    return layer.apply({"params": params}, carry, masks, True, rngs=rngs)[1]

  return params, carry, masks, run, run(params, carry, masks)


def test_gates_and_weights_are_shares():
  *_, mask, _, layer = small()
  there = jnp.stack([real.any(-1) for real in mask.values()], -1)
  np.testing.assert_array_equal(layer["weights"] > 0, there)
  np.testing.assert_allclose(layer["weights"].sum(-1), there.any(-1), rtol=1e-6)
  for i, m in enumerate(mask):
    for name, real in ((f"from_hub_{m}", mask[m]), (f"to_hub_{m}", concatenate(mask))):
      gate = layer[name]["gate"]
      # Nothing is read of a modality that misses.
      ajar = real & there[:, i, None]
      assert ((gate > 0) & (gate < 1))[ajar].all() and not gate[~ajar].any()


def test_behind_a_shut_gate_a_modality_does_not_hear_the_hub():
  params, (z, hub), masks, run, expected = small()
  text = lambda params, hub: run(params, (z, hub), masks)["streams"]["text"]
  assert (text(params, 2 * hub) != expected["streams"]["text"])[0].any()
  gate = params["from_hub"]["gate"]
  gate = {**gate, "bias": gate["bias"].at[0].add(-200)}
  shut = {**params, "from_hub": {**params["from_hub"], "gate": gate}}
  np.testing.assert_array_equal(text(shut, 2 * hub), text(shut, hub))


def test_the_hub_of_a_layer_is_made_of_what_the_layer_made_of_modalities():
  params, carry, masks, run, expected = small()
  unit = params["from_hub"]
  for i, m in enumerate(masks):
    bias = unit["residual"]["bias"].at[i].set(jnp.asarray([1.0, -1.0, 3.0, 0.5]))
    moved = {**unit, "residual": {**unit["residual"], "bias": bias}}
    found = run({**params, "from_hub": moved}, carry, masks)["streams"]["hub"]
    differs = (found != expected["streams"]["hub"]).any((1, 2))
    np.testing.assert_array_equal(differs, masks[m].any(-1))


def test_dropout_is_the_same_where_padding_was_cut_inside_the_hub():
  params, (z, _), masks, run, _ = small()
  ends = {"text": 3, "audio": 5}
  masks = {m: x & (np.arange(T[m]) < ends[m])[None] for m, x in masks.items()}
  parts = {m: x * masks[m][..., None] for m, x in pmr.unpadded(z, masks).items()}
  cut, short = ({m: x[m][:, : ends[m]] for m in TWO} for x in (parts, masks))
  expected, found = (
    run(params, (pmr.padded(x), concatenate(x)), mask)["streams"]
    for x, mask in ((parts, masks), (cut, short))
  )
  kept = joined_positions([T[m] for m in TWO], [ends[m] for m in TWO])
  rows = {"hub": kept, **{m: np.arange(end) for m, end in ends.items()}}
  for name, steps in rows.items():
    close = functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5)
    close(found[name], expected[name][:, steps], err_msg=name)


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


def test_the_stated_sizes_have_their_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 3), dict(zip(THREE, (300, 35, 74), strict=True)))
  model = models.build("pmr", spec, heads=8, kernels={"audio": 5})
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  assert sum(x.size for x in jax.tree.leaves(params)) == count(model)
  # Where the last step of all that was joined goes to the head.
  assert count(model, joined=False) == 1_135_201
  assert count(model.clone(layers=3), joined=False) == 743_921


def test_steps_of_the_hub_stand_where_they_stood_before_a_cut():
  found = joined_positions([4, 6, 5], [2, 6, 1])
  np.testing.assert_array_equal(found, [0, 1, 4, 5, 6, 7, 8, 9, 10])
