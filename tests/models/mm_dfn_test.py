"""MM-DFN against its equations, and what its graph must be."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import losses, models
from mcr_jax.contract import Spec
from mcr_jax.models.mm_dfn import Graph
from tests.models import dialogues
from tests.models.cases import Case
from tests.reference.mm_dfn import mm_dfn as written
from tests.slopes import assert_gradient

SMALL = {"width": 2, "recurrent_layers": 2, "graph_width": 3, "layers": 2}
build = lambda **fields: dialogues.build("mm_dfn", **{**SMALL, **fields})


def count(model):
  names, w, g = model.modalities, model.width, model.graph_width
  gru = 2 * (3 * w * (2 * w + w) + 4 * w)
  project = sum((d + 1) * 2 * w for d in model.spec.widths.values())
  lstm = 4 * g * (2 * g + 1)
  graph = (2 * w + 1) * g + (lstm if model.layers else 0) + model.layers * 2 * g * g
  last = (len(names) * (2 * w + g) + 1) * math.prod(model.outputs)
  return project + 2 * model.recurrent_layers * gru + graph + last


CASES = {"mm_dfn": Case(count, {**SMALL, "recurrent_layers": 1})}


def test_the_model_equals_its_equations():
  with jax.enable_x64(True):
    model = build(main="audio", speaker_weights={"text": 0.3})
    shares = {"text": 0.3, "audio": 1.5}
    batch = dialogues.make_batch(model)
    params = dialogues.draw(model, batch)["params"]
    weigh = np.random.default_rng(5).normal(size=(3, dialogues.U, 3))
    weigh[dialogues.SPEAKER < 0] = 0

    def run(params):
      output = model.apply({"params": params}, batch)
      return (weigh * output.predictions).sum(), output

    (_, output), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    params = jax.tree.map(np.asarray, params)

    def expected(params, b):
      return written(
        params,
        *dialogues.dialogue(batch, b),
        main="audio",
        shares=shares,
        recurrent_layers=2,
        layers=2,
      )

    def number(params):
      each = enumerate(dialogues.TURNS)
      return sum((weigh[b, :n] * expected(params, b)[0]).sum() for b, n in each)

    assert_gradient(number, params, gradient)
    drawn = jax.tree.map(np.asarray, output.intermediates["graph"])
    for b, turns in enumerate(dialogues.TURNS):
      predictions, matrix = expected(params, b)
      close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12)
      close(output.predictions[b, :turns], predictions)
      blocks = matrix.reshape(2, turns, 2, turns)
      for n in range(2):
        close(drawn["within"][b, n, :turns, :turns], blocks[n, :, n])
        across = np.diagonal(blocks[n, :, 1 - n])
        close(drawn["across"][b, n, 1 - n, :turns], across)
      assert not drawn["across"][b, range(2), range(2)].any()


def test_it_keeps_what_holds_of_dialogues():
  dialogues.check(build(recurrent_layers=1))


def nodes(dtype):
  """X of two dialogues, of three modalities: some nodes miss, one is a zero vector."""
  random = np.random.default_rng(0)
  x = random.normal(size=(2, 3, 5, 4))
  x[0, 0, 1] = 0
  here = random.random((2, 3, 5)) < 0.7
  here[:, 0, :2], here[1, :, 2] = True, False
  return jnp.asarray(np.where(here[..., None], x, 0), dtype), jnp.asarray(here)


def test_a_graph_is_symmetric_with_one_as_its_largest_eigenvalue():
  with jax.enable_x64(True):
    x, here = nodes(jnp.float64)
    graph = Graph.of(x, here)
    for b in range(2):
      matrix = np.zeros((3, 5, 3, 5))
      for n in range(3):
        matrix[n, :, n] = graph.within[b, n]
        for m in set(range(3)) - {n}:
          matrix[n, range(5), m, range(5)] = graph.across[b, n, m]
      matrix = matrix.reshape(15, 15)
      np.testing.assert_allclose(matrix, matrix.T, atol=1e-15)
      assert np.linalg.eigvalsh(matrix).max() == pytest.approx(1, abs=1e-9)
      missing = ~np.asarray(here[b]).reshape(-1)
      assert missing.any() and not matrix[missing].any()
      g = np.random.default_rng(b).normal(size=(2, 3, 5, 2))
      spread = graph.spread(jnp.asarray(g))[b].reshape(15, 2)
      np.testing.assert_allclose(spread, matrix @ g[b].reshape(15, 2), rtol=1e-10)


def test_a_vector_of_zeros_has_half_an_edge_and_a_finite_gradient():
  x, here = nodes(jnp.float32)
  graph = Graph.of(x, here)
  # Of a zero vector all edges weigh 1/2, also that to itself.
  degree = 0.5 * (here[0, 0].sum() + here[0, 1:, 1].sum())
  np.testing.assert_allclose(graph.within[0, 0, 1, 1], 0.5 / degree, rtol=1e-5)
  slope = jax.jit(jax.grad(lambda x: (Graph.of(x, here).within ** 2).sum()))(x)
  assert np.isfinite(slope).all()


def test_without_layers_a_node_is_x_and_what_is_first_made_of_it():
  with jax.enable_x64(True):
    model = build(layers=0)
    batch = dialogues.make_batch(model)
    params = dialogues.draw(model, batch)["params"]
    features = jax.jit(model.apply)({"params": params}, batch).intermediates["features"]
    params = jax.tree.map(np.asarray, params)
    params["graph"] |= {"lstm": None, "kernels": None}
    predictions, _ = written(
      params,
      *dialogues.dialogue(batch, 0),
      main="text",
      shares={"text": 1.5, "audio": 0.5},
      recurrent_layers=2,
      layers=0,
    )
  found = (
    np.asarray(features[0]) @ params["output"]["kernel"] + params["output"]["bias"]
  )
  np.testing.assert_allclose(found, predictions, rtol=1e-10)
  assert features.shape[-1] == 2 * (4 + 3)


def test_with_one_speaker_and_the_same_weights_both_grus_say_the_same():
  with jax.enable_x64(True):
    model = build(modalities=("text",), layers=0, speaker_weights={"text": 1.0})
    batch = dialogues.make_batch(model)
    batch = batch.replace(
      more=batch.more | {"speaker": jnp.where(batch.more["turn"], 0, -1)}
    )
    params = dialogues.draw(model, batch)["params"]
    same = {**params, "speaker": params["context"]}
    silent = jax.tree.map(jnp.zeros_like, params["speaker"])
    run = jax.jit(lambda p: model.apply({"params": p}, batch).intermediates["features"])
    x = lambda speaker: run({**params, "speaker": speaker})[..., :4]
    np.testing.assert_allclose(x(same["speaker"]), 2 * x(silent), rtol=1e-10)
    assert x(silent).any()


def test_a_detached_focal_loss_has_the_gradient_of_a_weighed_cross_entropy():
  logits = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)
  label = jnp.array([0, 2, 1, 1])
  slope = lambda **given: jax.grad(
    lambda x: losses.per_example("focal", x, label, parameters=given).sum()
  )(logits)
  share = jax.nn.softmax(logits)[jnp.arange(4), label]
  plain = jax.grad(lambda x: losses.cross_entropy(x, label).sum())(logits)
  expected = jnp.sqrt(1 - share)[:, None] * plain
  found = slope(focal_gamma=0.5, focal_detached=True)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
  assert np.abs(slope(focal_gamma=0.5) - expected).max() > 1e-2


def test_published_settings_have_the_published_number_of_parameters():
  widths = {"text": 600, "audio": 300, "vision": 342}
  columns = ("turn", "speaker")
  spec = Spec(
    dict.fromkeys(widths, 1), widths, (7,), unit="dialogue", turns=3, columns=columns
  )
  model = models.build("mm_dfn", spec)
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  # A second bias of the gates of every cell, which we do not have.
  twice = 8 * 2 * 100 + 4 * 100
  assert total == count(model) == 1_721_007 - twice
