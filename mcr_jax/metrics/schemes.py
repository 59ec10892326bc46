"""Which metrics a task has: `scores` gives each by name, as a function of weights.

Names are lower case and do not change: `mae`, `acc2_has0`, `weighted_f1`; those of one
class or one label carry its name, `f1/<class>`, `<emotion>/acc`, `<dimension>/corr`.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.metrics import average, classification, regression, sentiment

SCHEMES = ("auto", "sentiment", "sims", "regression", "binary", "multiclass")
"""`auto` is resolved from the labels; `sims` is never chosen by itself."""

Scores = dict[str, Callable[[np.ndarray | None], average.Value]]


def resolve(scheme: str, labels: np.ndarray) -> str:
  """The scheme that `auto` stands for, or `scheme` if it fits the labels.

  `auto`: (N, K) whole numbers are `binary`, (N,) whole numbers `multiclass`, float
  labels `sentiment` where they are (N,) and lie within [-3, 3], else `regression`.
  """
  if scheme not in SCHEMES:
    raise UserError(f"No metrics are named {scheme!r}; known: {', '.join(SCHEMES)}.")
  numbers = labels.dtype.kind == "f"
  flat = labels.ndim == 1 or labels.shape[1:] == (1,)
  if scheme == "auto":
    if not numbers:
      return "binary" if labels.ndim == 2 else "multiclass"
    small = flat and bool((np.abs(labels) <= 3).all())
    return "sentiment" if small else "regression"
  needs = {
    "binary": (not numbers and labels.ndim == 2, "whole numbers (N, K)"),
    "multiclass": (not numbers and labels.ndim == 1, "whole numbers (N,)"),
    "regression": (numbers, "floats (N,) or (N, K)"),
  }
  fits, wanted = needs.get(scheme, (numbers and flat, "floats (N,)"))
  if not fits:
    raise UserError(
      f"The metrics {scheme!r} need labels that are {wanted}; these are "
      f"{labels.dtype} of shape {labels.shape}."
    )
  return scheme


def names_of(class_names: Sequence[str], count: int) -> tuple[str, ...]:
  """Class names as they stand in metric names; 0, 1, 2... where there are none."""
  if not class_names:
    return tuple(str(number) for number in range(count))
  if len(class_names) != count:
    raise UserError(
      f"The model has {count} outputs, but there are {len(class_names)} class names: "
      f"{', '.join(class_names)}."
    )
  lower = tuple(name.lower() for name in class_names)
  return lower if len(set(lower)) == count else tuple(class_names)


def scores(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence[str] = (),
) -> Scores:
  """Every metric of a resolved scheme; each takes weights (N,), (R, N) or None.

  Args:
    scheme: after `resolve`.
    predictions: (N, *outputs) of the model.
    labels: (N,) or (N, K).
    class_names: of a classification, or of the K numbers of a regression.
  """
  make = {"binary": _binary, "multiclass": _multiclass, "regression": _regression}
  if scheme in make:
    return make[scheme](predictions, labels, class_names)
  functions = sentiment.SIMS_FUNCTIONS if scheme == "sims" else sentiment.FUNCTIONS
  return _bind(functions, predictions.reshape(len(labels)), labels.reshape(-1))


def _bind(functions, *arrays: np.ndarray) -> Scores:
  return {name: functools.partial(f, *arrays) for name, f in functions.items()}


def _mean(parts: Sequence[Callable]) -> Callable:
  return lambda weight: np.mean([part(weight) for part in parts], axis=0)


def _regression(predictions, labels, class_names) -> Scores:
  predictions = predictions.reshape(labels.shape)
  if predictions.ndim == 1 or predictions.shape[1] == 1:
    return _bind(regression.FUNCTIONS, predictions.reshape(-1), labels.reshape(-1))
  names = names_of(class_names, labels.shape[1])
  each = {
    name: _bind(regression.FUNCTIONS, predictions[:, k], labels[:, k])
    for k, name in enumerate(names)
  }
  means = {
    metric: _mean([each[name][metric] for name in names])
    for metric in regression.FUNCTIONS
  }
  single = {f"{n}/{metric}": f for n in names for metric, f in each[n].items()}
  return means | single


def _binary(predictions, labels, class_names) -> Scores:
  """K two-way labels, the arg max of two logits each (IEMOCAP's emotions).

  `<emotion>/acc` is its accuracy, `<emotion>/f1` the F1 of its two ways weighted by
  their true support; `mean_acc` and `mean_f1` are the plain means over emotions.
  """
  names = names_of(class_names, labels.shape[1])
  ways = predictions.argmax(axis=-1)
  result = {}
  for k, name in enumerate(names):
    pair = ways[:, k], labels[:, k]
    result[f"{name}/acc"] = functools.partial(classification.accuracy, *pair)
    result[f"{name}/f1"] = _of_matrix(classification.weighted_f1, *pair, 2)
    swapped = classification.weighted_f1_by_prediction
    result[f"{name}/f1_by_prediction"] = _of_matrix(swapped, *pair, 2)
  means = {
    f"mean_{metric}": _mean([result[f"{name}/{metric}"] for name in names])
    for metric in ("acc", "f1")
  }
  return means | result


def _multiclass(predictions, labels, class_names) -> Scores:
  count = predictions.shape[-1]
  names = names_of(class_names, count)
  pair = predictions.argmax(axis=-1), labels
  result = {"accuracy": functools.partial(classification.accuracy, *pair)}
  for metric in ("weighted_f1", "macro_f1", "balanced_accuracy"):
    result[metric] = _of_matrix(getattr(classification, metric), *pair, count)
  for metric in ("f1", "precision", "recall"):
    by_class = _of_matrix(getattr(classification, metric), *pair, count)
    for c, name in enumerate(names):
      result[f"{metric}/{name}"] = lambda weight, f=by_class, c=c: f(weight)[..., c]
  return result


def _of_matrix(function, predicted, true, classes) -> Callable:
  confusion = classification.confusion
  return lambda weight: function(confusion(predicted, true, classes, weight))
