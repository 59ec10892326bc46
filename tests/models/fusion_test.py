"""The fusion methods against the same methods in NumPy, and what holds for them all."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from mcr_jax.errors import UserError
from tests import reference_fusion as written

SIZES = {"text": 5, "audio": 3, "vision": 2, "gaze": 4}
THREE = ("text", "audio", "vision")
NARROW = {
  "concat": {"width": 6},
  "tfn": {"width": 3, "hidden": 4},
  "lmf": {"width": 6, "rank": 3},
  "cim": {"width": 4, "positions": 3},
  "mha": {"width": 4, "positions": 3, "heads": 2},
  "transformer": {"width": 4, "positions": 3, "heads": 2},
  "ct": {"width": 4, "positions": 2, "heads": 2},
}
VARIANTS = [
  *((name, {}) for name in NARROW),
  *((name, {"modalities": ("audio",)}) for name in NARROW),
  *((name, {"modalities": (*THREE, "gaze")}) for name in ("tfn", "lmf", "cim", "mha")),
  ("concat", {"depth": 0, "outputs": (4, 2)}),
  ("tfn", {"width": 0}),
  ("cim", {"pairs": "main", "main": "vision"}),
  ("mha", {"main": "audio", "auxiliaries": ("vision",), "outputs": (7,)}),
  ("transformer", {"main": "audio", "auxiliaries": ("vision", "text")}),
  ("ct", {"main": "vision"}),
  ("ct", {"pairs": "all"}),
]


def build(name, modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 2), outputs=outputs)
  return models.build(name, spec, **{**NARROW[name], **fields})


def make_batch(model, size=5, steps=2, seed=0):
  """All there, first modality missing, second missing, both, all missing."""
  random, batch = np.random.default_rng(seed), {}
  for i, name in enumerate(model.modalities):
    batch[name] = random.normal(size=(size, steps, SIZES[name]))
    mask = random.random((size, steps)) < 0.7
    mask[:, 0] = True
    if i < 2:
      mask[1 + i] = mask[3] = False
    mask[4] = False
    batch[f"{name}_mask"] = mask
  return jax.tree.map(jnp.asarray, batch)


def draw(model, batch, seed=1):
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(model.init, jax.random.key(0), Batch.of(batch))
  value = lambda s: jnp.asarray(0.5 * random.normal(size=s.shape), s.dtype)
  tree = jax.tree.map(value, shapes)
  if jax.config.jax_enable_x64:
    tree = jax.tree.map(lambda x: x.astype(jnp.float64), tree)
  return tree


def reference(name, model, params, batch):
  params = jax.tree.map(np.asarray, params)
  rows = []
  for b in range(len(batch[model.modalities[0]])):
    vectors = {}
    for m in model.modalities:
      steps = np.asarray(batch[m][b])[np.asarray(batch[f"{m}_mask"][b])]
      vectors[m] = steps.mean(0) if len(steps) else None
    rows.append(predict(name, model, params, vectors))
  return np.stack(rows).reshape(-1, *model.outputs)


def predict(name, model, params, vectors):
  if name == "concat":
    return written.concat(params, vectors, SIZES, model.depth)
  if name == "tfn":
    return written.tfn(params, vectors, SIZES, model.width)
  if name == "lmf":
    return written.lmf(params, vectors, SIZES)
  main = model.main or model.modalities[0]
  others = tuple(m for m in model.modalities if m != main)
  if name == "cim":
    pairs = [(main, m) for m in others]
    if model.pairs == "all":
      pairs = list(itertools.combinations(model.modalities, 2))
    return written.cim(params, vectors, SIZES, pairs)
  if name == "ct" and model.pairs == "all":
    return written.ct_of_all_pairs(params, vectors, SIZES)
  auxiliaries = model.auxiliaries or others
  return written.to_main(params, vectors, SIZES, name, main, auxiliaries)


@pytest.mark.parametrize("name, fields", VARIANTS, ids=str)
def test_every_method_equals_the_method_written_down(name, fields):
  with jax.enable_x64(True):
    model = build(name, **fields)
    batch = make_batch(model)
    variables = draw(model, batch)
    predictions = jax.jit(model.apply)(variables, Batch.of(batch)).predictions
    expected = reference(name, model, variables["params"], batch)
    np.testing.assert_allclose(predictions, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", NARROW)
def test_padding_and_missing_modalities_cannot_reach_outputs_or_gradients(name):
  model = build(name)
  batch = make_batch(model)
  variables = draw(model, batch)
  noisy = dict(batch)
  for m in model.modalities:
    noisy[m] = jnp.where(batch[f"{m}_mask"][..., None], batch[m], jnp.nan)
  run = jax.jit(
    jax.value_and_grad(
      lambda v, b: (model.apply(v, Batch.of(b)).predictions ** 2).sum()
    )
  )
  clean, dirty = run(variables, batch), run(variables, noisy)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))


@pytest.mark.parametrize("name", NARROW)
def test_every_parameter_is_used(name):
  with jax.enable_x64(True):
    model = build(name)
    batch = make_batch(model)
    variables = draw(model, batch)
    slope = jax.jit(
      jax.grad(lambda v: (model.apply(v, Batch.of(batch)).predictions ** 2).sum())
    )
    for path, leaf in jax.tree_util.tree_leaves_with_path(slope(variables)):
      assert (leaf != 0).any(), jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", ["concat", "tfn", "mha", "ct"])
def test_dropout_acts_only_while_training(name):
  model = build(name, dropout=0.5)
  batch = make_batch(model)
  variables = draw(model, batch)

  @functools.partial(jax.jit, static_argnums=0)
  def run(train, seed):
    rngs = {"dropout": jax.random.key(seed)}
    return model.apply(variables, Batch.of(batch), train=train, rngs=rngs).predictions

  np.testing.assert_array_equal(run(False, 0), run(False, 1))
  assert (run(True, 0) != run(True, 1)).any()


def first(name, seen=THREE):
  """The output of fresh parameters; modalities not in `seen` are all zero."""
  fields = {"tfn": {"width": 16}}.get(name, {"width": 32})
  model = models.build(name, Spec(dict.fromkeys(THREE, 1)), **fields)
  random = np.random.default_rng(0)
  batch = {
    m: jnp.asarray((m in seen) * random.normal(size=(64, 1, d)), jnp.float32)
    for m, d in zip(THREE, (64, 48, 16), strict=True)
  }
  batch |= {f"{m}_mask": jnp.ones((64, 1), bool) for m in THREE}
  batch = Batch.of(batch)
  run = jax.jit(lambda key: model.apply(model.init(key, batch), batch))
  return run(jax.random.key(0))


@pytest.mark.parametrize("name", NARROW)
def test_first_features_are_of_the_order_of_one_and_predictions_zero(name):
  output = first(name)
  assert 0.05 < float(np.std(output.intermediates["features"], 0).mean()) < 5
  assert not output.predictions.any()


def test_factors_start_with_what_one_vector_says_beside_what_products_say():
  features = lambda seen: first("lmf", seen).intermediates["features"]
  spread = lambda seen: float(np.std(features(seen), 0).mean())
  for one in THREE:
    assert spread((one,)) > 0.3 * spread(THREE)


@pytest.mark.parametrize(
  "name, fields, message",
  [
    ("tfn", {"width": -1}, "width=-1; give the features a modality, 0 for all"),
    ("lmf", {"rank": 0}, "rank=0; it must be at least 1"),
    ("cim", {"pairs": "some"}, "pairs='some' is none of all, main"),
    ("mha", {"main": "touch"}, "main='touch' is none of the modalities"),
    ("mha", {"positions": 0}, "positions=0; it must be at least 1"),
    ("ct", {"pairs": "some"}, "pairs='some' is none of main, all"),
    ("ct", {"heads": 3}, "heads=3 must divide the width of the model, 4"),
  ],
)
def test_a_mistake_is_answered_with_what_would_be_right(name, fields, message):
  model = build(name, **fields)
  with pytest.raises(UserError, match=message):
    jax.eval_shape(model.init, jax.random.key(0), Batch.of(make_batch(build(name))))


PUBLISHED = {"subnetworks": "published", "encoder_width": 4, "main_width": 3}


@pytest.mark.parametrize("name", ["tfn", "lmf"])
def test_published_subnetworks_are_an_lstm_and_three_layers_a_modality(name):
  with jax.enable_x64(True):
    model = build(name, **PUBLISHED, other_width=2)
    batch = make_batch(model)
    variables = draw(model, batch)
    predictions = jax.jit(model.apply)(variables, Batch.of(batch)).predictions
    params = jax.tree.map(np.asarray, variables["params"])
    for b, prediction in enumerate(predictions):
      steps = {m: np.asarray(batch[m][b])[batch[f"{m}_mask"][b]] for m in THREE}
      if name == "tfn":
        expected = written.tfn_as_published(params, steps, (3, 2))
      else:
        expected = written.lmf(params, written.embedded(params, steps, (3, 2)), None)
      np.testing.assert_allclose(prediction, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["tfn", "lmf"])
def test_published_subnetworks_have_their_number_of_parameters(name):
  spec = Spec(dict.fromkeys(THREE, 2), {"text": 300, "audio": 74, "vision": 35})
  model = models.build(name, spec, subnetworks="published", main="text")
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  dense = lambda rows, columns: (rows + 1) * columns
  expected = 4 * 128 * (300 + 128 + 1) + dense(128, 128)
  expected += sum(dense(d, 32) + 2 * dense(32, 32) for d in (74, 35))
  if name == "tfn":
    expected += dense(129 * 33 * 33, 128) + dense(128, 128) + dense(128, 1)
  else:
    expected += 4 * 1024 * (129 + 33 + 33) + 4 + 1024 + dense(1024, 1)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected
