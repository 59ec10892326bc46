"""The fusion methods against the same methods in NumPy, and how they start."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from mcr_jax.errors import UserError
from mcr_jax.training.keys import fast_key
from tests import reference_fusion as written
from tests.models.cases import Case
from tests.models.vector_cases import assert_nothing_drops_last

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


def _dense(rows, columns):
  return (rows + 1) * columns


def _of_vectors(own):
  """A formula of (widths D of the vectors, model), and the last layer of `width`."""

  def parameters(model):
    widths = [model.spec.widths[m] for m in model.modalities]
    return own(widths, model)

  return parameters


def _head(width, model):
  return _dense(width, math.prod(model.outputs))


def _concat(widths, model):
  sizes = [sum(widths), *[model.width] * model.depth]
  hidden = sum(_dense(a, b) for a, b in itertools.pairwise(sizes))
  return hidden + _head(sizes[-1], model)


def _tfn(widths, model):
  product = (model.width + 1) ** len(widths)
  projected = sum(_dense(d, model.width) for d in widths)
  return projected + _dense(product, model.hidden) + _head(model.hidden, model)


def _lmf(widths, model):
  factors = model.rank * sum(d + 1 for d in widths) * model.width
  return factors + model.rank + model.width + _head(model.width, model)


def _joined(parts, widths, model):
  """Views of every vector, and the layer that joins `parts` of them."""
  views = sum(2 * model.positions * d + _dense(d, model.width) for d in widths)
  join = _dense(max(parts, 1) * model.width, model.width)
  return views + join + _head(model.width, model)


def _cim(widths, model):
  each = len(widths)
  return _joined(each * (each - 1) + model.unimodal * each, widths, model)


def _to_main(pair):
  """`pair`: of a width, what maps one auxiliary."""

  def parameters(widths, model):
    pairs = len(widths) - 1
    return pairs * pair(model.width) + _joined(pairs, widths, model)

  return parameters


# Four square matrices, the bias of the last one, and a norm.
_MHA = _to_main(lambda w: 4 * w**2 + 3 * w)
_TRANSFORMER = _to_main(lambda w: 24 * w**2 + 24 * w)
_CT = _to_main(lambda w: 3 * (24 * w**2 + 24 * w) + _dense(2 * w, w))
FORMULAS = {
  "concat": _concat,
  "tfn": _tfn,
  "lmf": _lmf,
  "cim": _cim,
  "mha": _MHA,
  "transformer": _TRANSFORMER,
  "ct": _CT,
}
CASES = {n: Case(_of_vectors(FORMULAS[n]), NARROW[n]) for n in FORMULAS}
VARIANTS = [
  *((name, {}) for name in NARROW),
  *((name, {"modalities": ("audio",)}) for name in NARROW),
  *((name, {"modalities": (*THREE, "gaze")}) for name in ("tfn", "lmf", "cim", "mha")),
  ("concat", {"depth": 0, "outputs": (4, 2)}),
  ("tfn", {"width": 0}),
  ("cim", {"pairs": "main", "main": "vision", "unimodal": False}),
  ("mha", {"main": "audio", "auxiliaries": ("vision",), "outputs": (7,)}),
  ("transformer", {"main": "audio", "auxiliaries": ("vision", "text")}),
  ("ct", {"main": "vision"}),
  ("ct", {"pairs": "all"}),
]


def build(name, modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 2), SIZES, outputs)
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
    return written.cim(params, vectors, SIZES, pairs, model.unimodal)
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


def test_cim_tells_samples_of_one_modality_apart():
  model = build("cim")
  batch = make_batch(model)
  for m in THREE[1:]:
    batch[f"{m}_mask"] = jnp.zeros_like(batch[f"{m}_mask"])
  batch["text_mask"] = jnp.ones_like(batch["text_mask"])
  spread = {}
  for unimodal in (True, False):
    model = model.clone(unimodal=unimodal)
    variables = draw(model, batch)
    found = jax.jit(model.apply)(variables, Batch.of(batch)).predictions
    spread[unimodal] = float(np.std(found))
  assert spread[True] > 1e-2 and spread[False] < 1e-6


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
  run = jax.jit(lambda key, batch: model.apply(model.init(key, batch), batch))
  return run(fast_key(jax.random.key(0)), batch)


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
    ("tfn", {"width": -1}, "model.width=-1"),
    ("lmf", {"rank": 0}, "model.rank=0"),
    ("cim", {"pairs": "some"}, "model.pairs='some'"),
    ("mha", {"main": "touch"}, "model.main='touch'"),
    ("mha", {"auxiliaries": ("text",)}, "model.auxiliaries.*'text'"),
    ("ct", {"heads": 3}, "heads=3"),
  ],
)
def test_a_mistake_names_its_field_and_value(name, fields, message):
  with pytest.raises(UserError, match=message):
    model = build(name, **fields)
    jax.eval_shape(model.init, jax.random.key(0), model.spec.example())


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


def test_as_published_tfn_drops_parts_of_the_product_alone():
  model = build("tfn", **PUBLISHED, other_width=2, dropout=0.5)
  batch = make_batch(model)
  assert_nothing_drops_last(model, Batch.of(batch), draw(model, batch))


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
