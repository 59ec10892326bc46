"""RMFN against its equations, and what holds of its memories and stages."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.layers.recurrent import Recurrent
from tests.models.cases import Case
from tests.models.mfn_test import lstm
from tests.models.recurrent_cases import assert_equals_its_equations, draw, make_batch
from tests.reference.rmfn import rmfn as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {
  **{"width": 4, "code_width": 3, "stages": 2, "output_width": 7},
  **{"highlight_width": 5, "fuse_width": 6},
}
WIDTHS = {"text": 4, "audio": 2, "vision": 3}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 5), {m: D[m] for m in modalities}, outputs)
  widths = {m: WIDTHS[m] for m in modalities}
  return models.build("rmfn", spec, **{**SMALL, "widths": widths, **fields})


@pytest.mark.parametrize(
  "fields",
  [
    {},
    {
      **{"modalities": ("audio", "text"), "outputs": (2, 2)},
      **{"stages": 2, "summarize": "last"},
    },
  ],
  ids=["three", "two"],
)
def test_the_model_equals_its_equations(fields):
  model = build(**fields)
  names = {name: getattr(model, name) for name in ("modalities", "stages", "summarize")}
  assert_equals_its_equations(model, functools.partial(written, **names))


@functools.cache
def small():
  model = build()
  batch = make_batch(model)
  variables = draw(model, batch)
  run = jax.jit(lambda params: model.apply({"params": params}, batch))
  return batch, variables["params"], run


def test_every_stage_spreads_one_unit_of_attention_over_the_units():
  _, params, run = small()
  out = run(params).intermediates
  assert out["attention"].shape == (5, 5, 2, 9)
  np.testing.assert_allclose(out["attention"].sum(-1), 1.0, rtol=1e-5)
  assert ((out["code"] >= 0) & (out["code"] < 1)).all()


def test_one_stage_hands_nothing_on():
  model = build(("audio",), stages=1)
  batch = make_batch(model)
  params = draw(model, batch)["params"]
  run = jax.jit(lambda params: model.apply({"params": params}, batch))
  expected = run(params)
  for name in ("highlight", "fuse"):
    lstm = {**params[name], "recurrent": params[name]["recurrent"] + 1.0}
    found = run({**params, name: lstm})
    np.testing.assert_array_equal(found.predictions, expected.predictions)


def test_memories_that_do_not_read_the_code_are_lstms():
  batch, params, run = small()
  params = jax.tree.map(jnp.asarray, params)
  for m in THREE:
    params[f"lsthm_{m}"]["code_kernel"] *= 0.0
  found = run(params).intermediates["hidden"]
  expected = []
  for m in THREE:
    own = {k: v for k, v in params[f"lsthm_{m}"].items() if k != "code_kernel"}
    cell = Recurrent(WIDTHS[m])
    expected.append(cell.apply({"params": own}, batch.x[m], batch.mask[m])[0])
  np.testing.assert_allclose(found, np.concatenate(expected, -1), rtol=1e-4, atol=1e-6)


def test_the_order_of_modalities_is_that_of_their_weights_and_no_more():
  batch, params, run = small()
  turned = ("vision", "text", "audio")
  ends = np.cumsum([0, *(WIDTHS[m] for m in THREE)])
  rows = {m: np.arange(ends[i], ends[i + 1]) for i, m in enumerate(THREE)}
  order = np.concatenate([rows[m] for m in turned])
  moved = dict(params)
  for name in ("highlight", "fuse"):
    moved[name] = {**params[name], "kernel": params[name]["kernel"][order]}
  moved["attention"] = jax.tree.map(lambda x: x[..., order], params["attention"])
  rest = np.arange(len(order), len(params["hidden"]["kernel"]))
  first = params["hidden"]["kernel"][np.concatenate([order, rest])]
  moved["hidden"] = {**params["hidden"], "kernel": first}
  other = build(turned)
  np.testing.assert_allclose(
    jax.jit(other.apply)({"params": moved}, batch).predictions,
    run(params).predictions,
    rtol=1e-4,
  )


def count(model):
  h = {m: model.widths.get(m, model.width) for m in model.modalities}
  z, total = model.code_width, sum(h.values())
  memories = sum(4 * h[m] * (model.spec.widths[m] + h[m] + z + 1) for m in h)
  look, fuse = model.highlight_width, model.fuse_width
  stages = lstm(total, look) + (look + 1) * total + lstm(total, fuse)
  read = model.stages * fuse if model.summarize == "all" else fuse
  outputs, hidden = math.prod(model.outputs), model.output_width
  last = (total + z + 1) * hidden + (hidden + 1) * outputs
  return memories + stages + (read + 1) * z + last


CASES = {"rmfn": Case(count, SMALL)}


def test_the_stated_sizes_have_their_number_of_parameters():
  spec = Spec(dict.fromkeys(THREE, 2), dict(zip(THREE, (300, 74, 35), strict=True)))
  widths = {"text": 64, "audio": 16, "vision": 32}
  model = models.build("rmfn", spec, widths=widths)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert total == count(model) == 258_289
