"""One optimiser step, many of them in one program, and predictions.

Everything here is pure and works on one seed; `programs.py` maps it over seeds.
"""

from collections.abc import Iterable, Mapping

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array

from mcr_jax import losses
from mcr_jax.contract import Batch, Output
from mcr_jax.errors import UserError
from mcr_jax.training import optim
from mcr_jax.training.keys import fast_key
from mcr_jax.training.missing import drop_modalities
from mcr_jax.training.state import State

HYPER = ("optim.lr", "optim.weight_decay", "loss.gamma", "data.modality_dropout")


def check_hyper(model: nn.Module, names: Iterable[str]) -> None:
  """Raises UserError for a name that cannot differ inside one program.

  What can are the numbers of `HYPER` and the model's dropout rates, such as
  "model.residual_dropout"; anything else changes the program.
  """
  for name in names:
    rate = name.startswith("model.") and name.endswith("dropout")
    if not (name in HYPER or rate and hasattr(model, name[6:])):
      raise UserError(
        f"{name} cannot differ between the members of one program; right are "
        f"{', '.join(HYPER)} and the model's dropout rates."
      )


def with_hyper(model: nn.Module, hyper: dict[str, Array]) -> nn.Module:
  """The model with the fields that a sweep varies, such as a dropout rate."""
  fields = {k[6:]: v for k, v in hyper.items() if k.startswith("model.")}
  return model.clone(**fields) if fields else model


def objective(model, config, loss, class_weights, params, stats, batch, key, hyper):
  """The sums over one batch that training minimises.

  Returns:
    the weighted sum of losses, and (sum of task losses, sum of weights, new stats).
  """
  batch = Batch.of(batch)
  weight = batch.weight
  output, updated = with_hyper(model, hyper).apply(
    {"params": params, **stats},
    batch,
    train=True,
    rngs={"dropout": key},
    mutable=list(stats),
  )
  per_example = losses.per_example(
    loss,
    output.predictions,
    batch.label,
    class_weights=class_weights,
    weight=weight,
  )
  total = weight.sum()
  task = (per_example * weight).sum()
  whole = task
  if (joint := model.card.joint) in output.losses:
    gamma = hyper.get("loss.gamma", config.loss.gamma)
    whole = losses.joint(task, output.losses[joint] * total, gamma)
  return whole, (task, total, updated)


def update(
  model,
  config,
  loss,
  class_weights,
  total_steps: int,
  state: State,
  batch: Mapping[str, Array],
) -> State:
  """The state after one step on one batch (rows of weight 0 do not count).

  With `train.only="head"` batch statistics still follow the data: training reads those
  of the batch, and predictions should read the same.
  """
  hyper = lambda name, default: state.hyper.get(name, default)
  key = jax.random.fold_in(jax.random.wrap_key_data(state.key), state.step)
  rate = hyper("data.modality_dropout", config.data.modality_dropout)
  if not (isinstance(rate, float) and rate == 0):
    key, lost = jax.random.split(key)
    batch = drop_modalities(batch, rate, jax.random.bits(lost, (), jnp.uint32))
  key = fast_key(key)
  loss_of = jax.value_and_grad(
    lambda p, stats, part, k: objective(
      model, config, loss, class_weights, p, stats, part, k, state.hyper
    ),
    has_aux=True,
  )
  parts = config.optim.accumulate
  if parts == 1:
    (total, (task, weight, stats)), grads = loss_of(
      state.params, state.stats, batch, key
    )
  else:
    total, task, weight, stats, grads = _accumulate(loss_of, state, batch, key, parts)
  scale = 1 / jnp.maximum(weight, 1e-12)
  grads = jax.tree.map(lambda g: (g * scale).astype(g.dtype), grads)

  mask = optim.trainable(state.params, config.train.only)
  grads = jax.tree.map(lambda g, m: g if m else jnp.zeros_like(g), grads, mask)
  decay = hyper("optim.weight_decay", config.optim.weight_decay)
  changes, opt = optim.transform(config.optim, decay).update(
    grads, state.opt, state.params
  )
  rate = hyper("optim.lr", config.optim.lr) * state.lr_scale
  rate = rate * optim.schedule(config.optim, state.step, total_steps)
  changes = jax.tree.map(
    lambda c, m: -rate.astype(c.dtype) * c if m else jnp.zeros_like(c), changes, mask
  )
  # A loss can be finite where its gradient is not, and no checkpoint may hold what
  # follows. Clipping needs this norm anyway.
  finite = jnp.isfinite(total) & jnp.isfinite(optim.norm(grads))
  bad = state.tally["bad_step"]
  tally = {
    "task": state.tally["task"] + task,
    "weight": state.tally["weight"] + weight,
    "bad_step": jnp.where(finite | (bad >= 0), bad, state.step),
  }
  return state.replace(
    params=optax.apply_updates(state.params, changes),
    stats=stats,
    opt=opt,
    step=state.step + 1,
    tally=tally,
  )


def _accumulate(loss_of, state, batch, key, parts):
  """The same sums over `parts` shares of the batch, one after another.

  Rows are dealt out like cards: each share lies on all devices, and the rows that only
  fill the last batch change nobody's place.
  """
  deal = lambda x: x.reshape(-1, parts, *x.shape[1:]).swapaxes(0, 1)
  batches = jax.tree.map(deal, dict(batch))
  keys = jax.random.split(key, parts)

  def one(carry, part):
    stats, sums = carry
    (loss, (task, weight, stats)), grads = loss_of(state.params, stats, *part)
    sums = jax.tree.map(jnp.add, sums, (loss, task, weight, grads))
    return (stats, sums), None

  zeros = (jnp.zeros(()), jnp.zeros(()), jnp.zeros(()))
  start = (*zeros, jax.tree.map(jnp.zeros_like, state.params))
  (stats, sums), _ = jax.lax.scan(one, (state.stats, start), (batches, keys))
  loss, task, weight, grads = sums
  return loss, task, weight, stats, grads


def predict(model, params, stats, batch: Mapping[str, Array]) -> Output:
  """The output of one seed, without dropout."""
  return model.apply({"params": params, **stats}, Batch.of(batch), train=False)


def gather(
  data: dict[str, Array], rows: Array, bounds: dict[str, int]
) -> dict[str, Array]:
  """The batch of some rows of the resident data, cut to the bounds of its bucket.

  Rows of `FILLER` (negative) repeat the first sample with weight 0.
  """
  place = jnp.maximum(rows, 0)
  batch = {"weight": (rows >= 0).astype(jnp.float32)}
  for name, array in data.items():
    size = array.shape[1:]
    bound = bounds.get(name.removesuffix("_mask"))
    if bound is not None:
      size = (bound, *size[1:])
    cut = lambda i, array=array, size=size: jax.lax.dynamic_slice(
      array, (i, *(0 for _ in size)), (1, *size)
    )[0]
    batch[name] = jax.vmap(cut)(place)
  return batch


def run(step, state: State, data, rows, start, count, bounds) -> State:
  """`count` steps from position `start` of `rows` (NB, B), in one program."""

  def body(i, state):
    return step(state, gather(data, rows[start + i], bounds))

  return jax.lax.fori_loop(0, count, body, state)
