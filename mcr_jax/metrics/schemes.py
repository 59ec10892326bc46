"""Which metrics a task has: `scores` gives each by name, as a function of weights.

Names are lower case and do not change: `mae`, `acc2_has0`, `weighted_f1`; those of one
class, label or target carry its name, `f1/<class>`, `<label>/acc`, `<target>/corr`.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from mcr_jax.errors import UserError, choose
from mcr_jax.metrics import classification, regression, sentiment
from mcr_jax.metrics.metric import Metric, Score
from mcr_jax.metrics.scale import Scale
from mcr_jax.ops.classes import mask_classes

Scores = dict[str, Score]


@dataclasses.dataclass(frozen=True)
class Scheme:
  """The metrics of one kind of task.

  Attributes:
    metrics: all of them, as a report lists them.
    headline: the name of the one that stands for all where there is room for one.
    score: (predictions (N, *outputs), labels, class names, target names) -> scores.
    task: of the data sets that it scores.
    axes: of the labels, as many as it may be.
    needs: the same in words.
  """

  metrics: tuple[Metric, ...]
  headline: str
  score: Callable[..., Iterable[Score]]
  task: str
  axes: tuple[int, ...]
  needs: str

  def fits(self, labels: np.ndarray) -> bool:
    """Whether it can score such labels."""
    numbers = labels.dtype.kind == "f"
    axes = 1 if numbers and labels.shape[1:] == (1,) else labels.ndim
    return numbers == (self.task == "regression") and axes in self.axes


def resolve(scheme: str, labels: np.ndarray, task: str = "") -> str:
  """The scheme that `auto` stands for, or `scheme` if it fits the labels.

  `auto`: that of the task; of a regression with one number a sample what its range and
  steps suggest, see `scale.Scale`, else `regression`.

  Args:
    scheme: of `SCHEMES`.
    labels: (N,) or (N, K).
    task: of the data set; where it is not given, (N, K) whole numbers are `binary`,
      (N,) whole numbers `multiclass`, and floats a regression.
  """
  choose(scheme, SCHEMES, "evals.metrics")
  if scheme == "auto":
    if task in _SCHEMES and task != "regression":
      return task
    if labels.dtype.kind != "f":
      return "binary" if labels.ndim == 2 else "multiclass"
    one = _SCHEMES["sentiment"].fits(labels)
    return Scale.of(labels).scheme() if one else "regression"
  known = _SCHEMES[scheme]
  if not known.fits(labels):
    raise UserError(
      f"The metrics {scheme!r} need labels that are {known.needs}; these are "
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
      f"{', '.join(map(str, class_names))}."
    )
  lower = tuple(name.lower() for name in class_names)
  return lower if len(set(lower)) == count else tuple(class_names)


def classes_of(
  class_names: Sequence[Sequence[str]], predictions: np.ndarray
) -> tuple[int, ...]:
  """How many classes each of K labels has, from (..., K, C) logits and their names."""
  if not class_names:
    return (predictions.shape[-1],) * predictions.shape[-2]
  return tuple(map(len, class_names))


def scheme_of(name: str) -> Scheme:
  """A scheme by its name, which is not `auto`."""
  return _SCHEMES[name]


def scores(
  scheme: str,
  predictions: np.ndarray,
  labels: np.ndarray,
  class_names: Sequence = (),
  target_names: Sequence[str] = (),
) -> Scores:
  """Every metric of a resolved scheme; each takes weights (N,), (R, N) or None.

  Args:
    scheme: after `resolve`.
    predictions: (N, *outputs) of the model.
    labels: (N,) or (N, K).
    class_names: of a classification; of several labels one sequence a label.
    target_names: of K labels or numbers; `class_names` may hold them, too.
  """
  found = _SCHEMES[scheme].score(predictions, labels, class_names, target_names)
  return {score.name: score for score in found}


def _flat(metrics, predictions, labels, *_) -> Iterable[Score]:
  """One number a sample."""
  p, y = predictions.reshape(len(labels)), labels.reshape(-1)
  return [Score(metric, p, y) for metric in metrics]


def _regression(predictions, labels, class_names, target_names) -> Iterable[Score]:
  predictions = predictions.reshape(labels.shape)
  if predictions.ndim == 1 or predictions.shape[1] == 1:
    return _flat(regression.METRICS, predictions, labels)
  owners = names_of(target_names or class_names, labels.shape[1])
  pair = predictions, labels
  return [
    *(Score(metric, *pair, owners) for metric in regression.METRICS),
    *_each(_TARGET, *pair, owners),
  ]


def _binary(predictions, labels, class_names, target_names) -> Iterable[Score]:
  owners = names_of(class_names or target_names, labels.shape[1])
  pair = predictions.argmax(axis=-1), labels
  return [
    *(Score(metric, *pair, owners) for metric in _MEAN_TWO_WAY),
    *_each(_LABEL, *pair, owners),
  ]


def _multitask(predictions, labels, class_names, target_names) -> Iterable[Score]:
  owners = names_of(target_names, labels.shape[1])
  classes = classes_of(class_names, predictions)
  pair = mask_classes(predictions, classes).argmax(axis=-1), labels
  return [
    *(Score(metric, *pair, owners) for metric in _MEAN_LEVELS),
    *_each(_LEVEL, *pair, owners),
  ]


def _multiclass(predictions, labels, class_names, _) -> Iterable[Score]:
  predicted = predictions.argmax(axis=-1)
  names = names_of(class_names, predictions.shape[-1])
  return [
    *(Score(metric, predicted, labels) for metric in classification.METRICS),
    *(
      Score(metric, predicted == c, labels == c, (name,))
      for metric in classification.BY_CLASS
      for c, name in enumerate(names)
    ),
  ]


def _each(metrics, predictions, labels, owners) -> Iterable[Score]:
  """Every metric of every column."""
  for k, owner in enumerate(owners):
    for metric in metrics:
      yield Score(metric, predictions[:, k], labels[:, k], (owner,))


def _of_one(metrics: Iterable[Metric], owner: str) -> tuple[Metric, ...]:
  """The metrics of each of several labels or targets."""
  return tuple(
    dataclasses.replace(metric, name=f"<{owner}>/{metric.name}") for metric in metrics
  )


def _means(metrics: Iterable[Metric], owner: str) -> tuple[Metric, ...]:
  """Their means, unless they only serve to compare."""
  text = "The plain mean of `<{owner}>/{name}` over the {owner}s."
  return tuple(
    dataclasses.replace(
      metric,
      name=f"mean_{metric.name}",
      definition=text.format(owner=owner, name=metric.name),
    )
    for metric in metrics
    if not metric.legacy
  )


_TARGET = tuple(
  dataclasses.replace(
    one, definition=f"Of one of several targets; `{metric.name}` is their plain mean."
  )
  for metric, one in zip(
    regression.METRICS, _of_one(regression.METRICS, "target"), strict=True
  )
)
_LABEL = _of_one(classification.TWO_WAY, "label")
_MEAN_TWO_WAY = _means(classification.TWO_WAY, "label")
_LEVEL = _of_one(classification.LEVELS, "target")
_MEAN_LEVELS = _means(classification.LEVELS, "target")

_SCHEMES = {
  "sentiment": Scheme(
    sentiment.METRICS,
    "mae",
    functools.partial(_flat, sentiment.METRICS),
    "regression",
    (1,),
    "floats (N,)",
  ),
  "sims": Scheme(
    sentiment.SIMS,
    "mae",
    functools.partial(_flat, sentiment.SIMS),
    "regression",
    (1,),
    "floats (N,)",
  ),
  "regression": Scheme(
    (*regression.METRICS, *_TARGET),
    "mae",
    _regression,
    "regression",
    (1, 2),
    "floats (N,) or (N, K)",
  ),
  "binary": Scheme(
    (*_MEAN_TWO_WAY, *_LABEL),
    "mean_f1",
    _binary,
    "binary",
    (2,),
    "whole numbers (N, K)",
  ),
  "multiclass": Scheme(
    (*classification.METRICS, *classification.BY_CLASS),
    "weighted_f1",
    _multiclass,
    "multiclass",
    (1,),
    "whole numbers (N,)",
  ),
  "multitask": Scheme(
    (*_MEAN_LEVELS, *_LEVEL),
    "mean_weighted_f1",
    _multitask,
    "multitask",
    (2,),
    "whole numbers (N, K)",
  ),
}
SCHEMES = ("auto", *_SCHEMES)
"""`auto` is resolved from task and labels."""
