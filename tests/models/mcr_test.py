"""MCR against the literal equations, whatever stands on padding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec, flatten
from mcr_jax.errors import UserError
from mcr_jax.layers import stack
from mcr_jax.training.keys import fast_key
from tests.models.cases import Case
from tests.reference import trees
from tests.reference.mcr import mcr_batch

LENGTHS = {"text": 5, "vision": 11, "audio": 7, "gaze": 3}
WIDTHS = {"text": 6, "vision": 3, "audio": 4, "gaze": 2}
THREE = ("text", "vision", "audio")
VARIANTS = {
  "paper": {},
  "one_source": {"modalities": ("text", "audio")},
  "alone": {"modalities": ("vision",)},
  "three_sources": {"modalities": (*THREE, "gaze")},
  "one_target": {"targets": ("vision",)},
  "low_level": {"source_update": "low_level"},
  "ffl": {"source_update": "ffl"},
  "sum_no_smm": {"source_update": "sum_no_smm"},
  "no_cmu": {"cmu": False},
  "no_scu": {"scu": False},
  "no_mutual_attention": {"mutual_attention": False},
  "no_attention_layer": {"attention_layer": False},
  "serial": {"structure": "serial"},
  "literal_scoring": {"scu_scoring": "literal"},
  "cmu_heads": {"cmu_heads": 2},
  "one_layer": {"num_layers": 1},
  "three_layers": {"num_layers": 3},
  "last_pooling": {"pooling": "last", "encoder_layers": 2},
  "max_pooling": {"pooling": "max"},
  "emotions": {"outputs": (4, 2)},
}
FAST = ("cmu_exchange", "attention", "remat", "scan_layers", "dtype")


def count(model):
  shapes = trees.mcr(
    modalities=model.modalities,
    lengths=model.spec.lengths,
    features=model.spec.widths,
    kernels=dict.fromkeys(model.modalities, model.kernel),
    width=model.width,
    heads=model.heads,
    num_layers=model.num_layers,
    outputs=model.outputs,
  )
  return trees.count(shapes)


# One layer: what others add is tried against the equations, with junk on padding.
CASES = {"mcr": Case(count, {"width": 4, "heads": 2, "num_layers": 1})}


def build(modalities=THREE, outputs=(1,), **fields):
  fields = {"width": 6, "heads": 3, "num_layers": 2, **fields}
  spec = Spec({m: LENGTHS[m] for m in modalities}, WIDTHS, outputs)
  return models.build("mcr", spec, **fields)


def make_batch(model, size=4, seed=0, shorter=0):
  """Holes, different lengths, and the last sample without its first modality.

  What is no data is NaN: nothing may read it.
  """
  random, batch = np.random.default_rng(seed), {}
  for name in model.modalities:
    steps = LENGTHS[name] - shorter
    batch[name] = random.normal(size=(size, steps, WIDTHS[name]))
    ends = random.integers(2, steps + 1, size=size)
    mask = (np.arange(steps) < ends[:, None]) & (random.random((size, steps)) < 0.8)
    mask[:, 0] = True
    batch[f"{name}_mask"] = mask
  batch[f"{model.modalities[0]}_mask"][-1] = False
  for name in model.modalities:
    batch[name][~batch[f"{name}_mask"]] = np.nan
  return batch


def draw(model, batch, seed=1):
  """Parameters that are nowhere zero, in float64 where that is enabled."""
  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))
  random = np.random.default_rng(seed)
  return jax.tree.map(lambda s: jnp.asarray(0.4 * random.normal(size=s.shape)), shapes)


def predict(model):
  """Predictions alone: what draws figures is not compiled."""
  return jax.jit(
    lambda variables, batch: model.apply(variables, Batch.of(batch)).predictions
  )


def reference(model, variables, batch):
  known = mcr_batch_settings()
  settings = {f: getattr(model, f) for f in model.__dataclass_fields__ if f in known}
  settings["targets"] = model.targets or model.modalities
  settings |= {"modalities": model.modalities, "outputs": model.outputs}
  settings["lengths"] = model.spec.lengths
  params = jax.tree.map(np.asarray, variables["params"])
  return mcr_batch(params, jax.tree.map(np.asarray, batch), **settings)


def mcr_batch_settings():
  import inspect

  from tests.reference.mcr import mcr

  return set(inspect.signature(mcr).parameters) - {"params", "sample"}


SHORTER = ("paper", "three_sources", "literal_scoring", "sum_no_smm")


@pytest.mark.parametrize(
  ("variant", "shorter"), [(v, 0) for v in VARIANTS] + [(v, 1) for v in SHORTER]
)
def test_every_variant_equals_the_literal_equations(variant, shorter):
  with jax.enable_x64(True):
    model = build(**VARIANTS[variant])
    batch = make_batch(model, shorter=shorter)
    variables = draw(model, make_batch(model))
    expected, _ = reference(model, variables, batch)
    predictions = predict(model)(variables, batch)
    np.testing.assert_allclose(predictions, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("exchange", ["mixed", "literal"])
def test_both_orders_of_exchange_equal_the_literal_equations(exchange):
  with jax.enable_x64(True):
    model = build(cmu_exchange=exchange, cmu_heads=2)
    batch = make_batch(model)
    variables = draw(model, batch)
    expected, _ = reference(model, variables, batch)
    predictions = predict(model)(variables, batch)
    np.testing.assert_allclose(predictions, expected, rtol=1e-10, atol=1e-10)


def test_the_intermediates_are_those_of_the_paper():
  with jax.enable_x64(True):
    model = build()
    batch = make_batch(model)
    variables = draw(model, batch)
    _, expected = reference(model, variables, batch)
    out = flatten(jax.jit(model.apply)(variables, Batch.of(batch)).intermediates)
    for i, row in enumerate(expected):
      close = lambda name, value, i=i: np.testing.assert_allclose(
        out[name][i], value, rtol=1e-9, atol=1e-10, err_msg=name
      )
      for (layer, target, source), alpha in row["alpha"].items():
        close(f"layer_{layer}/cmu_{target}/alpha_{source}", alpha)
      for (layer, target), gamma in row["gamma"].items():
        close(f"layer_{layer}/scu_{target}/gamma_cross", gamma[0])
        close(f"layer_{layer}/scu_{target}/gamma_self", gamma[1])
      for (layer, name), gate in row["mu"].items():
        close(f"layer_{layer}/update_{name}/gate", gate)
      for (layer, target), gate in row["phi"].items():
        close(f"layer_{layer}/join_{target}/gate", gate)


# Of a target, two sources that are updated, and what joins them: every kind of block,
# in half the program.
BLOCKS = {"targets": ("vision",)}


@functools.cache
def slopes(**fields):
  """A model's variables, and a program of a value and its gradient; in float64."""
  model = build(**BLOCKS, **fields)
  batch = make_batch(model)
  value = lambda v: jnp.sin(model.apply(v, Batch.of(batch)).predictions).sum()
  # One program; to trace and compile it is the cost.
  return jax.tree.map(np.asarray, draw(model, batch)), jax.jit(
    jax.value_and_grad(value)
  )


