"""One optimiser step, and many of them in one program.

Everything here is pure and works on one seed; `programs.py` maps it over seeds.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int, PyTree

from mcr_jax.contract import Batch, Model
from mcr_jax.data.batches import assemble
from mcr_jax.data.schedule import Bounds
from mcr_jax.training import optim
from mcr_jax.training.keys import fast_key
from mcr_jax.training.missing import drop_modalities
from mcr_jax.training.objective import check, objective
from mcr_jax.training.recipe import Recipe
from mcr_jax.training.state import State


class Constants(NamedTuple):
  """Numbers of a run that its programs take as arguments, so that folds share them.

  Attributes:
    total_steps: () of the whole run, for the schedule of the learning rate.
    class_weights: see `losses.per_example`; None where all classes weigh alike.
  """

  total_steps: PyTree
  class_weights: PyTree = None


def with_numbers(model: Model, numbers: dict[str, Array]) -> Model:
  """The model with the fields that a sweep varies, such as a dropout rate."""
  fields = {k[6:]: v for k, v in numbers.items() if k.startswith("model.")}
  return model.clone(**fields) if fields else model


def update(
  recipe: Recipe,
  phase: int,
  constants: Constants,
  state: State,
  batch: Batch,
  *,
  flat: bool = False,
) -> State:
  """The state after one step on one batch (rows of weight 0 do not count).

  `flat` adds changes to small parameters as one long array; see `many`.

  What does not learn in a phase stays as it is; batch statistics follow the data all
  the same: training reads those of the batch, and predictions should read the same.
  """
  config = recipe.config
  number = lambda name, default: state.hyper.get(name, default)
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
  rate = number("data.modality_dropout", config.data.modality_dropout)
  if not (isinstance(rate, float) and rate == 0):
    key, lost = jax.random.split(key)
    batch = drop_modalities(batch, rate, jax.random.bits(lost, (), jnp.uint32))
  key = fast_key(key)
  if config.optim.accumulate == 1:
    sums, grads = _gradient(recipe, phase, constants, state, state.stats, batch, key)
  else:
    sums, grads = _accumulated(recipe, phase, constants, state, batch, key)
  scale = 1 / jnp.maximum(sums.weight, 1e-12)
  factors = recipe.factors(state.params, phase)
  grads = jax.tree.map(
    lambda g, f: (g * scale).astype(g.dtype) if f else jnp.zeros_like(g), grads, factors
  )
  decay = number("optim.weight_decay", config.optim.weight_decay)
  transform = optim.transform(config.optim, decay, recipe.model.card.undecayed)
  changes, opt = transform.update(grads, state.opt, state.params)
  rate = number("optim.lr", config.optim.lr) * state.lr_scale
  rate = rate * optim.schedule(config.optim, state.step, constants.total_steps)
  params = _moved(state.params, changes, rate, factors, flat)
  # A loss can be finite where its gradient is not, and no checkpoint may hold what
  # follows. Clipping needs this norm anyway.
  finite = jnp.isfinite(sums.whole) & jnp.isfinite(optim.norm(grads))
  bad = state.tally["bad_step"]
  tally = {
    "losses": jax.tree.map(jnp.add, state.tally["losses"], sums.parts),
    "weight": state.tally["weight"] + sums.weight,
    "bad_step": jnp.where(finite | (bad >= 0), bad, state.step),
  }
  return state.replace(
    params=params,
    stats=sums.stats,
    opt=opt,
    step=state.step + 1,
    tally=tally,
  )


class Sums(NamedTuple):
  """What a batch came to: sums over its rows, and the new other collections."""

  whole: PyTree
  parts: PyTree
  weight: PyTree
  stats: PyTree


def _gradient(recipe, phase, constants, state, stats, batch, key):
  """The sums over one batch, and the gradient of the objective."""
  card, config, numbers = recipe.model.card, recipe.config, state.hyper
  model = with_numbers(recipe.model, numbers)
  names = card.weights
  weights = {
    name: numbers.get(f"loss.weights.{name}", config.loss.weights[name])
    for name in names
  }

  def loss(params):
    output, updated = model.apply(
      {"params": params, **stats},
      batch,
      train=True,
      rngs={"dropout": key, "noise": jax.random.fold_in(key, 1)},
      mutable=list(stats),
    )
    check(model, output, batch)
    whole, parts = objective(
      card,
      output,
      batch,
      recipe.task_loss(constants.class_weights),
      weights,
      numbers.get("loss.gamma", config.loss.gamma),
      task=recipe.phases[phase].task,
    )
    parts = {name: jnp.float32(parts.get(name, 0)) for name in names}
    return whole, Sums(whole, parts, batch.weight.sum(), updated)

  (_, sums), grads = jax.value_and_grad(loss, has_aux=True)(state.params)
  return sums, grads


def _accumulated(recipe, phase, constants, state, batch, key):
  """The same over shares of the batch, one after another.

  Rows are dealt out like cards: each share lies on all devices, and the rows that only
  fill the last batch change nobody's place. A loss that is a statistic of the rows is
  one of a share.
  """
  parts = recipe.config.optim.accumulate
  deal = lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
  batches, keys = jax.tree.map(deal, batch), jax.random.split(key, parts)

  def one(carry, part):
    stats, sums = carry
    found, grads = _gradient(recipe, phase, constants, state, stats, *part)
    here = (found.whole, found.parts, found.weight, grads)
    return (found.stats, jax.tree.map(jnp.add, sums, here)), None

  names = {name: jnp.zeros(()) for name in recipe.model.card.weights}
  zeros = jax.tree.map(jnp.zeros_like, state.params)
  start = (state.stats, (jnp.zeros(()), names, jnp.zeros(()), zeros))
  (stats, sums), _ = jax.lax.scan(one, start, (batches, keys))
  whole, losses, weight, grads = sums
  return Sums(whole, losses, weight, stats), grads


def _moved(params, changes, rate, factors, flat):
  """The parameters after their changes, each as long as rate and factor say."""
  if not (flat and all(factor == 1 for factor in jax.tree.leaves(factors))):
    scaled = jax.tree.map(lambda c, f: _scaled(c, rate, f), changes, factors)
    return optax.apply_updates(params, scaled)
  step = jax.tree.map(lambda c: _scaled(c, rate, 1.0), optim.pack(changes))
  return optim.unpack(optax.apply_updates(optim.pack(params), step), params)


def _scaled(change: Array, rate: Array, factor: float) -> Array:
  if factor == 0:
    return jnp.zeros_like(change)
  step = -rate.astype(change.dtype) * change
  return step if factor == 1 else factor * step


def many(
  one,
  state: State,
  source,
  rows: Int[Array, "N B"],
  start: Int[Array, ""],
  count: Int[Array, ""],
  bounds: Bounds,
  *,
  flat: bool,
) -> State:
  """`count` steps from position `start` of `rows`, in one program.

  Args:
    one: (state, batch) to the state after a step.
    state: before the first of them.
    source: of `data.batches`, on the device.
    rows: samples of every step.
    start: position of the first step.
    count: how many.
    bounds: of all these batches.
    flat: whether small parameters travel from step to step end to end, so that one
      operation writes them and not one each: a device begins each by itself, where a
      CPU would compile a cut of its own for each.
  """
  like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), state.params)
  pack = lambda s: s.replace(params=optim.pack(s.params)) if flat else s
  unpack = lambda s: s.replace(params=optim.unpack(s.params, like)) if flat else s

  def body(i, state):
    batch = Batch(**assemble(source, rows[start + i], bounds))
    return pack(one(unpack(state), batch))

  return unpack(jax.lax.fori_loop(0, count, body, pack(state)))
