"""Which parameters of the models are decayed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.training import optim
from tests.training import tiny

MODELS = {
  "mcr": tiny.MCR,
  "mcr_literal": tiny.MCR | {"scu_scoring": "literal"},
  "mia_net": {"name": "mia_net"},
  "mult": {"name": "mult", "width": 8, "heads": 2, "layers": 1, "self_layers": 1},
  "lmf": {"name": "lmf", "width": 8},
  "transformer": {"name": "transformer", "width": 8, "heads": 2},
}


@pytest.mark.parametrize("name", MODELS)
def test_all_is_decayed_that_is_not_added_and_no_scale_of_a_norm(name):
  """Which is what starts at 0 or 1, and the offsets of views, which are drawn."""
  lengths = (("text", 3), ("audio", 5), ("vision", 2))
  names = tuple(m for m, _ in lengths)
  model = models.build(**MODELS[name], modalities=names, lengths=lengths)
  batch = {m: jnp.ones((2, steps, tiny.WIDTHS[m])) for m, steps in lengths}
  batch |= {f"{m}_mask": jnp.ones((2, steps), bool) for m, steps in lengths}
  params = jax.jit(model.init)(jax.random.key(0), batch)["params"]
  ones = jax.tree.map(jnp.ones_like, params)
  adamw = optim.transform(tiny.config("unread.npz", optim={"name": "adamw"}).optim, 0.5)
  slope = jax.tree.map(jnp.zeros_like, params)
  changes, _ = adamw.update(slope, adamw.init(params), ones)
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