THREE_LAYERS = {"num_layers": 3}  # two of them in a loop


@pytest.mark.parametrize(
  "fields", [THREE_LAYERS, {"structure": "serial"}], ids=["paper", "serial"]
)
def test_gradients_equal_finite_differences(fields):
  with jax.enable_x64(True):
    variables, both = slopes(**fields)
    loss, gradient = (lambda v: both(v)[0]), both(variables)[1]
    for seed in range(3):
      random = np.random.default_rng(seed + 10)
      direction = jax.tree.map(lambda v, r=random: r.normal(size=v.shape), variables)
      slope = sum(jax.tree.leaves(jax.tree.map(np.vdot, gradient, direction)))
      move = lambda h, d=direction: jax.tree.map(lambda v, e: v + h * e, variables, d)
      difference = lambda h, m=move: (loss(m(h)) - loss(m(-h))) / (2 * h)
      # A ReLU may turn between the two points; not between all of these pairs.
      errors = [abs(difference(h) / slope - 1) for h in (1e-5, 1e-6, 1e-7)]
      assert min(errors) < 1e-6, errors


@pytest.mark.parametrize("change", ["remat", "scan_layers"])
def test_run_time_choices_change_neither_parameters_nor_results(change, monkeypatch):
  monkeypatch.setattr(stack, "SMALL_BATCH", 0)
  with jax.enable_x64(True):
    variables, plain = slopes(**THREE_LAYERS)
    others, program = slopes(**THREE_LAYERS, **{change: True})
    jax.tree.map(np.testing.assert_array_equal, others, variables)
    close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9)
    jax.tree.map(close, program(variables), plain(variables))


def test_only_layers_of_large_batches_are_recomputed(monkeypatch):
  model = build(**BLOCKS, remat=True)
  batch = make_batch(model)
  variables = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))
  loss = lambda v: model.apply(v, Batch.of(batch)).predictions.sum()
  traced = lambda: "remat" in str(jax.make_jaxpr(jax.grad(loss))(variables))
  steps = sum(batch[f"{m}_mask"].size for m in model.modalities)
  monkeypatch.setattr(stack, "SMALL_BATCH", steps)
  assert not traced()
  monkeypatch.setattr(stack, "SMALL_BATCH", steps - 1)
  assert traced()


def test_bfloat16_computes_near_float32_with_float32_parameters():
  plain = build(width=12, **BLOCKS)
  half = plain.clone(dtype="bfloat16")
  batch = jax.tree.map(
    lambda x: x.astype(np.float32) if x.dtype.kind == "f" else x, make_batch(plain)
  )
  variables = jax.jit(plain.init)(fast_key(jax.random.key(0)), Batch.of(batch))
  made = jax.eval_shape(half.init, jax.random.key(0), Batch.of(batch))
  assert {x.dtype for x in jax.tree.leaves(made)} == {jnp.dtype("float32")}
  expected, got = predict(plain)(variables, batch), predict(half)(variables, batch)
  assert got.dtype == jnp.float32
  assert 0 < np.abs(expected - got).max() < 0.05 * np.abs(expected).max() + 0.02


@pytest.mark.parametrize(
  ("fields", "words"),
  [
    ({"heads": 4}, "heads=4.*6"),
    ({"targets": ("smell",)}, "smell.*text"),
    ({"cmu": False, "scu": False}, "nothing would reinforce"),
  ],
)
def test_a_wrong_field_is_named_with_what_would_be_right(fields, words):
  with pytest.raises(UserError, match=words):
    model = build(**fields)
    jax.eval_shape(model.init, jax.random.key(0), Batch.of(make_batch(build())))


def test_sequences_longer_than_the_model_name_both_lengths():
  model = build()
  batch = make_batch(model)
  variables = draw(model, batch)
  batch["audio"] = np.zeros((4, 9, 4))
  batch["audio_mask"] = np.ones((4, 9), bool)
  with pytest.raises(UserError, match="audio sequences have 9 steps.*at most 7"):
    jax.eval_shape(model.apply, variables, Batch.of(batch))
