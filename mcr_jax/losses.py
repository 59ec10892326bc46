"""Losses that give one value an example; the caller weighs and averages them.

Shapes follow the task: regression (B, 1) or (B, K) against labels (B,) or (B, K);
multi-class logits (B, C) against (B,); logits (B, K, C) of K labels against (B, K),
with C = 2 for two-way labels. In a dialogue every array has U turns behind B.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Num, Shaped

from mcr_jax.errors import UserError, choose
from mcr_jax.ops.classes import mask_classes

__all__ = [
  "LOSSES",
  "Loss",
  "balanced_class_weights",
  "cross_entropy",
  "focal",
  "huber",
  "l1",
  "l2",
  "mask_classes",
  "per_example",
  "resolve",
]


def l1(
  predictions: Num[Array, "B *K"], label: Num[Array, "B *K"]
) -> Float[Array, "B *K"]:
  """|p - y|."""
  return jnp.abs(_wide(predictions) - _wide(label))


def l2(
  predictions: Num[Array, "B *K"], label: Num[Array, "B *K"]
) -> Float[Array, "B *K"]:
  """(p - y)^2, without a half."""
  return jnp.square(_wide(predictions) - _wide(label))


def huber(
  predictions: Num[Array, "B *K"],
  label: Num[Array, "B *K"],
  delta: Num[ArrayLike, ""] = 1.0,
) -> Float[Array, "B *K"]:
  """(p - y)^2 / 2 up to an error of delta, delta (|p - y| - delta / 2) beyond."""
  error = l1(predictions, label)
  near = jnp.minimum(error, delta)
  return near * (error - near / 2)


def cross_entropy(
  logits: Float[Array, "B *K C"],
  label: Num[Array, "B *K"],
  class_weights: Shaped[ArrayLike, "*_ C"] | None = None,
) -> Float[Array, "B *K"]:
  """w_y (log sum_c exp z_c - z_y), with w = 1 where no class weights are given."""
  surprise = -jax.nn.log_softmax(_wide(logits))
  if class_weights is not None:
    weights = jnp.asarray(class_weights, surprise.dtype)
    surprise = surprise * jnp.broadcast_to(weights, surprise.shape)
  truth = jax.nn.one_hot(label, logits.shape[-1], dtype=bool)
  values = jnp.sum(surprise, axis=-1, where=truth)
  # Indexing would give a label out of range another class's loss, in silence.
  return jnp.where(truth.any(axis=-1), values, jnp.nan)


def focal(
  logits: Float[Array, "B *K C"],
  label: Num[Array, "B *K"],
  class_weights: Shaped[ArrayLike, "*_ C"] | None = None,
  gamma: Num[ArrayLike, ""] = 2.0,
  detached: bool = False,
) -> Float[Array, "B *K"]:
  """-w_y (1 - p_y)^gamma log p_y: what is easy counts less (Lin et al., ICCV 2017).

  p is the softmax of the logits; gamma 0 is `cross_entropy`, whose class weights are
  the paper's alpha. `detached`: no gradient through (1 - p_y).
  """
  surprise = cross_entropy(logits, label)
  # 1 - p_y without cancellation; a power below 1 has no gradient at 0.
  miss = jnp.maximum(-jnp.expm1(-surprise), jnp.finfo(surprise.dtype).tiny)
  if detached:
    miss = jax.lax.stop_gradient(miss)
  return miss**gamma * cross_entropy(logits, label, class_weights)


@dataclasses.dataclass(frozen=True)
class Loss:
  """A loss that a config names.

  Attributes:
    function: of predictions and labels, one value a label.
    tasks: that it fits.
    parameters: name in a config, behind `loss.` -> name in the function.
  """

  function: Callable[..., Array]
  tasks: tuple[str, ...]
  parameters: Mapping[str, str] = dataclasses.field(default_factory=dict)


_CLASSES = ("multiclass", "binary", "multitask")
LOSSES = {
  "l1": Loss(l1, ("regression",)),
  "l2": Loss(l2, ("regression",)),
  "huber": Loss(huber, ("regression",), {"huber_delta": "delta"}),
  "cross_entropy": Loss(cross_entropy, _CLASSES),
  "focal": Loss(
    focal, _CLASSES, {"focal_gamma": "gamma", "focal_detached": "detached"}
  ),
}


def resolve(name: str, task: str) -> str:
  """The loss of a config: `auto` is l1 for regression, else cross_entropy.

  Raises:
    UserError: an unknown loss, or one that does not fit the task.
  """
  fitting = [known for known, loss in LOSSES.items() if task in loss.tasks]
  if choose(name, ("auto", *LOSSES), "loss.name") == "auto":
    return fitting[0]
  if name not in fitting:
    raise UserError(
      f"loss.name={name!r} does not fit {task} labels; use {' or '.join(fitting)}."
    )
  return name


def per_example(
  name: str,
  predictions: Float[Array, "B *outputs"],
  label: Num[Array, "B *K"],
  class_weights: Shaped[ArrayLike, "*_ C"] | None = None,
  weight: Num[Array, "*units"] | Bool[Array, "*units"] | None = None,
  parameters: Mapping[str, Any] | None = None,
  *,
  classes: Sequence[int] = (),
) -> Float[Array, "*units"]:
  """The loss of every example; several labels of one example are averaged.

  Args:
    name: a loss, after `resolve`.
    predictions: of the model.
    label: (B,) or (B, K); of dialogues (B, U) or (B, U, K).
    class_weights: (C,), or (K, C) for K labels. The sum that they weigh is divided by
      the examples, not by their weights, so that batches count alike.
    weight: (B,), or (B, U) of dialogues; rows where it is 0 get a finite loss whose
      gradient is 0, even if NaN stands in their predictions or label. Without it,
      examples are rows (B,).
    parameters: of losses, by their names in a config; each loss takes its own.
    classes: of each of K labels, where they differ, see `mask_classes`.
  """
  loss = LOSSES[name]
  units = 1
  if weight is not None:
    # Before the loss: the gradient of a NaN times zero is NaN.
    units, keep = weight.ndim, weight != 0
    rows = lambda x: jnp.where(keep.reshape(*keep.shape, *[1] * (x.ndim - units)), x, 0)
    predictions, label = rows(predictions), rows(label)
  own = {
    loss.parameters[k]: x for k, x in (parameters or {}).items() if k in loss.parameters
  }
  if "regression" in loss.tasks:
    values = loss.function(predictions, label.reshape(predictions.shape), **own)
  else:
    if classes:
      predictions = mask_classes(predictions, classes)
      label = jnp.where(label < np.broadcast_to(classes, label.shape), label, -1)
    values = loss.function(predictions, label, class_weights, **own)
  return values.mean(axis=tuple(range(units, values.ndim)))


def balanced_class_weights(
  labels: np.ndarray, task: str, classes: int | Sequence[int]
) -> Float[np.ndarray, "*K C"]:
  """N / (classes that occur * n_c): every class weighs alike, the mean weight is 1.

  A class without an example has no frequency to make up for, and gets weight 1.

  Args:
    labels: of the training split, (N,) or (N, K).
    task: `multiclass`, `binary` or `multitask`.
    classes: C, or K for binary, or the number of each label for multitask.

  Returns:
    (C,), (K, 2) for binary, or (K, C) with 1 behind a label's own classes.
  """
  if task == "regression":
    raise UserError("Class weights need class labels; the labels are regression.")
  if not len(labels):
    raise UserError("Class weights need training examples; there are none.")
  if task == "multitask":
    sizes = tuple(classes)
  else:
    sizes = (2,) * classes if task == "binary" else (classes,)
  columns = labels.reshape(len(labels), -1)
  if columns.shape[1] != len(sizes):
    raise UserError(
      f"Labels of shape {labels.shape} do not fit {classes} classes of a {task} task."
    )
  weights = np.ones((len(sizes), max(sizes)), np.float32)
  for row, column, size in zip(weights, columns.T, sizes, strict=True):
    if column.min() < 0 or column.max() >= size:
      raise UserError(
        f"Labels lie in [{column.min()}, {column.max()}]; {size} classes allow "
        f"[0, {size - 1}]."
      )
    counts = np.bincount(column, minlength=size)
    present = counts > 0
    row[:size][present] = len(labels) / (present.sum() * counts[present])
  return weights[0] if task == "multiclass" else weights


def _wide(x: Array) -> Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
