"""What training carries from step to step, one leading seed axis on every leaf."""

import flax.struct
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from mcr_jax.contract import Batch
from mcr_jax.training import optim
from mcr_jax.training.keys import fast_key


@flax.struct.dataclass
class State:
  """All that a step reads and writes.

  Attributes:
    params: trainable variables.
    stats: the other collections of the model (batch statistics), may be {}.
    opt: state of the optimiser.
    key: raw random key of the seed; a step folds its own number in.
    step: optimiser steps done.
    hyper: numbers that a sweep varies inside one program (learning rate, gamma, ...).
    lr_scale: what the plateau schedule has left of the learning rate.
    active: False once a seed stopped early.
    tally: sums over the epoch so far, and the first step that was not finite, or -1.
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


def fresh_tally() -> dict[str, jax.Array]:
  """Nothing summed yet."""
  zero = jnp.zeros((), jnp.float32)
  return {"task": zero, "weight": zero, "bad_step": jnp.int32(-1)}


def create(model, config, batch, seed, hyper) -> State:
  """The state of one seed before its first step.

  Args:
    model: Linen module.
    config: the run's.
    batch: one batch, for shapes.
    seed: integer, may be traced.
    hyper: name -> scalar.
  """
  key = jax.random.key(seed)
  draw = fast_key(jax.random.fold_in(key, 0))
  variables = model.init({"params": draw}, Batch.of(batch))
  params = variables.pop("params")
  weight_decay = hyper.get("optim.weight_decay", config.optim.weight_decay)
  return State(
    params=params,
    stats=variables,
    opt=optim.transform(config.optim, weight_decay).init(params),
    key=jax.random.key_data(jax.random.fold_in(key, 1)),
    step=jnp.int32(0),
    hyper=hyper,
    lr_scale=jnp.ones((), jnp.float32),
    active=jnp.array(True),
    tally=fresh_tally(),
  )
