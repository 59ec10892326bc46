"""The samples of a split from worst to best, with what was said in them."""

import dataclasses

import numpy as np

from mcr_jax import evaluators
from mcr_jax.data.schema import Dataset
from mcr_jax.evaluators import Evaluation
from mcr_jax.metrics import names_of, schemes

SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Sample:
  """A row of the list.

  Attributes:
    id: of the sample.
    words: what was said, or "".
    label, predicted: in words or numbers.
    error: what it is sorted by: |predicted - label|, or 1 - the probability of the true
      class, the mean over several labels.
  """

  id: str
  words: str
  label: str
  predicted: str
  error: float


def errors(found: Evaluation) -> np.ndarray:
  """(N,) how wrong the seeds together are."""
  task = schemes.scheme_of(found.results.scheme).task
  together = evaluators.ensemble(found.predictions, task, found.results.class_names)
  labels = found.labels
  if task == "regression":
    wrong = np.abs(together.reshape(len(labels), -1) - labels.reshape(len(labels), -1))
    return wrong.mean(1)
  shares = evaluators.shares(together, task, found.results.class_names)
  true = np.take_along_axis(shares, labels[..., None].astype(int), -1)[..., 0]
  return 1 - true.reshape(len(labels), -1).mean(1)


def listed(found: Evaluation, dataset: Dataset | None) -> list[Sample]:
  """The worst and the best samples, the worst first.

  Args:
    found: an evaluation.
    dataset: with their words; None where it is not to be had.
  """
  wrong = errors(found)
  order = np.argsort(-np.where(np.isfinite(wrong), wrong, np.inf), kind="stable")
  rows = [*order[:SHOWN], *order[max(SHOWN, len(order) - SHOWN) :]]
  places = {}
  if dataset is not None:
    places = {str(name): i for i, name in enumerate(dataset.ids)}
  task = schemes.scheme_of(found.results.scheme).task
  together = evaluators.ensemble(found.predictions, task, found.results.class_names)
  said = lambda name: dataset.sentence(places[name]) if name in places else ""
  return [
    Sample(
      id=str(found.ids[i]),
      words=said(str(found.ids[i])),
      label=_label(np.asarray(found.labels[i]), found),
      predicted=_predicted(together[i], task, found),
      error=float(wrong[i]),
    )
    for i in rows
  ]


def confidences(found: Evaluation) -> tuple[np.ndarray, np.ndarray] | None:
  """(N,) probability of the predicted class, and whether it is right; or None."""
  if found.results.scheme != "multiclass":
    return None
  together = evaluators.ensemble(found.predictions, "multiclass")
  shares = evaluators.shares(together)
  return shares.max(-1), shares.argmax(-1) == found.labels


def _label(label: np.ndarray, found: Evaluation) -> str:
  names = found.results.class_names
  if label.dtype.kind == "f":
    return " ".join(f"{x:.2f}" for x in np.atleast_1d(label))
  if label.ndim == 0:
    return str(names[int(label)]) if names else str(int(label))
  return " ".join(map(str, label.tolist()))


def _predicted(value: np.ndarray, task: str, found: Evaluation) -> str:
  names = found.results.class_names
  if task == "regression":
    return " ".join(f"{x:.2f}" for x in value.reshape(-1))
  shares = evaluators.shares(value, task, names)
  if task == "multiclass":
    best = int(shares.argmax())
    name = names_of(names, len(shares))[best] if names else str(best)
    return f"{name} ({shares[best]:.0%})"
  return " ".join(map(str, shares.argmax(-1).tolist()))
