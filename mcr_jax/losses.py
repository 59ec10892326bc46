"""Losses that give one value an example; the caller weighs and averages them.

Shapes follow the task: regression (B, 1) or (B, K) against labels (B,) or (B, K);
multi-class logits (B, C) against (B,); K two-way logits (B, K, 2) against (B, K).
"""

import difflib

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, Num, Shaped

from mcr_jax.errors import UserError

REGRESSION = ("l1", "l2", "huber")
CLASSIFICATION = ("cross_entropy",)
TASKS = ("regression", "multiclass", "binary")


def resolve(name: str, task: str) -> str:
  """The loss of a config: `auto` is l1 for regression, else cross_entropy.

  Raises:
    UserError: an unknown loss, or one that does not fit the task.
  """
  fitting = REGRESSION if task == "regression" else CLASSIFICATION
  if name == "auto":
    return fitting[0]
  if name not in REGRESSION + CLASSIFICATION:
    known = ("auto", *REGRESSION, *CLASSIFICATION)
    near = difflib.get_close_matches(name, known, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise UserError(f"No loss is named {name!r}; known: {', '.join(known)}.{hint}")
  if name not in fitting:
    raise UserError(
      f"The loss {name!r} does not fit {task} labels; use {' or '.join(fitting)}."
    )
  return name


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
  predictions: Num[Array, "B *K"], label: Num[Array, "B *K"]
) -> Float[Array, "B *K"]:
  """(p - y)^2 / 2 up to an error of 1, |p - y| - 1/2 beyond."""
  error = l1(predictions, label)
  near = jnp.minimum(error, 1.0)
  return near * (error - near / 2)


def cross_entropy(
  logits: Float[Array, "B *K C"],
  label: Num[Array, "B *K"],
  class_weights: Shaped[ArrayLike, "*K C"] | None = None,
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


def per_example(
  name: str,
  predictions: Float[Array, "B *outputs"],
  label: Num[Array, "B *K"],
  class_weights: Shaped[ArrayLike, "*_ C"] | None = None,
  weight: Num[Array, "B"] | Bool[Array, "B"] | None = None,
) -> Float[Array, "B"]:
  """The loss of every example; several labels of one example are averaged.

  Args:
    name: a loss, after `resolve`.
    predictions: of the model.
    label: (B,), or (B, K).
    class_weights: (C,), or (K, 2) for two-way labels. The sum that they weigh is
      divided by the examples, not by their weights, so that batches count alike.
    weight: rows where it is 0 get a finite loss whose gradient is 0, even if NaN
      stands in their predictions or label.
  """
  if weight is not None:
    # Before the loss: the gradient of a NaN times zero is NaN.
    keep = weight != 0
    rows = lambda x: jnp.where(keep.reshape(-1, *[1] * (x.ndim - 1)), x, 0)
    predictions, label = rows(predictions), rows(label)
  if name == "cross_entropy":
    values = cross_entropy(predictions, label, class_weights)
  else:
    loss = {"l1": l1, "l2": l2, "huber": huber}[name]
    values = loss(predictions, label.reshape(predictions.shape))
  return values.mean(axis=tuple(range(1, values.ndim)))


def joint(
  task_loss: Float[Array, ""],
  regularization: Float[ArrayLike, ""],
  gamma: Num[ArrayLike, ""],
) -> Float[Array, ""]:
  """(1 - gamma) L_task + gamma L_regularization (MIA-Net, Eq. 13, 16).

  Deviation: Eq. 14 prints a minus in its task loss, which would maximise it.
  """
  return (1 - gamma) * task_loss + gamma * regularization


def balanced_class_weights(
  labels: np.ndarray, task: str, classes: int
) -> Float[np.ndarray, "*K C"]:
  """N / (classes that occur * n_c): every class weighs alike, the mean weight is 1.

  A class without an example has no frequency to make up for, and gets weight 1.

  Args:
    labels: of the training split, (N,) or (N, K).
    task: `multiclass` or `binary`.
    classes: C, or K for binary.

  Returns:
    (C,), or (K, 2) for binary.
  """
  if task == "regression":
    raise UserError("Class weights need class labels; the labels are regression.")
  if not len(labels):
    raise UserError("Class weights need training examples; there are none.")
  columns = labels.reshape(len(labels), -1)
  width = 2 if task == "binary" else classes
  if columns.shape[1] != (classes if task == "binary" else 1):
    raise UserError(
      f"Labels of shape {labels.shape} do not fit {classes} classes of a {task} task."
    )
  if columns.min() < 0 or columns.max() >= width:
    raise UserError(
      f"Labels lie in [{columns.min()}, {columns.max()}]; {width} classes allow "
      f"[0, {width - 1}]."
    )
  counts = np.stack([np.bincount(column, minlength=width) for column in columns.T])
  occurring = (counts > 0).sum(axis=1, keepdims=True)
  weights = len(labels) / (occurring * np.maximum(counts, 1))
  weights = np.where(counts > 0, weights, 1.0).astype(np.float32)
  return weights if task == "binary" else weights[0]


def _wide(x: Array) -> Array:
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
