"""What training carries from step to step, one leading seed axis on every leaf."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from mcr_jax.training import optim
from mcr_jax.training.keys import fast_key
from mcr_jax.training.objective import check
from mcr_jax.training.recipe import Recipe


@flax.struct.dataclass
class State:
  """All that a step reads and writes.

  Attributes:
    params: trainable variables.
    stats: the other collections of the model, such as batch statistics or a memory of
      samples; may be {}.
    opt: state of the optimiser.
    key: raw random key of the seed; a step folds its own number in.
    step: optimiser steps done.
    hyper: numbers that may differ inside one program (learning rate, gamma, ...).
    lr_scale: what the plateau schedule has left of the learning rate.
    active: False once a seed stopped early.
    tally: sums over the epoch so far: `losses` by name, `task` among them, `weight`,
      and `bad_step`, the first step that was not finite, or -1.
  """

  params: PyTree
  stats: PyTree
  opt: PyTree
  key: PyTree
  step: PyTree
  hyper: PyTree
  lr_scale: PyTree
  active: PyTree
  tally: PyTree


def fresh_tally(recipe: Recipe) -> dict:
  """Nothing summed yet."""
  zero = jnp.zeros((), jnp.float32)
  losses = {name: zero for name in recipe.model.card.weights}
  return {"losses": losses, "weight": zero, "bad_step": jnp.int32(-1)}


def create(recipe: Recipe, batch, seed, hyper) -> State:
  """The state of one seed before its first step.

  Args:
    recipe: of the run.
    batch: one batch, for shapes.
    seed: integer, may be traced.
    hyper: name -> scalar.
  """
  key, config = jax.random.key(seed), recipe.config
  rngs = {"params": fast_key(jax.random.fold_in(key, 0))}
  output, variables = recipe.model.init_with_output(rngs, batch)
  check(recipe.model, output, batch)
  params = variables.pop("params")
  decay = hyper.get("optim.weight_decay", config.optim.weight_decay)
  transform = optim.transform(config.optim, decay, recipe.model.card.undecayed)
  return State(
    params=params,
    stats=variables,
    opt=transform.init(params),
    key=jax.random.key_data(jax.random.fold_in(key, 1)),
    step=jnp.int32(0),
    hyper=hyper,
    lr_scale=jnp.ones((), jnp.float32),
    active=jnp.array(True),
    tally=fresh_tally(recipe),
  )
