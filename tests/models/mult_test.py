"""MulT against the equations of its oracle, whatever stands on padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import flops, models
from mcr_jax.contract import Batch, Spec, flatten
from mcr_jax.errors import UserError
from mcr_jax.layers import stack
from tests.models.cases import Case
from tests.reference import trees
from tests.reference.mult import mult_batch

LENGTHS = {"text": 5, "vision": 11, "audio": 7}
WIDTHS = {"text": 6, "vision": 3, "audio": 4}
THREE = ("text", "vision", "audio")
# What compiles quickly, for properties that do not depend on how many there are.
TWO = {"modalities": ("text", "audio"), "self_layers": 1}
VARIANTS = {
  "published": {},
  "alone": {"modalities": ("vision",), "kernel": 2},
  "emotions": {**TWO, "outputs": (4, 2), "kernels": {"audio": 3}},
}


def count(model):
  shapes = trees.mult(
    modalities=model.modalities,
    features=model.spec.widths,
    kernels=dict.fromkeys(model.modalities, model.kernel),
    width=model.width,
    heads=model.heads,
    layers=model.layers,
    self_layers=model.self_layers or max(3, model.layers),
    outputs=model.outputs,
  )
  return trees.count(shapes)


CASES = {"mult": Case(count, {"width": 4, "heads": 2, "layers": 1, "self_layers": 1})}


def build(modalities=THREE, outputs=(1,), **fields):
  fields = {"width": 6, "heads": 3, "layers": 2, **fields}
  spec = Spec({m: LENGTHS[m] for m in modalities}, WIDTHS, outputs)
  return models.build("mult", spec, **fields)


def make_batch(model, size=4, seed=0):
  """Holes, different lengths, and the last sample without its first modality.

  What is no data is NaN: nothing may read it.
  """
  random, batch = np.random.default_rng(seed), {}
  for name in model.modalities:
    steps = LENGTHS[name]
    batch[name] = random.normal(size=(size, steps, WIDTHS[name]))
    ends = random.integers(2, steps + 1, size=size)
    mask = (np.arange(steps) < ends[:, None]) & (random.random((size, steps)) < 0.8)
    mask[:, 0] = True
    batch[f"{name}_mask"] = mask
  batch[f"{model.modalities[0]}_mask"][-1] = False
  for name in model.modalities:
    batch[name][~batch[f"{name}_mask"]] = np.nan
  return jax.tree.map(jnp.asarray, batch)


def draw(model, batch, seed=1):
  """Parameters that are nowhere zero, in float64 where that is enabled."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))
  random = np.random.default_rng(seed)
  return jax.tree.map(lambda s: jnp.asarray(0.4 * random.normal(size=s.shape)), shapes)


def reference(model, variables, batch):
  """The oracle's predictions and intermediates; its layers are not stacked."""
  params = {}
  for name, tree in jax.tree.map(np.asarray, variables["params"]).items():
    params[name] = unstacked(tree) if "layers" in tree else tree
  return mult_batch(
    params,
    batch,
    modalities=model.modalities,
    heads=model.heads,
    layers=model.layers,
    self_layers=model.self_layers or max(3, model.layers),
    outputs=model.outputs,
  )


def unstacked(tree):
  stack = tree["layers"]
  rows = [
    jax.tree.map(lambda x, i=i: x[i], stack)
    for i in range(len(stack["attention_norm"]["scale"]))
  ]
  layers = {}
  for i, row in enumerate(rows):
    feed = row.pop("feed_forward")
    layers[f"layer_{i}"] = row | {
      "feed_forward_norm": feed["norm"],
      "hidden": feed["hidden"],
      "output": feed["output"],
    }
  return layers | {"norm": tree["norm"]}


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_equals_its_oracle(variant):
  with jax.enable_x64(True):
    model = build(**VARIANTS[variant])
    batch = make_batch(model)
    variables = draw(model, batch)
    expected, seen = reference(model, variables, batch)
    output = jax.jit(model.apply)(variables, Batch.of(batch))
    predictions, out = output.predictions, flatten(output.intermediates)
    close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10)
    close(predictions, expected)
    for row, drawn in enumerate(seen):
      for (t, s), read in drawn["cross"].items():
        close(out[f"cross_{t}_{s}/read"][row], read)
      for (t,), read in drawn["self"].items():
        close(out[f"self_{t}/read"][row], read)
      for (t, s, i), maps in drawn["cross_attention"].items():
        real = batch[f"{t}_mask"][row][None, :, None]
        close(np.where(real, out[f"cross_{t}_{s}/layer_{i}/weights"][row], 0), maps)
      for (t, i), maps in drawn["self_attention"].items():
        real = batch[f"{t}_mask"][row][None, :, None]
        close(np.where(real, out[f"self_{t}/layer_{i}/weights"][row], 0), maps)


