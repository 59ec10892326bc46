"""What training minimises: the only place where losses meet.

  L = w_task L_task + sum_k w_k L_k,

with a model's own losses and those of its auxiliary heads, each averaged over the rows
that count. Where a model names a joint loss (MIA-Net, Eq. 13 and 16), gamma shares out
the two: (1 - gamma) w_task L_task + gamma w_joint L_joint.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from mcr_jax.contract import Batch, Card, Model, Output
from mcr_jax.errors import UserError, choose

TaskLoss = Callable[[Array, Array, Array], Array]
"""(predictions, label, weight) to the loss of every row, in the shape of weight."""


def check(model: Model, output: Any, batch: Batch) -> None:
  """Raises UserError where what a model makes is not what the contract says of it."""
  card, units = model.card, batch.weight.shape
  what = f"The model {card.title} makes"
  if not isinstance(output, Output):
    kind = "array" if hasattr(output, "shape") else type(output).__name__
    raise UserError(f"{what} a plain {kind}; right is a contract.Output.")
  right = (*units, *model.outputs)
  heads = {f"auxiliary {name!r} of": x for name, x in output.auxiliary.items()}
  for name, found in {"predictions of": output.predictions, **heads}.items():
    if jnp.shape(found) != right:
      raise UserError(f"{what} {name} shape {jnp.shape(found)}; right is {right}.")
  for name, loss in output.losses.items():
    known = (*card.losses, *card.optional)
    choose(name, known, f"{what} a loss that card.losses does not have: name")
    if jnp.shape(loss) not in ((), units):
      raise UserError(
        f"{what} the loss {name!r} of shape {jnp.shape(loss)}; right are () and "
        f"{units}."
      )
  if output.auxiliary and not card.auxiliary:
    raise UserError(f"{what} auxiliary {[*output.auxiliary]}, and card.auxiliary=''.")


def objective(
  card: Card,
  output: Output,
  batch: Batch,
  task_loss: TaskLoss,
  weights: Mapping[str, Float[Array, ""] | float],
  gamma: Float[Array, ""] | float = 0.0,
  *,
  task: bool = True,
) -> tuple[Float[Array, ""], dict[str, Float[Array, ""]]]:
  """The sum over a batch that a step minimises, and the sum of every part of it.

  Divided by the sum of `batch.weight`, both are averages over the rows that count.

  Args:
    card: of the model, which names its losses.
    output: of the model, with train=True.
    batch: with labels.
    task_loss: applied to the predictions and to the auxiliary heads.
    weights: name -> factor, as `Card.weights` has them.
    gamma: what a joint loss takes from the task.
    task: whether the task loss counts; its part is there all the same.

  Returns:
    the sum, and name -> sum of each loss without its weight, `task` first.

  Raises:
    UserError: the task does not count, and there is nothing else.
  """
  total = batch.weight.sum()

  def summed(values):
    if values.ndim == 0:
      return values * total
    # Rows that do not count may hold anything.
    return (jnp.where(batch.weight > 0, values, 0) * batch.weight).sum()

  parts = {"task": summed(task_loss(output.predictions, batch.label, batch.weight))}
  if output.auxiliary:
    heads = []
    for name, predictions in output.auxiliary.items():
      label = batch.more.get(f"label_{name}", batch.label)
      values = task_loss(predictions, label, batch.weight)
      # What the head of a missing modality says is nothing that it could learn from.
      if name in batch.mask:
        values = jnp.where(_present(batch, name), values, 0)
      heads.append(summed(values))
    parts[card.auxiliary] = sum(heads)
  parts |= {name: summed(values) for name, values in output.losses.items()}

  share = {name: weights[name] for name in parts}
  if card.joint in parts:
    share["task"] = (1 - gamma) * share["task"]
    share[card.joint] = gamma * share[card.joint]
  counted = [name for name in parts if task or name != "task"]
  if not counted:
    raise UserError(
      f"A phase with task=False minimises nothing: with these fields, {card.title} has "
      "no loss of its own."
    )
  return sum(share[name] * parts[name] for name in counted), parts


def _present(batch: Batch, modality: str) -> Bool[Array, "*units"]:
  """Whether a sample, or a turn, has a modality."""
  mask = batch.mask[modality]
  return mask if batch.weight.ndim == 2 else mask.any(-1)
