"""MTAG against its equations, and what its edges are."""

import functools
import itertools
import math

import jax
import jax.numpy as jnp
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
SMALL = {"width": 8, "heads": 2, "layers": 2, "hidden": 4}


def build(modalities=THREE, outputs=(1,), **fields):
  spec = Spec({m: T[m] for m in modalities}, {m: D[m] for m in modalities}, outputs)
  return models.build("mtag", spec, **{**SMALL, **fields})


@pytest.mark.parametrize(
  "modalities, fields",
  [
    (THREE, {"layers": 3}),
    (("touch", "vision"), {"all_to_all": True, "keep": 0.4, "outputs": (2, 2)}),
  ],
  ids=["three", "two"],
)
def test_the_model_equals_its_equations(modalities, fields, monkeypatch):
  # So few that rows come in turns, and in a last one that is not full.
  monkeypatch.setattr(graph, "ELEMENTS", 400)
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
      weights = np.zeros_like(output.intermediates[f"layer_{i}"]["weights"][b])
      for (source, target), weight in of_edges.items():
        weights[at(target), at(source)] = weight
      close(output.intermediates[f"layer_{i}"]["weights"][b], weights)


def count(model):
  d, hidden, number = model.width, model.hidden, len(model.modalities)
  layer = number * d * d + 2 * 3 * number**2 * d + d
  embed = sum((model.spec.widths[m] + 1) * d for m in model.modalities)
  head = (d + 1) * hidden + (hidden + 1) * hidden
  return embed + model.layers * layer + head + (hidden + 1) * math.prod(model.outputs)


CASES = {"mtag": Case(count, SMALL)}
