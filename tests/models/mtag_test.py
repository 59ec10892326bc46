"""MTAG against its equations, and what its edges are."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.models.mtag import edges, graph
from tests.models.cases import Case
from tests.models.equations import assert_equals, close
from tests.models.recurrent_cases import draw, make_batch
from tests.reference import mtag as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2, "touch": 2}
T = {"text": 4, "audio": 9, "vision": 6, "touch": 5}
SMALL = {"width": 8, "heads": 2, "layers": 2}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("mtag", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "modalities, fields",
  [
    (THREE, {"layers": 3}),
    (("touch",), {"all_to_all": True, "keep": 0.4, "outputs": (2, 2)}),
  ],
  ids=["three", "one"],
)
def test_the_model_equals_its_equations(modalities, fields, monkeypatch):
  # So few that audio and vision come in turns, and that a last turn is not full.
  monkeypatch.setattr(graph, "ELEMENTS", 1000)
  model = build(modalities, **fields)
  shared = {name: getattr(model, name) for name in ("heads", "layers", "keep")}
  one = functools.partial(
    written.mtag, modalities=modalities, all_to_all=model.all_to_all, **shared
  )
  output, samples = assert_equals(model, one)
  starts = dict(zip(modalities, np.cumsum([0, *map(T.get, modalities)]), strict=False))
  at = lambda node: starts[node[0]] + node[1]
  for b, out in enumerate(samples):
    for i, of_edges in enumerate(out["weights"]):
      found = output.intermediates[f"layer_{i}"]["weights"][b]
      weights = np.zeros_like(found)
      for (source, target), weight in of_edges.items():
        weights[at(target), at(source)] = weight
      close(found, weights)
      close(found.sum(-1), found.any(-1))


@functools.cache
def joined():
  """Relations of two modalities, and of every sample its numbers of steps and nodes.

  Their numbers are all from none to 6 and from none to 15, amid holes.
  """
  counts = [*itertools.product(range(7), range(16))]
  random, masks, nodes = np.random.default_rng(0), {}, [{} for _ in counts]
  for k, m in enumerate(("audio", "text")):
    masks[m] = np.zeros((len(counts), 18), bool)
    for b, numbers in enumerate(counts):
      places = np.sort(random.permutation(18)[: numbers[k]])
      masks[m][b, places] = True
      nodes[b][m] = [(m, int(t)) for t in places]
  run = jax.jit(edges.between_all, static_argnames=("leaders", "all_to_all"))
  some, every = (
    np.asarray(run(masks, leaders=leaders, all_to_all=all_to_all))
    for leaders, all_to_all in (((), False), (("text",), True))
  )
  return counts, nodes, some, every


def test_edges_and_windows_are_those_of_any_two_numbers_of_steps():
  _, nodes, some, every = joined()
  for b, of in enumerate(nodes):
    for order, found in ((("audio", "text"), some), (("text", "audio"), every)):
      expected = np.zeros_like(found[b])
      relation = written.graph(of, order, order[0] == "text")
      for (source, target), kind in relation.items():
        at = lambda node: 18 * (node[0] == "text") + node[1]
        expected[at(target), at(source)] = kind + 1
      np.testing.assert_array_equal(found[b], expected)


def test_edges_are_as_many_as_they_should_be_and_time_has_one_direction():
  counts, _, some, every = joined()
  for (n, m), found in zip(counts, some, strict=True):
    if n and m:
      assert (found > 0).sum() == n + m + 2 * (n - 1) + 2 * (m - 1) + 2 * n * m
  for found in (some, every):
    back = found.swapaxes(1, 2)
    np.testing.assert_array_equal(np.where(found > 0, 4 - found, 0), back)


def test_a_sample_keeps_its_share_of_edges_in_any_batch():
  random = np.random.default_rng(0)
  kind = random.integers(0, 4, (4, 9, 9)).astype(np.int8)
  kind[2] = 0
  kind[3] = np.diag([1] + [0] * 8)
  weights = np.where(kind > 0, random.random(kind.shape), 0).astype(np.float32)
  run = jax.jit(graph.pruned, static_argnums=2)
  left = np.asarray(run(kind, weights, 0.8))
  for b, number in enumerate((kind > 0).sum((1, 2))):
    assert (left[b] > 0).sum() == max(math.floor(0.8 * number), min(number, 1))
    kept = weights[b][left[b] > 0].min(initial=1)
    assert (weights[b][(kind[b] > 0) & (left[b] == 0)] < kept).all()
  np.testing.assert_array_equal(left[left > 0], kind[left > 0])
  full = (1 - np.eye(20, dtype=np.int8))[None]
  order = 1 + random.permutation(full.size).reshape(full.shape).astype(np.float32)
  order = full * order
  for keep, number in ((0.65, 247), (0.85, 323), (1 / 3, 126)):
    assert (np.asarray(run(full, order, keep)) > 0).sum() == number
  large = np.ones((1, 1500, 1500), np.int8)  # 999 times which is no int32
  order = np.arange(large.size, dtype=np.float32).reshape(large.shape)
  assert (np.asarray(run(large, order, 0.999)) > 0).sum() == 2_247_750
  same = np.where(kind > 0, np.float32(0.25), 0)
  np.testing.assert_array_equal(run(kind, same, 0.8), kind)


def test_what_is_dropped_does_not_depend_on_padding():
  model = build(("text", "vision"), layers=1, embed_dropout=0.5, attention_dropout=0.5)
  batch = make_batch(model)
  batch.mask["text"] = batch.mask["text"].at[:, -1].set(False)
  cut = lambda tree: {**tree, "text": tree["text"][:, :-1]}
  variables = draw(model, batch)

  @jax.jit
  def run(batch, seed):
    rngs = {"dropout": jax.random.key(seed)}
    return model.apply(variables, batch, train=True, rngs=rngs).predictions

  expected = run(batch, 0)
  shorter = batch.replace(x=cut(batch.x), mask=cut(batch.mask))
  np.testing.assert_allclose(run(shorter, 0), expected, rtol=1e-4, atol=1e-5)
  assert (np.abs(run(batch, 1) - expected)[:-1] > 1e-3).all()


def count(model):
  d, number = model.width, len(model.modalities)
  hidden = model.hidden or d // 4
  layer = number * d * d + 2 * 3 * number**2 * d + d
  embed = sum((model.spec.widths[m] + 1) * d for m in model.modalities)
  head = (d + 1) * hidden + (hidden + 1) * hidden
  return embed + model.layers * layer + head + (hidden + 1) * math.prod(model.outputs)


CASES = {"mtag": Case(count, SMALL)}


@pytest.mark.parametrize("inputs, published", [((300, 5, 20), 117_169)])
def test_published_widths_have_the_published_number_of_parameters(inputs, published):
  spec = Spec(dict.fromkeys(THREE, 2), dict(zip(THREE, inputs, strict=True)))
  model = models.build("mtag", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count(model) == published
