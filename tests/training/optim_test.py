"""Which parameters of the models are decayed."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcr_jax import models
from mcr_jax.contract import UNDECAYED, Spec
from mcr_jax.training import optim
from mcr_jax.training.keys import fast_key
from tests.training import tiny

# What the defaults of a model hold is tried in tests/models/contract_test.py.
MODELS = {
  "mcr_literal": tiny.MCR | {"scu_scoring": "literal", "targets": ("text",)},
  "mha": {"name": "mha", "width": 8, "heads": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_all_is_decayed_that_is_not_added_and_no_scale_of_a_norm(name):
  """Which is what starts at 0 or 1, and the offsets of views, which are drawn."""
  spec = Spec({"text": 3, "audio": 5, "vision": 2}, tiny.WIDTHS)
  model = models.build(spec=spec, **MODELS[name])
  batch = jax.tree.map(lambda x: jnp.ones(x.shape, x.dtype), spec.example())
  params = jax.jit(model.init)(fast_key(jax.random.key(0)), batch)["params"]
  params = jax.tree.map(np.asarray, params)
  ones = jax.tree.map(np.ones_like, params)
  config = tiny.config("unread.npz", optim={"name": "adamw"})
  adamw = optim.transform(config.optim, 0.5, model.card.undecayed)
  slope = jax.tree.map(np.zeros_like, params)
  changes, _ = jax.jit(adamw.update)(slope, adamw.init(params), ones)
  left_out = 0
  for path, change in jax.tree_util.tree_leaves_with_path(changes):
    place, leaf = jax.tree_util.keystr(path), params
    for part in path:
      leaf = leaf[part.key]
    constant = any((leaf == value).all() for value in (0, 1))
    # Output layers start at 0, and are weights all the same.
    constant = constant and path[-1].key != "kernel"
    offset = "view_" in place and path[-1].key == "bias"
    expected = 0.0 if constant or offset else 0.5
    np.testing.assert_array_equal(change, expected, err_msg=place)
    left_out += expected == 0
  assert left_out


def test_packing_arrays_changes_no_number(monkeypatch):
  """Clipping, Adam and the norm of mixed types and sizes, against a tree unpacked."""
  draw = np.random.default_rng(0)
  sizes = {"a": (3, 4), "b": (), "c": {"d": (7,), "e": (50, 3)}}
  tree = jax.tree.map(
    lambda s: jnp.asarray(draw.normal(size=s)),
    sizes,
    is_leaf=lambda s: type(s) is tuple,
  )
  tree["c"]["d"] = tree["c"]["d"].astype(jnp.float16)
  monkeypatch.setattr(optim, "LARGE", 100)
  for inner in (optax.clip_by_global_norm(0.3), optax.scale_by_adam()):
    packed = optim.packed(inner)
    mine, theirs = packed.init(tree), inner.init(tree)
    for _ in range(3):
      found, mine = packed.update(tree, mine, tree)
      expected, theirs = inner.update(tree, theirs, tree)
    assert [x.dtype for x in jax.tree.leaves(found)] == [
      x.dtype for x in jax.tree.leaves(expected)
    ]
    close = lambda a, b: np.testing.assert_allclose(
      a, b, 2e-3 if a.itemsize < 4 else 1e-6
    )
    jax.tree.map(close, found, expected)
  assert len(jax.tree.leaves(mine)) == 1 + 2 * 3  # count; two small kinds, one large
  np.testing.assert_allclose(optim.norm(tree), optax.tree.norm(tree), 1e-3)
  tree["b"] = jnp.inf * tree["b"]
  assert not np.isfinite(optim.norm(tree))


@pytest.mark.parametrize("name", ["adam", "adamw"])
@pytest.mark.parametrize("clip", [0.0, 0.5])
def test_the_chain_is_that_of_optax_for_each_seed(name, clip):
  """With a decay that is traced, side by side for two seeds."""
  draw = np.random.default_rng(1)
  params = {"a": {"kernel": draw.normal(size=(2, 3, 4)), "bias": np.ones((2, 4))}}
  params = jax.tree.map(jnp.asarray, params)
  config = tiny.config("unread.npz", optim={"name": name, "clip": clip}).optim
  decay = optax.add_decayed_weights
  mask = {"a": {"kernel": True, "bias": False}}

  def ours(params, rate):
    chain = optim.transform(config, rate, UNDECAYED)
    return chain.update(params, chain.init(params), params)[0]

  def theirs(params, rate):
    steps = [optax.clip_by_global_norm(clip)] * (clip > 0)
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    last = [decay(rate, mask), adam] if name == "adam" else [adam, decay(rate, mask)]
    chain = optax.chain(*steps, *last)
    return chain.update(params, chain.init(params), params)[0]

  rates = jnp.array([0.1, 0.3])
  found, expected = (jax.jit(jax.vmap(f))(params, rates) for f in (ours, theirs))
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, 1e-5), found, expected)
