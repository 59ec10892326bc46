"""Recurrent layers against the equations, and what holes and padding must not do."""

import functools

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.layers import recurrent
from mcr_jax.layers.recurrent import RNN, Recurrent
from mcr_jax.ops import recurrence
from mcr_jax.training.keys import fast_key
from tests.reference import recurrent as written

D, H, T = 3, 5, 7
# A hole, nothing at all, a hole at the start and padding, every step, one step.
MASK = np.array(
  [
    [1, 1, 0, 1, 1, 0, 0],
    [0, 0, 0, 0, 0, 0, 0],
    [0, 1, 1, 1, 0, 0, 0],
    [1, 1, 1, 1, 1, 1, 1],
    [0, 0, 1, 0, 0, 0, 0],
  ],
  bool,
)


def sequences(dtype=np.float32, seed=0):
  x = np.random.default_rng(seed).normal(size=(*MASK.shape, D))
  return jnp.asarray(x, dtype), jnp.asarray(MASK)


def draw(layer, *args, seed=1, **kwargs):
  """Parameters that are nowhere zero, in the precision of `args`."""
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(lambda: layer.init(jax.random.key(0), *args, **kwargs))
  value = lambda s: jnp.asarray(0.7 * random.normal(size=s.shape), args[0].dtype)
  return jax.tree.map(value, shapes)


def count(layer, **kwargs):
  shapes = jax.eval_shape(
    lambda: layer.init(jax.random.key(0), *sequences(), **kwargs)["params"]
  )
  return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_a_layer_equals_the_equations_on_the_steps_that_exist(cell, reverse):
  with jax.enable_x64(True):
    layer = Recurrent(H, cell, reverse, unroll=3)
    x, mask = sequences(np.float64)
    variables = draw(layer, x, mask)
    states = jax.jit(layer.apply)(variables, x, mask)
    params = jax.tree.map(np.asarray, variables["params"])
    for b, real in enumerate(MASK):
      expected = written.CELLS[cell](params, np.asarray(x[b])[real], reverse)
      for ours, theirs in zip(states, expected, strict=True):
        np.testing.assert_allclose(ours[b][real], theirs, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("cell, bidirectional", [("lstm", True), ("gru", False)])
def test_stacked_layers_equal_the_equations(cell, bidirectional):
  with jax.enable_x64(True):
    rnn = RNN(H, cell, layers=2, bidirectional=bidirectional)
    x, mask = sequences(np.float64)
    variables = draw(rnn, x, mask, train=False)
    outputs, last = jax.jit(lambda v: rnn.apply(v, x, mask, train=False))(variables)
    params = jax.tree.map(np.asarray, variables["params"])
    for b, real in enumerate(MASK):
      steps = np.asarray(x[b])[real]
      sequence, final = written.rnn(params, steps, cell, 2, bidirectional)
      np.testing.assert_allclose(outputs[b][real], sequence, rtol=1e-10, atol=1e-10)
      np.testing.assert_allclose(last[b], final, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("reverse", [False, True])
def test_the_state_is_held_on_holes_and_padding(reverse):
  layer = Recurrent(H, reverse=reverse)
  x, mask = sequences()
  for state in jax.jit(layer.apply)(draw(layer, x, mask), x, mask):
    before = jnp.zeros_like(state[:, 0])
    for t in range(T)[:: -1 if reverse else 1]:
      np.testing.assert_array_equal(
        state[:, t][~MASK[:, t]], before[~MASK[:, t]], err_msg=f"step {t}"
      )
      assert (state[:, t][MASK[:, t]] != before[MASK[:, t]]).all()
      before = state[:, t]


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_equal_finite_differences(cell, reverse):
  with jax.enable_x64(True):
    layer = Recurrent(H, cell, reverse)
    x, mask = sequences(np.float64)
    weigh = jnp.asarray(np.random.default_rng(2).normal(size=(*MASK.shape, H)))

    @jax.jit
    def value(params, x):
      return sum((weigh * s).sum() for s in layer.apply(params, x, mask))

    variables = draw(layer, x, mask)
    jax.test_util.check_grads(
      value, (variables, x), order=1, modes=["rev"], atol=1e-6, rtol=1e-6
    )


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_padding_reaches_neither_outputs_nor_gradients(cell):
  rnn = RNN(H, cell, layers=2, bidirectional=True)
  x, mask = sequences()
  variables = draw(rnn, x, mask, train=False)

  @jax.jit
  def run(variables, x, mask):
    value = lambda v, x: (rnn.apply(v, x, mask, train=False)[1] ** 2).sum()
    return jax.value_and_grad(value, (0, 1))(variables, x)

  clean = run(variables, x, mask)
  dirty = run(variables, jnp.where(mask[..., None], x, jnp.nan), mask)
  jax.tree.map(np.testing.assert_array_equal, clean, dirty)
  assert not clean[1][1][~MASK].any()
  longer = run(
    variables,
    jnp.pad(x, ((0, 0), (2, 4), (0, 0)), constant_values=1e6),
    jnp.pad(mask, ((0, 0), (2, 4))),
  )
  np.testing.assert_allclose(clean[0], longer[0], rtol=1e-6)
  jax.tree.map(
    functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-6),
    clean[1][0],
    longer[1][0],
  )


def test_nothing_stays_nothing():
  rnn = RNN(H, "gru", layers=2, bidirectional=True)
  x, mask = sequences()
  run = jax.jit(functools.partial(rnn.apply, train=False))
  outputs, last = run(draw(rnn, x, mask, train=False), x, mask)
  assert not outputs[1].any() and not last[1].any()
  assert last[0].all()


@pytest.mark.parametrize(
  "cell, one, other",
  [
    ("lstm", 4 * H * (D + H + 1), 4 * H * (2 * H + H + 1)),
    ("gru", 3 * H * (D + H) + 4 * H, 3 * H * (2 * H + H) + 4 * H),
  ],
)
def test_parameters_are_as_many_as_the_formula_says(cell, one, other):
  assert count(Recurrent(H, cell)) == one
  rnn = RNN(H, cell, layers=2, bidirectional=True)
  assert count(rnn, train=False) == 2 * one + 2 * other


def test_a_cell_starts_orthogonal_and_forgets_little():
  start = lambda layer: jax.jit(layer.init)(fast_key(jax.random.key(0)), *sequences())[
    "params"
  ]
  params = start(Recurrent(H))
  for gate in jnp.split(params["recurrent"], 4, -1):
    np.testing.assert_allclose(gate @ gate.T, np.eye(H), atol=1e-5)
  np.testing.assert_array_equal(params["bias"], np.repeat([0, 1, 0, 0], H))
  gate = start(Recurrent(H, orthogonal=False))["recurrent"][:, :H]
  assert np.abs(gate @ gate.T - np.eye(H)).max() > 0.1


def test_orthogonal_matrices_are_orthogonal_at_any_size_and_for_many_seeds():
  for size in (1, 2, 64):
    keys = jax.random.split(jax.random.key(size), 8)
    draw = jax.jit(jax.vmap(lambda key, n=size: recurrent.orthogonal(key, (n, n))))
    drawn = draw(keys)
    product = drawn @ drawn.transpose(0, 2, 1)
    np.testing.assert_allclose(product, np.tile(np.eye(size), (8, 1, 1)), atol=2e-5)
    assert abs(float(drawn.mean())) < 3 / size / 8**0.5


def test_dropout_falls_between_layers_while_training_whatever_the_padding():
  rnn = RNN(H, layers=2, dropout=0.5)
  x, mask = sequences()
  variables = draw(rnn, x, mask, train=False)

  @functools.partial(jax.jit, static_argnames="train")
  def run(x, mask, train=True, seed=0):
    rngs = {"dropout": jax.random.key(seed)}
    return rnn.apply(variables, x, mask, train=train, rngs=rngs)[1]

  assert (run(x, mask) != run(x, mask, seed=1)).any()
  np.testing.assert_array_equal(run(x, mask, False), run(x, mask, False, seed=1))
  longer = jnp.pad(x, ((0, 0), (0, 4), (0, 0))), jnp.pad(mask, ((0, 0), (0, 4)))
  np.testing.assert_allclose(run(x, mask), run(*longer), rtol=1e-5, atol=1e-6)


def test_half_precision_multiplies_and_keeps_states_wide():
  layer = Recurrent(H, dtype=jnp.dtype("bfloat16"))
  x, mask = sequences()
  variables = draw(layer, x, mask)
  half = jax.jit(layer.apply)(variables, x, mask)
  full = jax.jit(Recurrent(H).apply)(variables, x, mask)
  assert half[0].dtype == jnp.bfloat16 and full[0].dtype == jnp.float32
  np.testing.assert_allclose(half[0].astype(np.float32), full[0], atol=0.03)
  products = jnp.zeros((T, 2, 4 * H), jnp.bfloat16)
  states = jax.eval_shape(
    lambda: recurrence.recur(
      recurrence.CELLS["lstm"],
      False,
      1,
      products,
      jnp.zeros((H, 4 * H), jnp.bfloat16),
      None,
      jnp.ones((T, 2), bool),
    )
  )
  assert states[1].dtype == jnp.float32
  value = lambda v: layer.apply(v, x, mask)[0].astype(jnp.float32).sum()
  slope = jax.jit(jax.grad(value))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(slope(variables)))