@pytest.mark.parametrize(
  ("rates", "moved"),
  [
    ({"text_dropout": 0.5}, {"cross_text_audio", "cross_audio_text"}),
    ({"attention_dropouts": {"audio": 0.5}}, {"cross_text_audio"}),
    (
      {"attention_dropout": 0.5, "attention_dropouts": {"audio": 0.0}},
      {"cross_audio_text"},
    ),
  ],
)
def test_dropout_falls_where_it_is_asked_for(rates, moved):
  model = build(layers=1, **TWO, **rates)
  batch = Batch.of(make_batch(model))
  variables = draw(model, make_batch(model))

  @functools.partial(jax.jit, static_argnames="train")
  def run(train):
    rngs = {"dropout": jax.random.key(0)} if train else {}
    found = model.apply(variables, batch, train=train, rngs=rngs).intermediates
    return {k: x["read"] for k, x in found.items() if k.startswith("cross")}

  one, other = run(True), run(False)
  assert {k for k in one if not np.allclose(one[k], other[k])} == moved


def test_the_published_network_has_the_published_parameters_and_operations():
  widths = {"text": 300, "vision": 35, "audio": 74}
  spec = Spec(dict.fromkeys(widths, 50), widths)
  model = models.build("mult", spec)
  assert (model.width, model.heads, model.layers, model.kernel) == (30, 5, 5, 1)
  batch = spec.example(1)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  assert flops.parameters(variables) == 1_073_731
  # Measured on the authors' program, in MFLOP.
  assert round(flops.count_model(model, variables, batch).flops / 1e6, 1) == 116.6


def test_gradients_equal_finite_differences():
  with jax.enable_x64(True):
    model = build(**TWO, outputs=(4, 2))
    batch = make_batch(model)
    variables = draw(model, batch)
    loss = jax.jit(lambda v: jnp.sin(model.apply(v, Batch.of(batch)).predictions).sum())
    gradient = jax.jit(jax.grad(loss))(variables)
    for seed in range(3):
      direction = draw(model, batch, seed=seed + 10)
      slope = sum(jax.tree.leaves(jax.tree.map(jnp.vdot, gradient, direction)))
      move = lambda h, d=direction: jax.tree.map(lambda v, e: v + h * e, variables, d)
      h = 3e-5
      # Five points: their error is of fourth order in h.
      difference = 8 * (loss(move(h)) - loss(move(-h)))
      difference = (difference - loss(move(2 * h)) + loss(move(-2 * h))) / (12 * h)
      np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
  "change", [{"remat": True}, {"scan_layers": True}], ids=["remat", "scanned"]
)
def test_run_time_choices_change_neither_parameters_nor_results(change, monkeypatch):
  monkeypatch.setattr(stack, "SMALL_BATCH", 0)
  with jax.enable_x64(True):
    plain, other = build(**TWO), build(**TWO, **change)
    batch = make_batch(plain)
    variables = draw(plain, batch)
    shapes = [
      jax.eval_shape(m.init, jax.random.key(0), Batch.of(batch)) for m in (plain, other)
    ]
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, *shapes))
    loss = lambda model: jax.value_and_grad(
      lambda v: model.apply(v, Batch.of(batch)).predictions.sum()
    )
    expected, got = (jax.jit(loss(m))(variables) for m in (plain, other))
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-9), expected, got
    )


def test_bfloat16_computes_near_float32_with_float32_parameters():
  plain, half = build(**TWO, width=12), build(**TWO, width=12, dtype="bfloat16")
  batch = make_batch(plain)
  shapes = jax.eval_shape(half.init, jax.random.key(0), Batch.of(batch))
  assert {x.dtype for x in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
  variables = draw(plain, batch)
  expected, got = (
    jax.jit(m.apply)(variables, Batch.of(batch)).predictions for m in (plain, half)
  )
  assert got.dtype == jnp.float32
  assert 0 < np.abs(expected - got).max() < 0.05 * np.abs(expected).max() + 0.02


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"heads": 4}, "heads=4 must divide the width of the model, 6"),
  ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(fields, words):
  with pytest.raises(UserError, match=words):
    model = build(**fields)
    jax.eval_shape(model.init, jax.random.key(0), Batch.of(make_batch(build())))
