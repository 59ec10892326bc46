"""What "auto" chooses, beside every timing that was taken."""

import collections
import json
import pathlib
import statistics

import jax
import jax.numpy as jnp
import pytest

from mcr_jax import native
from mcr_jax.ops.attention import attend, choose
from mcr_jax.ops.dropout import Dropout

RESULTS = pathlib.Path(__file__).resolve().parents[2] / "benchmarks/results"
TABLE, NATIVE = RESULTS / "attention_cpu.json", RESULTS / "attention_native.json"


@pytest.fixture
def without_kernels():
  """As where no compiler was."""
  native.hold("no (it was not built)", "runs/x")
  yield
  native.use(None)


def shapes(table=TABLE):
  """The rows of a shape, dtype and dropout."""
  found = collections.defaultdict(list)
  for row in json.loads(table.read_text())["rows"]:
    found[row["shape"], row["dtype"], row["dropout"]].append(row)
  return found


@pytest.mark.parametrize("place", shapes(), ids=lambda p: " ".join(map(str, p)))
def test_auto_is_at_most_a_twentieth_slower_than_the_best_on_a_cpu(place):
  rows = shapes()[place]
  middle = {row["implementation"]: statistics.median(row["ms"]) for row in rows}
  ours = middle[choose("cpu", *rows[0]["sizes"][:4], dropped=place[2] > 0)]
  assert ours <= 1.05 * min(middle.values()), middle


@pytest.mark.parametrize("place", shapes(NATIVE), ids=lambda p: " ".join(map(str, p)))
def test_the_kernels_are_at_most_a_twentieth_slower_than_what_they_replace(place):
  rows = shapes(NATIVE)[place]
  middle = {row["implementation"]: statistics.median(row["cpu_ms"]) for row in rows}
  sizes, dropped = rows[0]["sizes"][:4], place[2] > 0
  before = middle[choose("cpu", *sizes, dropped)]
  assert choose("cpu", *sizes, dropped, kernels=True) == "native"
  for instructions in ("native", "native avx2"):
    assert middle[instructions] <= 1.05 * before, middle


def test_auto_is_native_where_the_kernels_have_the_call():
  x = jax.ShapeDtypeStruct((2, 3, 1, 4), jnp.float32)

  def traced(dtype):
    read = lambda x: attend(x.astype(dtype), x, x, scale=0.5)
    return str(jax.make_jaxpr(read)(x))

  there = native.status().available
  assert ("mcr_jax_attention_forward" in traced(jnp.float32)) == there
  with jax.enable_x64(True):
    assert "mcr_jax_attention_forward" not in traced(jnp.float64)
  native.hold("no (it was not built)", "runs/x")
  assert "mcr_jax_attention_forward" not in traced(jnp.float32)
  native.use(None)


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
def test_weights_are_stored_only_where_they_are_few(
  length, dropped, expected, without_kernels
):
  x = jax.ShapeDtypeStruct((8, length, 3, 4), jnp.float32)
  options = dict(scale=0.5, dropout=Dropout(0.2, jnp.uint32(1)) if dropped else None)
  read = lambda x, name: attend(x, x, x, implementation=name, **options).sum()
  traced = lambda name: str(jax.make_jaxpr(jax.grad(read), static_argnums=1)(x, name))
  found = {name: traced(name) for name in ("auto", "dense", "blocked")}
  assert found["dense"] != found["blocked"]
  assert found["auto"] == found[expected]
