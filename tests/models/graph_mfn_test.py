"""Graph-MFN against its equations, and what the paper says of its graph."""

import functools
import math

import jax
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.models.graph_mfn import edges, vertices
from tests.models.cases import Case
from tests.models.mfn_test import lstm, mlp
from tests.models.recurrent_cases import assert_equals_its_equations, draw, make_batch
from tests.reference.graph_mfn import graph_mfn as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"width": 3, "memory": 6, "graph_width": 5, "vertex_width": 4} | {
  f"{name}_width": size
  for name, size in zip(
    ("proposal", "retain", "update", "output"), (3, 4, 5, 7), strict=True
  )
}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec(dict.fromkeys(modalities, 5), {m: D[m] for m in modalities}, outputs)
  return models.build("graph_mfn", spec, **{**SMALL, **fields})


def test_the_model_equals_its_equations():
  model = build()
  params, gradient = assert_equals_its_equations(
    model, functools.partial(written, modalities=THREE)
  )
  # Also those of the sets, which the released code never trains.
  idle = [name for name in params if not all(map(np.any, gradient[name].values()))]
  assert not idle


def test_the_graph_of_the_code_equals_its_equations():
  modalities, fields = ("text", "vision"), {"graph": "linear", "read": "hidden"}
  reference = functools.partial(written, modalities=modalities, **fields)
  assert_equals_its_equations(build(modalities, (4, 2), **fields), reference)


def test_edges_come_by_target_then_by_source():
  assert [len(edges(THREE[:n])) for n in (1, 2, 3)] == [1, 5, 19]
  assert len(edges(("a", "b", "c", "d"))) == 65
  a, b, c = (("text",), ("audio",), ("vision",))
  pairs = [a + b, a + c, b + c]
  assert vertices(THREE) == [a, b, c, *pairs, THREE]
  expected = [(r, s) for s in pairs for r in (s[:1], s[1:])]
  expected += [(r, THREE) for r in (a, b, c, *pairs)]
  assert edges(THREE) == expected + [(r, ()) for r in vertices(THREE)]


@functools.cache
def small():
  model = build()
  batch = make_batch(model)
  variables = draw(model, batch)
  return (
    variables["params"],
    jax.jit(lambda p: model.apply({"params": p}, batch)),
    batch,
  )


def test_efficacies_lie_between_0_and_1_and_are_0_from_what_is_not_there():
  params, run, batch = small()
  efficacies = np.asarray(run(params).intermediates["efficacies"])
  assert efficacies.shape[-1] == 19
  # The second sample lacks text, and the last everything.
  silent = np.array([source == ("text",) for source, _ in edges(THREE)])
  assert not efficacies[1][:, silent].any() and not efficacies[-1].any()
  open_ = efficacies[1][:, ~silent]
  assert ((open_ > 0) & (open_ < 1)).all()
  assert ((efficacies[0] > 0) & (efficacies[0] < 1)).all()


def test_without_its_edges_a_modality_moves_the_memory_by_efficacies_alone():
  params, run, _ = small()
  params = jax.tree.map(np.array, params)
  memory = lambda: np.asarray(run(params).intermediates["memory"])
  shift = lambda: params["single_text"].update(bias=params["single_text"]["bias"] + 1.0)
  # Efficacies that hang on nothing: text moves the memory by its edges.
  params["efficacies"]["kernel"] *= 0
  before = memory()
  shift()
  assert (before != memory()).any()
  out_of_text = [source == ("text",) for source, _ in edges(THREE)]
  params["efficacies"]["bias"][out_of_text] = -np.inf
  before = memory()
  shift()
  np.testing.assert_array_equal(before, memory())
  params["efficacies"]["kernel"] += 0.5
  before = memory()
  shift()
  assert (before != memory()).any()


def count(model):
  names, k, g = model.modalities, model.vertex_width, model.graph_width
  h = {m: model.widths.get(m, model.width) for m in names}
  network = lambda inputs: (inputs + 1) * g + (g + 1) * k
  total, sets = sum(h.values()), vertices(names)
  found = sum(lstm(model.spec.widths[m], h[m]) + (2 * h[m] + 1) * h[m] for m in names)
  for s in sets[len(names) :]:
    size = len(s)
    found += network(sum(h[m] for m in s) + (2**size - 2 - size) * k)
  found += network(total + (2 ** len(names) - len(names) - 1) * k)
  found += network(total) + (k + 1) * len(edges(names))
  found += mlp(k, model.proposal_width, model.memory)
  for size in (model.retain_width, model.update_width):
    found += mlp(k + model.memory, size, model.memory)
  outputs = math.prod(model.outputs)
  return found + mlp(total + model.memory, model.output_width, outputs)


CASES = {"graph_mfn": Case(count, SMALL)}


@pytest.mark.parametrize(
  "widths, k, hidden, published, vertex",
  [
    ((256, 32, 256), 64, (32, 128, 64, 256), 1_862_064, 208_656),
    ((64, 16, 64), 128, (32, 64, 256, 128), 689_120, 133_712),
  ],
  ids=["mosi", "mosei"],
)
def test_public_settings_have_their_number_of_parameters(
  widths, k, hidden, published, vertex
):
  spec = Spec(
    dict.fromkeys(THREE, 2), dict(zip(THREE, (300, 74, 35), strict=True)), (1,)
  )
  names = ("proposal", "retain", "update", "output")
  sizes = {f"{n}_width": size for n, size in zip(names, hidden, strict=True)}
  widths = dict(zip(THREE, widths, strict=True))
  model = models.build(
    "graph_mfn", spec, widths=widths, memory=300, vertex_width=k, **sizes
  )
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  size = lambda tree: sum(leaf.size for leaf in jax.tree.leaves(tree))
  assert size(params) == count(model) == published
  sets = {name: tree for name, tree in params.items() if name.startswith("vertex_")}
  assert size(sets) == vertex
