"""Every implementation of attention against loops in NumPy, and what all promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcr_jax import native
from mcr_jax.errors import UserError
from mcr_jax.ops import attention
from mcr_jax.ops.attention import attend, attention_weights, blocked, library
from mcr_jax.ops.dropout import Dropout, keep_mask

B, Q, K, H, D, E = 4, 5, 7, 2, 3, 2
SCALE = 0.6
DROPOUT = Dropout(0.3, jnp.uint32(11))
FULL = np.ones((B, K), bool)
HOLES = np.array([[1, 1, 1, 0, 0, 0, 0], [0] * 7, [1, 0, 1, 1, 0, 0, 1], [1] * 7], bool)


def build():
  random = np.random.default_rng(3)
  shapes = (B, Q, H, D), (B, K, H, D), (B, K, H, E), (B, K)
  return tuple(random.normal(size=shape) for shape in shapes)


def single():
  """The same, on the device and in single precision."""
  return tuple(jnp.asarray(x, jnp.float32) for x in build())


def reference(query, key, value, bias, mask, kept=None):
  """Softmax attention as it is written on paper."""
  read = np.zeros((B, Q, H, E))
  for b, q, h in np.ndindex(B, Q, H):
    seen = np.flatnonzero(mask[b])
    if len(seen):
      scores = np.exp(key[b, seen, h] @ query[b, q, h] * SCALE + bias[b, seen])
      weights = scores / scores.sum()
      if kept is not None:
        weights = weights * kept[b, h, q, seen] / (1 - DROPOUT.rate)
      read[b, q, h] = weights @ value[b, seen, h]
  return read


def slopes(function, inputs, step=1e-5):
  """The gradient of the sum of squares of `function`, by central differences."""
  total = lambda: np.square(function(*inputs)).sum()
  gradients = []
  for x in inputs:
    gradient = np.zeros(x.shape)
    for index in np.ndindex(*x.shape):
      value = x[index]
      x[index] = value + step
      above = total()
      x[index] = value - step
      gradient[index] = (above - total()) / (2 * step)
      x[index] = value
    gradients.append(gradient)
  return gradients


@functools.cache
def expected(holes, biased, dropped):
  inputs = build()
  mask = HOLES if holes else FULL
  kept = (
    np.asarray(keep_mask(DROPOUT.seed, (B, H, Q, K), DROPOUT.rate)) if dropped else None
  )
  bias = lambda x: x if biased else np.zeros_like(x)
  function = lambda q, k, v, b: reference(q, k, v, bias(b), mask, kept)
  return function(*inputs), slopes(function, inputs)


@pytest.mark.parametrize("dropped", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "bias"])
@pytest.mark.parametrize("holes", [False, True], ids=["", "mask"])
@pytest.mark.parametrize(
  "implementation, size",
  [
    ("literal", 1),
    ("dense", 1),
    ("blocked", 1),
    ("blocked", 80),
    ("blocked", 10**6),
    ("pallas", 1),
  ],
)
def test_values_and_gradients_agree_with_loops_in_numpy(
  implementation, size, holes, biased, dropped, monkeypatch
):
  monkeypatch.setattr(attention, "CACHED", size)

  def function(query, key, value, bias):
    return attend(
      query,
      key,
      value,
      jnp.asarray(HOLES) if holes else None,
      bias=bias if biased else None,
      scale=SCALE,
      dropout=DROPOUT if dropped else None,
      implementation=implementation,
    )

  with jax.enable_x64(True):
    inputs = tuple(map(jnp.asarray, build()))
    loss = lambda *x: jnp.square(function(*x)).sum()
    read, gradients = jax.jit(
      lambda *x: (function(*x), jax.grad(loss, (0, 1, 2, 3))(*x))
    )(*inputs)
  value, slope = expected(holes, biased, dropped)
  np.testing.assert_allclose(read, value, atol=1e-12)
  for ours, theirs in zip(gradients, slope, strict=True):
    np.testing.assert_allclose(ours, theirs, atol=1e-8)


def some(implementation, monkeypatch):
  monkeypatch.setattr(attention, "CACHED", 30)
  options = dict(scale=SCALE, dropout=DROPOUT, implementation=implementation)
  return jax.jit(functools.partial(attend, **options))


needs_native = pytest.mark.skipif(
  not native.status().available, reason=f"native: {native.status()}"
)
each = pytest.mark.parametrize(
  "implementation",
  ["literal", "dense", "blocked", "pallas", pytest.param("native", marks=needs_native)],
)


@each
@pytest.mark.parametrize("junk", [np.nan, np.inf, 1e30])
def test_what_stands_in_padding_reaches_neither_output_nor_gradients(
  implementation, junk, monkeypatch
):
  function = some(implementation, monkeypatch)
  query, key, value, bias = single()
  mask = jnp.asarray(HOLES)

  @jax.jit
  def run(key, value, bias):
    loss = lambda q, k, v, b: jnp.square(function(q, k, v, mask, bias=b)).sum()
    return jax.value_and_grad(loss, (0, 1, 2, 3))(query, key, value, bias)

  spoil = lambda x: np.where(
    HOLES.reshape(B, K, *(1,) * (x.ndim - 2)), x, np.float32(junk)
  )
  clean, dirty = run(key, value, bias), run(*map(spoil, (key, value, bias)))
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)


@each
@pytest.mark.parametrize("junk", [np.nan, 1e30])
def test_padding_among_the_queries_reads_zeros_and_reaches_nothing(
  implementation, junk, monkeypatch
):
  function = some(implementation, monkeypatch)
  query, key, value, _ = single()
  query_mask = np.random.default_rng(0).random((B, Q)) < 0.6
  shown = query_mask[..., None, None]

  @jax.jit
  def run(query):
    def loss(query, key, value):
      mask = jnp.asarray(query_mask)
      read = function(query, key, value, query_mask=mask)
      # What a padded query read may meet NaN later.
      return jnp.where(shown, jnp.square(read), 0).sum(), read

    return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(query, key, value)

  (clean, read), gradients = run(query)
  (dirty, _), others = run(jnp.where(shown, query, junk))
  assert clean == dirty
  jax.tree.map(np.testing.assert_array_equal, gradients, others)
  assert not np.where(shown, 0, read).any() and not np.where(shown, 0, others[0]).any()
  every = function(query, key, value)
  np.testing.assert_allclose(read, np.where(shown, every, 0), rtol=1e-5, atol=1e-6)


@each
def test_a_sample_without_keys_reads_zeros_and_has_no_gradient(
  implementation, monkeypatch
):
  function = some(implementation, monkeypatch)
  inputs = single()[:3]
  run = lambda *x: function(*x, jnp.asarray(HOLES))
  gradients = jax.jit(jax.grad(lambda *x: (run(*x) + 1.0).sum(), (0, 1, 2)))(*inputs)
  for x in (run(*inputs), *gradients):
    assert np.isfinite(x).all()
    np.testing.assert_array_equal(x[1], 0.0)
    assert np.any(x[0] != 0.0)


@each
def test_trimming_padding_changes_no_decision_of_the_dropout(
  implementation, monkeypatch
):
  function = some(implementation, monkeypatch)
  query, key, value, _ = single()
  mask = np.arange(K) < 4
  mask = jnp.asarray(np.broadcast_to(mask, (B, K)))
  whole = function(query, key, value, mask)
  short = function(query[:3, :2], key[:3, :4], value[:3, :4], mask[:3, :4])
  np.testing.assert_allclose(short, whole[:3, :2], rtol=1e-5, atol=1e-6)


@each
def test_steps_cut_out_of_the_middle_change_no_other_decision(
  implementation, monkeypatch
):
  """As where sequences are joined and each is cut to the bounds of its batch."""
  function = some(implementation, monkeypatch)
  query, key, value, _ = single()
  queries, keys = np.array([0, 1, 3]), np.array([0, 1, 4, 5])
  mask = jnp.asarray(np.broadcast_to(np.isin(np.arange(K), keys), (B, K)))
  loss = lambda read: jnp.square(read).sum()

  def whole(query, key, value):
    return function(query, key, value, mask)[:, queries]

  def cut(query, key, value):
    return attend(
      query[:, queries],
      key[:, keys],
      value[:, keys],
      scale=SCALE,
      dropout=DROPOUT._replace(query=queries, key=keys),
      implementation=implementation,
    )

  for one, other in zip(
    *(
      (
        f(query, key, value),
        *jax.grad(lambda *x, f=f: loss(f(*x)), (0, 1, 2))(query, key, value),
      )
      for f in (whole, cut)
    ),
    strict=True,
  ):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@each
def test_large_scores_neither_overflow_nor_vanish(implementation, monkeypatch):
  function = some(implementation, monkeypatch)
  query, key, value, _ = single()
  run = jax.jit(lambda q: function(q * 1e4, key, value, jnp.asarray(HOLES)))
  assert np.isfinite(run(query)).all() and np.any(run(query) != 0.0)
  assert np.isfinite(jax.grad(lambda q: run(q).sum())(query)).all()


@each
def test_half_precision_stays_half_and_close(implementation, monkeypatch):
  function = some(implementation, monkeypatch)
  exact = function(*single()[:3])
  half = function(*(jnp.asarray(x, jnp.bfloat16) for x in single()[:3]))
  assert half.dtype == jnp.bfloat16
  np.testing.assert_allclose(half.astype(jnp.float32), exact, atol=0.05)


@each
def test_it_works_under_vmap_scan_and_rematerialisation(implementation, monkeypatch):
  monkeypatch.setattr(attention, "CACHED", 30)
  query, key, value, _ = single()
  queries = jnp.stack([query, 2 * query, -query])
  seeds, rates = jnp.arange(3, dtype=jnp.uint32), jnp.asarray([0.0, 0.2, 0.5])

  def loss(query, seed, rate):
    dropout = Dropout(rate, seed)
    read = attend(
      query,
      key,
      value,
      jnp.asarray(HOLES),
      scale=SCALE,
      dropout=dropout,
      implementation=implementation,
    )
    return jnp.square(read).sum()

  step = jax.value_and_grad(loss)
  one_by_one = [jax.jit(step)(*x) for x in zip(queries, seeds, rates, strict=True)]
  one_by_one = jax.tree.map(lambda *x: jnp.stack(x), *one_by_one)
  again = jax.value_and_grad(jax.checkpoint(loss))
  scanned = lambda *x: jax.lax.scan(lambda _, y: (None, again(*y)), None, x)[1]
  close = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
  jax.tree.map(close, jax.jit(jax.vmap(step))(queries, seeds, rates), one_by_one)
  jax.tree.map(close, jax.jit(scanned)(queries, seeds, rates), one_by_one)


@pytest.mark.parametrize("implementation", ["dense", "blocked"])
def test_samples_on_several_devices_need_no_communication(implementation, monkeypatch):
  if jax.device_count() < 4:
    pytest.skip("needs four devices")
  function = some(implementation, monkeypatch)
  mesh = jax.make_mesh((4,), ("data",), (jax.sharding.AxisType.Auto,))
  by_sample = jax.sharding.NamedSharding(mesh, jax.P("data"))
  loss = lambda q, k, v, m: jnp.square(function(q, k, v, m)).sum((1, 2, 3))
  step = lambda *x: jax.vjp(lambda *y: loss(*y, x[3]), *x[:3])[1](jnp.ones(8 * B))
  inputs = (*single()[:3], HOLES)
  inputs = tuple(np.tile(x, (8, *(1,) * (x.ndim - 1))) for x in inputs)
  placed = jax.device_put(inputs, by_sample)
  spread = jax.jit(step, out_shardings=by_sample).lower(*placed).compile()
  text = spread.as_text()
  # Blocks of samples must lie in the batch as the batch lies on the devices.
  for transfer in ("all-gather", "all-to-all", "collective-permute", "all-reduce"):
    assert transfer not in text
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6),
    spread(*placed),
    jax.jit(step)(*map(jnp.asarray, inputs)),
  )


def test_memory_grows_linearly_with_the_sequence():
  def temporary(length):
    x = jax.ShapeDtypeStruct((8, length, 2, 4), jnp.float32)
    mask = jax.ShapeDtypeStruct((8, length), jnp.bool)
    loss = lambda q, k, v, m: jnp.square(attend(q, k, v, m, scale=0.5)).sum()
    step = jax.jit(jax.grad(loss, (0, 1, 2)))
    return step.lower(x, x, x, mask).compile().memory_analysis().temp_size_in_bytes

  short, long = temporary(1000), temporary(4000)
  assert long < 4.4 * short
  assert long < 8 * 4000 * 4000 * 4 / 4


def test_the_weights_drawn_are_the_weights_used():
  query, key, value, bias = single()
  mask = jnp.asarray(HOLES)
  weights = attention_weights(query, key, mask, bias=bias, scale=SCALE)
  np.testing.assert_allclose(
    weights.sum(-1), np.broadcast_to(HOLES.any(-1)[:, None, None], (B, H, Q)), rtol=1e-6
  )
  np.testing.assert_array_equal(
    np.where(HOLES[:, None, None, :], 0.0, np.asarray(weights)), 0.0
  )
  read = attend(query, key, value, mask, bias=bias, scale=SCALE)
  np.testing.assert_allclose(
    np.einsum("bhqk,bkhe->bqhe", weights, value), read, rtol=1e-5, atol=1e-6
  )


sizes = st.integers(1, 70)


@settings(deadline=None)
@given(sizes, sizes, sizes, st.integers(1, 12), st.integers(1, 20000))
def test_blocks_divide_the_batch_and_keep_to_their_size(
  batch, queries, keys, heads, size
):
  samples, together, steps = blocked.plan(batch, queries, keys, heads, size)
  assert batch % samples == 0 and heads % together == 0 and 1 <= steps <= queries
  bound = 3 * size if together == 1 else size
  # Queries are not cut in parts: the last of a block may stick out.
  assert samples * together * (steps - 1) * keys < bound


@pytest.mark.parametrize("holes", [False, True], ids=["", "mask"])
@pytest.mark.parametrize("biased", [False, True], ids=["", "bias"])
def test_the_padded_call_of_the_library_computes_the_same(holes, biased):
  query, key, value, bias = single()
  mask = jnp.asarray(HOLES) if holes else None
  bias = bias if biased else None
  ours = attend(query, key, value, mask, bias=bias, scale=SCALE)
  if holes:
    key, value = (jnp.where(mask[..., None, None], x, 0.0) for x in (key, value))
  theirs = library.attend(query, key, value, mask, bias, SCALE, implementation="xla")
  np.testing.assert_allclose(theirs, ours, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
  "call, reason",
  [
    (("cpu", jnp.bfloat16, 4, None), "this is a cpu"),
    (("gpu", jnp.float32, 4, None), "bfloat16 or float16, and this is float32"),
    (("gpu", jnp.bfloat16, 200, None), "this is 200"),
    (("gpu", jnp.bfloat16, 4, DROPOUT), "depend on padding"),
  ],
)
def test_cudnn_says_what_it_cannot_do(call, reason):
  platform, dtype, features, dropout = call
  with pytest.raises(UserError, match=reason):
    library.require(platform, jnp.dtype(dtype), features, dropout)


def test_an_unknown_implementation_is_answered_with_the_known_ones():
  query, key, value, _ = single()
  with pytest.raises(
    UserError, match="'flash' is none of auto, literal, dense, blocked, native, cudnn"
  ):
    attend(query, key, value, scale=1.0, implementation="flash")


@pytest.mark.parametrize("dropout", [None, DROPOUT], ids=["", "dropout"])
def test_stored_attention_keeps_one_array_of_scores(dropout):
  query, key, value, _ = single()
  read = lambda q, k, v: attend(
    q, k, v, scale=SCALE, dropout=dropout, implementation="dense"
  )
  kept = jax.tree.leaves(jax.vjp(read, query, key, value)[1])
  assert sum(x.shape == (B, H, Q, K) for x in kept) == 1


@pytest.mark.parametrize("rate", [1.0, jnp.float32(1.0)], ids=["static", "traced"])
@each
def test_where_all_is_dropped_zeros_are_read(implementation, rate):
  all_of_it = DROPOUT._replace(rate=rate)
  options = dict(scale=SCALE, dropout=all_of_it, implementation=implementation)
  loss = lambda *x: jnp.exp(attend(*x, **options)).sum()
  value, gradient = jax.value_and_grad(loss, (0, 1, 2))(*single()[:3])
  assert value == B * Q * H * E
  assert not any(g.any() for g in gradient)
