"""The native kernels of attention beside the literal one in double precision."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcr_jax import native
from mcr_jax.errors import UserError
from mcr_jax.ops.attention import attend
from mcr_jax.ops.dropout import Dropout

pytestmark = pytest.mark.skipif(
  not native.status().available, reason=f"native: {native.status()}"
)
RATE, SEED = 0.3, 11


@pytest.fixture(params=native.instructions())
def instructions(request):
  native.use(request.param)
  yield request.param
  native.use(None)


def draw(batch, queries, keys, heads, features, wide=None, spread=1.0):
  """query, key, value, bias and a cotangent, in double precision."""
  random = np.random.default_rng(3)
  normal = lambda *shape: spread * random.normal(size=shape)
  wide = wide or features
  return (
    normal(batch, queries, heads, features),
    normal(batch, keys, heads, features),
    normal(batch, keys, heads, wide),
    normal(batch, keys),
    random.normal(size=(batch, queries, heads, wide)),
  )


def masks(batch, queries, keys):
  """A sample without keys, one without queries, holes, and one that is whole."""
  random = np.random.default_rng(5)
  key, query = random.random((batch, keys)) < 0.6, random.random((batch, queries)) < 0.6
  key[0], query[1] = False, False
  key[-1], query[-1] = True, True
  return key, query


def hidden(x, mask):
  """NaN where the mask hides."""
  return np.where(mask.reshape(*mask.shape, *(1,) * (x.ndim - 2)), x, np.nan)


def step(inputs, mask, query_mask, dtype, implementation, dropped, biased):
  """The value and all gradients, in double precision for the literal attention."""

  @jax.jit
  def run(query, key, value, bias, do):
    def read(query, key, value, bias):
      return attend(
        query,
        key,
        value,
        None if mask is None else jnp.asarray(mask),
        query_mask=None if query_mask is None else jnp.asarray(query_mask),
        bias=bias if biased else None,
        scale=query.shape[-1] ** -0.5,
        dropout=Dropout(RATE, jnp.uint32(SEED)) if dropped else None,
        implementation=implementation,
      )

    value, back = jax.vjp(read, query, key, value, bias)
    return value, *back(do)

  with jax.enable_x64(dtype == np.float64):
    found = run(*(jnp.asarray(x, dtype) for x in inputs))
    return [np.asarray(x, np.float64) for x in found]


def compare(inputs, mask, query_mask, dropped, biased, tolerance=2e-6):
  exact = functools.partial(step, mask=mask, query_mask=query_mask)
  exact = functools.partial(exact, dropped=dropped, biased=biased)
  right = exact(inputs, dtype=np.float64, implementation="literal")
  found = exact(inputs, dtype=np.float32, implementation="native")
  for ours, theirs in zip(found, right, strict=True):
    assert np.isfinite(ours).all()
    size = max(1.0, np.abs(theirs).max())
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=tolerance * size)
  return found


@pytest.mark.parametrize("features", [4, 5, 6, 7, 40, 64])
@pytest.mark.parametrize("dropped", [False, True], ids=["", "dropout"])
def test_values_and_gradients_are_those_of_double_precision(
  features, dropped, instructions
):
  batch, queries, keys = 4, 37, 70
  mask, query_mask = masks(batch, queries, keys)
  query, key, value, bias, do = draw(batch, queries, keys, 2, features)
  query, do = hidden(query, query_mask), hidden(do, query_mask)
  key, value, bias = (hidden(x, mask) for x in (key, value, bias))
  inputs = query, key, value, bias, do
  read, to_query, to_key, to_value, to_bias = compare(
    inputs, mask, query_mask, dropped, biased=True
  )
  assert not read[~query_mask].any() and not to_query[~query_mask].any()
  assert not read[0].any() and not to_query[0].any()
  for gradient in (to_key, to_value, to_bias):
    assert not gradient[~mask].any() and gradient[-1].any()


sizes = st.integers(1, 70)


@settings(max_examples=8, deadline=None)
@given(
  st.integers(1, 3), sizes, sizes, st.integers(1, 3), st.integers(1, 64),
  st.integers(1, 64), st.booleans(), st.booleans(), st.integers(0, 2**16),
)  # fmt: skip
def test_any_shape_and_mask(
  batch, queries, keys, heads, features, wide, dropped, biased, seed
):
  random = np.random.default_rng(seed)
  mask = random.random((batch, keys)) < 0.5
  inputs = draw(batch, queries, keys, heads, features, wide)
  compare(inputs, mask, None, dropped, biased, tolerance=4e-6)


@pytest.mark.parametrize("spread", [1.0, 10.0**0.5, 10.0])
def test_wide_scores_are_no_less_exact_than_those_of_the_others(spread, instructions):
  inputs = draw(2, 200, 300, 3, 4, spread=spread)
  options = dict(mask=None, query_mask=None, dropped=False, biased=False)
  run = lambda name, dtype: step(inputs, dtype=dtype, implementation=name, **options)
  right = run("literal", np.float64)
  worst = {
    name: max(
      np.abs(a - b).max() / np.abs(b).max()
      for a, b in zip(run(name, np.float32)[:4], right[:4], strict=True)
    )
    for name in ("auto", "native")
  }
  assert worst["native"] <= 2 * max(worst["auto"], 2e-7), worst


def test_a_diverged_number_is_not_hidden(instructions):
  query, key, value, *_ = draw(2, 5, 9, 2, 4)
  key[1, 3] = np.nan
  inputs = (jnp.asarray(x, jnp.float32) for x in (query, key, value))
  read = attend(*inputs, scale=0.5, implementation="native")
  assert np.isfinite(read[0]).all() and np.isnan(read[1]).all()


def test_half_precision_is_summed_in_single(instructions):
  inputs = [jnp.asarray(x, jnp.bfloat16) for x in draw(2, 9, 300, 2, 4)[:3]]
  run = functools.partial(attend, scale=0.5, implementation="native")
  exact = run(*(x.astype(jnp.float32) for x in inputs))
  assert run(*inputs).dtype == jnp.bfloat16
  np.testing.assert_array_equal(run(*inputs), exact.astype(jnp.bfloat16))


def spread_over(mesh, inputs, by_sample, step):
  """The step by shares, and the text of its program."""
  placed = jax.device_put(inputs, by_sample)
  compiled = jax.jit(step, out_shardings=by_sample).lower(*placed).compile()
  return compiled(*placed), compiled.as_text()


@pytest.mark.parametrize("dropped", [False, True], ids=["", "dropout"])
def test_devices_compute_their_own_samples_of_their_own_seeds(dropped):
  if jax.device_count() % 4:
    pytest.skip("needs four devices")
  seeds, batch, queries, keys = 2, 8, 5, 7
  mesh = jax.make_mesh(
    (2, jax.device_count() // 2), ("seed", "data"), (jax.sharding.AxisType.Auto,) * 2
  )
  by_sample = jax.sharding.NamedSharding(mesh, jax.P("seed", "data"))
  mask, query_mask = masks(batch, queries, keys)
  inputs = [jnp.asarray(x, jnp.float32) for x in draw(batch, queries, keys, 2, 4)]
  inputs = [jnp.stack([x, 2 * x]) for x in inputs]
  inputs += [jnp.stack([x, x]) for x in (mask, query_mask)]

  def one(query, key, value, bias, do, mask, query_mask):
    def read(query, key, value, bias):
      return attend(
        query,
        key,
        value,
        mask,
        query_mask=query_mask,
        bias=bias,
        scale=0.5,
        dropout=Dropout(RATE, jnp.uint32(SEED)) if dropped else None,
        implementation="native",
      )

    value, back = jax.vjp(read, query, key, value, bias)
    return value, *back(do)

  step = jax.vmap(one, spmd_axis_name="seed")
  found, text = spread_over(mesh, inputs, by_sample, step)
  for transfer in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
    assert transfer not in text
  for ours, theirs in zip(found, jax.jit(step)(*inputs), strict=True):
    np.testing.assert_array_equal(ours, theirs)
  one_by_one = [jax.jit(one)(*(x[i] for x in inputs)) for i in range(seeds)]
  for ours, theirs in zip(found, zip(*one_by_one, strict=True), strict=True):
    np.testing.assert_array_equal(ours, jnp.stack(theirs))


def test_rematerialisation_may_keep_what_was_read():
  inputs = [jnp.asarray(x, jnp.float32) for x in draw(2, 9, 11, 2, 4)[:3]]
  read = functools.partial(attend, scale=0.5, implementation="native")
  loss = lambda *x: jnp.square(read(*x)).sum()
  policy = jax.checkpoint_policies.save_only_these_names("attention")
  again = jax.checkpoint(loss, policy=policy)
  for function in (loss, jax.checkpoint(loss), again):
    for ours, theirs in zip(
      jax.jit(jax.grad(function, (0, 1, 2)))(*inputs),
      jax.grad(loss, (0, 1, 2))(*inputs),
      strict=True,
    ):
      np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)
  text = str(jax.make_jaxpr(jax.grad(again))(*inputs))
  assert text.count("mcr_jax_attention_forward") == 1


def test_memory_grows_with_the_steps_and_not_with_their_pairs():
  def temporary(length):
    x = jax.ShapeDtypeStruct((8, length, 2, 4), jnp.float32)
    loss = lambda x: attend(x, x, x, scale=0.5, implementation="native").sum()
    compiled = jax.jit(jax.grad(loss)).lower(x).compile()
    return compiled.memory_analysis().temp_size_in_bytes

  assert temporary(4000) < 4.4 * temporary(1000)


def test_what_the_kernels_do_not_have_is_left_to_auto_and_counted():
  native.fallbacks.clear()
  inputs = [jnp.asarray(x, jnp.float32) for x in draw(1, 2, 3, 1, 300)[:3]]
  ours = attend(*inputs, scale=0.1, implementation="native")
  np.testing.assert_array_equal(ours, attend(*inputs, scale=0.1))
  with jax.enable_x64(True):
    x = jnp.ones((1, 2, 1, 4), jnp.float64)
    attend(x, x, x, scale=1.0, implementation="native")
  assert native.fallbacks == {"heads of 300 features": 1, "float64": 1}
  native.fallbacks.clear()


def test_a_program_names_its_instruction_set(instructions):
  x = jax.ShapeDtypeStruct((1, 2, 1, 4), jnp.float32)
  read = lambda x: attend(x, x, x, scale=1.0, implementation="native")
  assert f'"{instructions}"' in jax.jit(read).lower(x).as_text()


def test_an_instruction_set_that_is_not_there_is_refused():
  with pytest.raises(UserError, match="sse9"):
    native.use("sse9")
