"""Multimodal Routing against its equations, and what its table of terms says."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.models import routing
from mcr_jax.training.keys import fast_key
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import draw, make_batch
from tests.reference.routing import routing as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
T = {"text": 3, "audio": 6, "vision": 3}
SMALL = {"width": 4, "heads": 2, "layers": 2, "pose": 3}


def build(modalities=THREE, outputs=(1,), task="regression", **fields):
  lengths, widths = ({m: of[m] for m in modalities} for of in (T, D))
  spec = Spec(lengths, widths, outputs, task)
  return models.build("routing", spec, **{**SMALL, **fields})


def labelled(model, batch):
  random = np.random.default_rng(3)
  shape = (len(batch.weight), *model.outputs)
  label = random.uniform(-3.4, 3.4, shape)
  return batch.replace(label=jnp.asarray(label if len(label[0]) > 1 else label[:, 0]))


@pytest.mark.parametrize(
  "modalities, outputs, fields",
  [
    (THREE, (1,), {"routings": 2, "layers": 1}),
    (("vision", "text"), (2,), {"levels": 5, "step": 2.0}),
    (("text",), (4, 2), {"task": "binary", "layers": 1}),
    (THREE, (3,), {"task": "multiclass", "encoder": "mean"}),
  ],
  ids=["three", "two", "one", "vectors"],
)
def test_the_model_equals_its_equations(modalities, outputs, fields):
  model = build(modalities, outputs, **fields)
  regression = model.spec.task == "regression"
  one = functools.partial(
    written,
    modalities=modalities,
    lengths=T,
    heads=model.heads,
    routings=model.routings,
    levels=model.levels if regression else None,
    step=model.step,
    encoder="mean" if model.encoder == "mean" else "transformer",
  )
  change = functools.partial(labelled, model) if regression else None
  output, samples = assert_equals(model, one, change=change, train=True)
  for b, out in enumerate(samples):
    for name, table in out.items():
      close(output.intermediates[name][b], table, err_msg=name)


@functools.cache
def small():
  model = build(("text", "audio"), (3,), "multiclass", layers=1)
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  return params, batch, jax.jit(lambda p, b: model.apply({"params": p}, b))


def test_logits_are_sums_of_the_terms_of_features():
  params, batch, run = small()
  output = run(params, batch)
  seen = output.intermediates
  np.testing.assert_allclose(
    seen["contribution"].sum(1), output.predictions, rtol=1e-4, atol=1e-6
  )
  np.testing.assert_allclose(seen["routing"].sum(-1), 1.0, rtol=1e-6)
  # Text, audio, and both: whatever a sample lacks says nothing.
  text, audio = (batch.mask[m].any(-1) for m in ("text", "audio"))
  there = jnp.stack([text, audio, text & audio], 1)
  np.testing.assert_array_equal(seen["active"] > 0, there)
  np.testing.assert_array_equal(seen["contribution"].any(-1), there)


def test_at_first_only_the_output_learns():
  model = build(("text", "audio"), (3,), "multiclass", encoder="mean")
  batch = make_batch(model)
  params = jax.jit(model.init)(fast_key(jax.random.key(0)), batch)["params"]
  run = lambda p: model.apply({"params": p}, batch).predictions
  logits, pull = jax.vjp(jax.jit(run), params)
  (gradient,) = pull(jnp.ones_like(logits))
  assert not logits.any()
  moved = {jax.tree_util.keystr(k) for k, x in leaves(gradient) if x.any()}
  assert moved == {"['output']['kernel']"}


def leaves(tree):
  return jax.tree_util.tree_leaves_with_path(tree)


def test_the_future_is_not_read_before_the_last_step():
  run = functools.partial(routing.transformers._layer, heads=2, offset=1)
  params = routing.transformers._draw(jax.random.key(0), (1,), 4)
  params = jax.tree.map(lambda x: x[0], params)
  random = np.random.default_rng(0)
  x, y = (jnp.asarray(random.normal(size=(1, n, 4)), jnp.float32) for n in (5, 6))
  mask, places = jnp.ones((1, 6), bool), jnp.arange(5)[None]
  read = jax.jit(lambda y: run(params, x, y, mask, places).sum(-1)[0])
  for step in range(6):
    changed = read(y.at[0, step].add(1.0)) != read(y)
    np.testing.assert_array_equal(changed, step <= np.arange(5) + 1)


def test_labels_round_to_the_nearest_level():
  logits = jnp.log(jnp.asarray([[[0.1, 0.2, 0.3, 0.15, 0.25]]]))
  level = lambda y, weight=1.0: float(
    jnp.exp(-routing.surprise(logits, jnp.array([y]), jnp.array([weight]), 2.0))[0]
  )
  found = [level(y) for y in (-9.0, -0.6, 0.4, 1.2, 7.0)]
  np.testing.assert_allclose(found, [0.1, 0.2, 0.3, 0.15, 0.25], rtol=1e-5)
  assert np.isfinite(level(np.nan, 0.0))


def test_vectors_have_no_transformers_unless_asked():
  lengths = dict.fromkeys(("text", "audio"), 1)
  spec = Spec(lengths, {m: D[m] for m in lengths})
  for encoder, expected in (("auto", False), ("transformer", True), ("mean", False)):
    model = models.build("routing", spec, **SMALL, encoder=encoder)
    params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
    assert ("cross" in params) == expected


def count(model):
  d, n = model.width, len(model.modalities)
  layer = 4 * d + 4 * (d + 1) * d + (d + 1) * 4 * d + (4 * d + 1) * d
  transformers = n**2 * (model.layers * layer + 2 * d)
  embed = sum(model.spec.widths.values()) * d
  pairs = n * (n - 1) // 2 if n > 2 else 0
  joined = (n * (n - 1) - pairs) * d
  together = (joined + 1) * d if n > 1 else 0
  features, p = n + pairs + (n > 1), model.pose
  regression = model.spec.task == "regression"
  classes = math.prod(model.outputs) * (model.levels if regression else 1)
  capsules = features * (d + 1) * (p + 1) + features * p * classes * p + classes * p
  return embed + transformers + together + capsules


# Levels so near one another that labels can be learnt which were rounded to them.
CASES = {"routing": Case(count, SMALL | {"levels": 31, "step": 0.2})}


def test_published_widths_have_the_published_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 3), dict(zip(THREE, (300, 74, 35), strict=True)))
  model = models.build("routing", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(x.size for x in jax.tree.leaves(params))
  assert total == count(model) == 30_902_007
  names = ("pose_kernel", "pose_bias", "votes", "output")
  capsules = jax.tree.leaves([params[name] for name in names])
  assert sum(x.size for x in capsules) == 292_607
