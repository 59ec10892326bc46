"""What "auto" chooses, beside every timing that was taken."""

import collections
import json
import pathlib
import statistics

import jax
import jax.numpy as jnp
import pytest

from mcr_jax.ops.attention import attend, choose
from mcr_jax.ops.dropout import Dropout

TABLE = (
  pathlib.Path(__file__).resolve().parents[2] / "benchmarks/results/attention_cpu.json"
)


def shapes():
  """The rows of a shape, dtype and dropout."""
  found = collections.defaultdict(list)
  for row in json.loads(TABLE.read_text())["rows"]:
    found[row["shape"], row["dtype"], row["dropout"]].append(row)
  return found


@pytest.mark.parametrize("place", shapes(), ids=lambda p: " ".join(map(str, p)))
def test_auto_is_at_most_a_twentieth_slower_than_the_best_on_a_cpu(place):
  rows = shapes()[place]
  middle = {row["implementation"]: statistics.median(row["ms"]) for row in rows}
  ours = middle[choose("cpu", *rows[0]["sizes"][:4], dropped=place[2] > 0)]
  assert ours <= 1.05 * min(middle.values()), middle


def test_what_was_not_proved_on_a_gpu_is_never_chosen_there():
  for steps in (1, 50, 500, 5000):
    assert choose("gpu", 64, steps, steps, 10, dropped=False) in ("literal", "blocked")


@pytest.mark.parametrize(
  "length, dropped, expected",
  [
    (20, False, "dense"),
    (20, True, "blocked"),
    (150, False, "dense"),
    (150, True, "dense"),
    (300, False, "blocked"),
    (700, False, "blocked"),
  ],
)
def test_weights_are_stored_only_where_they_are_few(length, dropped, expected):
  x = jax.ShapeDtypeStruct((8, length, 3, 4), jnp.float32)
  options = dict(scale=0.5, dropout=Dropout(0.2, jnp.uint32(1)) if dropped else None)
  read = lambda x, name: attend(x, x, x, implementation=name, **options).sum()
  traced = lambda name: str(jax.make_jaxpr(jax.grad(read), static_argnums=1)(x, name))
  found = {name: traced(name) for name in ("auto", "dense", "blocked")}
  assert found["dense"] != found["blocked"]
  assert found["auto"] == found[expected]
