"""MIA-Net's kernel: both ways to hold it agree, and its penalty means what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.ops import kernels

B, C, K, Q = 5, 3, 7, 11


def draw(seed=0):
  random = np.random.default_rng(seed)
  auxiliary, main = random.normal(size=(B, C, K)), random.normal(size=(B, C, Q))
  return auxiliary, random.normal(size=(C, C)), main


def by_hand(auxiliary, w, main):
  read = np.zeros(main.shape)
  for b in range(B):
    for j in range(Q):
      powers = np.exp([auxiliary[b, :, i] @ w @ main[b, :, j] for i in range(K)])
      read[b, :, j] = auxiliary[b] @ (powers / powers.sum())
  return read


# Whole samples in one block, in blocks of two, one by one, and columns in blocks.
@pytest.mark.parametrize("budget", [10**6, 2 * K * Q, K * Q, 4 * K, 1])
def test_blocks_of_any_size_read_what_the_stored_similarities_read(budget):
  with jax.enable_x64(True):
    arguments = [jnp.asarray(x) for x in draw()]
    form = lambda *a: kernels.read_columns(*a, implementation="blocked", budget=budget)
    stored = lambda *a: kernels.read_columns(*a, implementation="stored")
    np.testing.assert_allclose(form(*arguments), by_hand(*draw()), rtol=1e-12)
    loss = lambda read: lambda *a: jnp.sum(jnp.sin(read(*a)))
    found = jax.grad(loss(form), argnums=(0, 1, 2))(*arguments)
    expected = jax.grad(loss(stored), argnums=(0, 1, 2))(*arguments)
    for one, other in zip(found, expected, strict=True):
      np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_similarities_larger_than_the_budget_are_not_stored():
  arguments = [jnp.asarray(x, jnp.float32) for x in draw()]
  sizes = lambda budget: {
    np.prod(variable.aval.shape, dtype=int)
    for eqn in _equations(
      jax.make_jaxpr(lambda *a: kernels.read_columns(*a, budget=budget))(
        *arguments
      ).jaxpr
    )
    for variable in eqn.outvars
  }
  assert B * K * Q in sizes(B * K * Q)
  assert max(sizes(K * Q)) < B * K * Q


def _equations(jaxpr):
  for eqn in jaxpr.eqns:
    yield eqn
    for value in eqn.params.values():
      if hasattr(value, "jaxpr"):
        yield from _equations(value.jaxpr)
      elif hasattr(value, "eqns"):
        yield from _equations(value)


def test_the_stored_weights_are_those_that_reading_uses():
  auxiliary, w, main = (jnp.asarray(x, jnp.float32) for x in draw())
  shares = kernels.weights(kernels.similarity(auxiliary, w, main))
  np.testing.assert_allclose(shares.sum(-2), 1.0, rtol=1e-6)
  read = kernels.read_columns(auxiliary, w, main)
  np.testing.assert_allclose(auxiliary @ shares, read, rtol=1e-5, atol=1e-6)


def test_huge_similarities_stay_finite():
  auxiliary, w, main = (jnp.asarray(1e3 * x, jnp.float32) for x in draw())
  read = kernels.read_columns(auxiliary, w, main)
  assert np.isfinite(read).all()


def test_a_positive_semi_definite_kernel_gives_positive_semi_definite_similarities():
  with jax.enable_x64(True):
    auxiliary, factor, _ = (jnp.asarray(x) for x in draw())
    gram = kernels.similarity(auxiliary, factor @ factor.T, auxiliary)
    np.testing.assert_allclose(gram, gram.swapaxes(-1, -2), atol=1e-12)
    assert np.linalg.eigvalsh(gram).min() > -1e-10


def test_the_penalty_is_zero_on_positive_semi_definite_kernels_and_nowhere_else():
  with jax.enable_x64(True):
    random = np.random.default_rng(1)
    for rank in range(1, 5):
      factor = random.normal(size=(4, rank))
      assert kernels.regularization(jnp.asarray(factor @ factor.T)) < 1e-13
    indefinite = np.diag([1.0, 2.0, -0.25, 3.0])
    turn = np.linalg.qr(random.normal(size=(4, 4)))[0]
    penalty = kernels.regularization(jnp.asarray(turn @ indefinite @ turn.T))
    np.testing.assert_allclose(penalty, 0.5, rtol=1e-10)
    skew = np.eye(4)
    skew[0, 1] = 0.1
    np.testing.assert_allclose(kernels.regularization(jnp.asarray(skew)), 0.2)


def test_the_penalty_adds_up_over_kernels():
  with jax.enable_x64(True):
    several = jnp.asarray(np.random.default_rng(2).normal(size=(3, 4, 4)))
    each = sum(kernels.regularization(w) for w in several)
    np.testing.assert_allclose(kernels.regularization(several), each, rtol=1e-12)


@pytest.mark.parametrize("eigenvalue", [-1.0, 0.0, 1.0])
def test_the_penalty_has_a_gradient_where_eigenvalues_coincide(eigenvalue):
  gradient = jax.jit(jax.vmap(jax.grad(kernels.regularization)))
  found = gradient(jnp.stack([eigenvalue * jnp.eye(4)] * 2))
  assert np.isfinite(found).all()
  # d(-2 l) / dW = -2 v v^T summed over all: -2 I where l < 0, nothing where l > 0.
  if eigenvalue:
    expected = -2 * np.eye(4) if eigenvalue < 0 else np.zeros((4, 4))
    np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_an_unknown_implementation_is_answered_with_the_known_ones():
  arguments = [jnp.asarray(x, jnp.float32) for x in draw()]
  with pytest.raises(UserError, match="'online'.* auto, stored, blocked"):
    kernels.read_columns(*arguments, implementation="online")
