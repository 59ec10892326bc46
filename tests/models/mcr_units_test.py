"""Units of MCR that are computed together are what they are apart.

Values, gradients by every parameter, and what dropout draws; also where parameters are
made for other numbers of steps, and where sequences are padded to one.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from mcr_jax.models.mcr.layer import ReinforcementLayer
from mcr_jax.models.mcr.settings import Settings
from mcr_jax.models.mcr.stream import Carry, plain_join

# The longest comes first, so that it has one place of two among sources.
LENGTHS = {"text": 7, "vision": 5, "audio": 4}
DROPPED = {"attention_dropout": 0.3, "relu_dropout": 0.2, "residual_dropout": 0.2}
FIELDS = {"width": 4, "heads": 2, **DROPPED}


def numbers(tree):
  """Parameters that are nowhere zero, in double precision."""
  random = np.random.default_rng(1)
  return jax.tree.map(lambda x: 0.4 * random.normal(size=x.shape), tree)


def close(a, b):
  np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12)


def test_a_layer_is_the_same_by_its_units_together_and_apart():
  random = np.random.default_rng(0)
  with jax.enable_x64(True):
    # As many steps of each, of parameters for other numbers of steps.
    masks = {m: jnp.asarray(random.random((3, 4)) < 0.7) for m in LENGTHS}
    draw = lambda: {
      m: jnp.where(real[..., None], random.normal(size=(3, 4, 4)), 0)
      for m, real in masks.items()
    }
    rngs, found = {"dropout": jax.random.key(3)}, []
    targets, sources, params = draw(), draw(), None
    for units in ("auto", "apart"):
      settings = Settings(spec=Spec(LENGTHS), units=units, **FIELDS)
      layer = ReinforcementLayer(settings)
      carry = Carry(targets, sources, plain_join(sources, settings))
      init = lambda key, layer=layer, carry=carry: layer.init(key, carry, masks, False)
      params = params or numbers(jax.eval_shape(init, jax.random.key(0))["params"])

      def loss(params, layer=layer, carry=carry):
        made, _ = layer.apply({"params": params}, carry, masks, True, rngs=rngs)
        return sum(jnp.sin(x).sum() for x in jax.tree.leaves(made)), made

      graph = str(jax.make_jaxpr(loss)(params))
      assert ("3,3,4,4" in graph) == (units == "auto")
      found.append(jax.jit(jax.grad(loss, has_aux=True))(params))
    jax.tree.map(close, *found)


def test_padding_sequences_to_one_length_changes_no_prediction():
  random = np.random.default_rng(0)
  with jax.enable_x64(True):
    data = {m: random.normal(size=(3, n, 2)) for m, n in LENGTHS.items()}
    data |= {f"{m}_mask": random.random(x.shape[:2]) < 0.7 for m, x in data.items()}
    spec, found, variables = Spec(LENGTHS, dict.fromkeys(LENGTHS, 2)), [], None
    for units in ("together", "apart"):
      model = models.build("mcr", spec, units=units, num_layers=1, **FIELDS)
      apply = lambda variables, model=model: model.apply(
        variables, Batch.of(data), train=True, rngs={"dropout": jax.random.key(3)}
      )
      init = lambda key, model=model: model.init(key, Batch.of(data))
      variables = variables or numbers(jax.eval_shape(init, jax.random.key(0)))
      found.append(jax.jit(lambda v, apply=apply: apply(v).predictions)(variables))
    close(*found)