def test_an_unknown_cell_is_answered_with_the_known_ones():
  with pytest.raises(UserError, match="cell='lstn' must be one of lstm, gru"):
    jax.eval_shape(Recurrent(H, "lstn").init, jax.random.key(0), *sequences())


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_runs_are_sequences_of_their_own(cell):
  runs = np.array([0, 0, 0, 2, 1, 1, 1])
  with jax.enable_x64(True):
    layer = RNN(H, cell, layers=2, bidirectional=True)
    x, mask = sequences(np.float64)
    variables = draw(layer, x, mask, train=False)
    weigh = np.random.default_rng(3).normal(size=(*MASK.shape, 2 * H))

    def value(params, x, mask, runs, weigh):
      y, _ = layer.apply(params, x, mask, runs, train=False)
      return jnp.where(mask[..., None], weigh * y, 0).sum(), y

    learn = jax.jit(jax.value_and_grad(value, (0, 1), has_aux=True))
    every = jnp.asarray(np.broadcast_to(runs, MASK.shape))
    (_, found), gradients = learn(variables, x, mask, every, weigh)
    parts = []
    for run in np.unique(runs):
      here = mask & (every == run)
      (_, alone), slopes = learn(variables, x, here, jnp.zeros_like(every), weigh)
      parts.append(slopes)
      np.testing.assert_allclose(found[here], alone[here], rtol=1e-10)
    jax.tree.map(
      lambda a, *b: np.testing.assert_allclose(a, sum(b), rtol=1e-9, atol=1e-12),
      gradients,
      *parts,
    )
