"""The kernel of our own, in the interpreter, and as far towards a GPU as one can go."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.ops.attention import attend, fused, tiles
from mcr_jax.ops.dropout import Dropout


def draw(batch, queries, keys, heads, features, width, dtype):
  """Inputs with holes in the mask; the last sample has no key."""
  random = np.random.default_rng(5)
  normal = lambda *shape: jnp.asarray(random.normal(size=shape), dtype)
  mask = random.random((batch, keys)) < 0.7
  mask[-1] = False
  return (
    normal(batch, queries, heads, features),
    normal(batch, keys, heads, features),
    normal(batch, keys, heads, width),
    normal(batch, keys),
    jnp.asarray(mask),
  )


def step(implementation, dropout, scale=0.4):
  """What is read, and every gradient."""

  def run(query, key, value, bias, mask):
    read = lambda q, k, v, b: attend(
      q, k, v, mask, bias=b, scale=scale, dropout=dropout, implementation=implementation
    )
    loss = lambda *x: jnp.square(read(*x)).sum()
    inputs = query, key, value, bias
    return read(*inputs), jax.grad(loss, (0, 1, 2, 3))(*inputs)

  return run


@pytest.mark.parametrize("rate", [0.0, 0.3])
@pytest.mark.parametrize(
  "shape", [(2, 11, 19, 2, 3, 2), (2, 17, 8, 1, 1, 5)], ids=["11x19", "17x8"]
)
def test_blocks_of_odd_lengths_agree_with_the_stored_weights(shape, rate, monkeypatch):
  monkeypatch.setattr(tiles, "ROWS", 8)
  monkeypatch.setattr(tiles, "COLUMNS", dict.fromkeys(tiles.COLUMNS, 8))
  dropout = Dropout(rate, jnp.uint32(7)) if rate else None
  with jax.enable_x64(True):
    inputs = draw(*shape, jnp.float64)
    ours = jax.jit(step("pallas", dropout))(*inputs)
    right = jax.jit(step("literal", dropout))(*inputs)
  close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)
  jax.tree.map(close, ours, right)


@pytest.mark.parametrize("most", set(tiles.COLUMNS.values()))
def test_tiles_cover_the_columns_and_waste_less_than_eight_a_step(most):
  for columns in range(1, 300):
    tile = tiles.Tile.over(columns, most, True)
    assert tile.columns % 8 == 0 and tile.columns <= most
    assert columns <= tile.steps * tile.columns < columns + 8 * tile.steps
    # What is allocated are whole blocks of rows.
    assert tile.steps * tile.columns <= -(-columns // tiles.ROWS) * tiles.ROWS


def test_no_pass_takes_or_gives_an_array_of_queries_by_keys():
  inputs = [
    jax.ShapeDtypeStruct(x.shape, x.dtype)
    for x in draw(1, 200, 300, 2, 4, 4, jnp.float32)
  ]
  traced = str(jax.make_jaxpr(step("pallas", Dropout(0.1, jnp.uint32(1))))(*inputs))
  sizes = {(200, 300), (300, 200), (256, 320), (320, 256)}
  assert not any(f"[1,2,{q},{k}]" in traced for q, k in sizes)


def test_wide_heads_are_left_to_auto():
  inputs = draw(1, 3, 4, 1, fused.MAX_FEATURES + 1, 2, jnp.float32)
  traced = lambda name: str(jax.make_jaxpr(step(name, None))(*inputs))
  assert traced("pallas") == traced("auto")


@pytest.mark.parametrize(
  "capability, dtype, reason",
  [("8.0", "float32", "this GPU has 8.0"), ("9.0", "float64", "this is float64")],
)
def test_a_gpu_that_cannot_serve_is_told_why(capability, dtype, reason):
  with pytest.raises(UserError, match=reason):
    fused.require(capability, jnp.dtype(dtype))
  fused.require("10.0", jnp.dtype("bfloat16"))


def pipeline(dropout, features):
  """The whole step, lowered for CUDA, which needs no GPU."""

  def read(query, key, value, bias, mask):
    key, value = (jnp.where(mask[..., None, None], x, 0.0) for x in (key, value))
    return fused.attend(query, key, value, mask, bias, 0.5, dropout, gpu=True)

  def run(*inputs):
    loss = lambda *x: jnp.square(read(*x, inputs[-1])).sum()
    return jax.grad(loss, (0, 1, 2, 3))(*inputs[:-1])

  inputs = draw(2, 70, 130, 2, features, features, jnp.float32)
  return jax.jit(run).trace(*inputs).lower(lowering_platforms=("cuda",)).as_text()


@pytest.mark.parametrize("features, rate", [(4, 0.2), (5, 0.0)])
def test_every_pass_lowers_for_cuda_without_a_gpu(features, rate):
  text = pipeline(Dropout(rate, jnp.uint32(3)) if rate else None, features)
  assert text.count("custom_call @mosaic_gpu") == 3
