"""What the labels of a data set are, in words; also where they are of no use."""

import dataclasses
import functools

import numpy as np

from mcr_jax.data.labels import usable
from mcr_jax.data.schema import SPLITS, Dataset

BAR = 40


def readable(dataset: Dataset) -> Dataset:
  """Without labels and splits that are of no use; `problem` says why they are not."""
  splits, labels = dataset.splits, dataset.labels
  if splits is not None and splits.shape != (len(dataset),):
    splits = None
  if labels is not None:
    checked, labels = usable(dataset), np.asarray(labels)
    numbers = labels.dtype.kind == "f" and labels.size
    shaped = labels.ndim in (1, 2) and len(labels) == len(dataset)
    # Numbers of which some are not finite are worth a look.
    if checked.labels is not None or not (numbers and shaped):
      dataset, labels = checked, checked.labels
  return dataclasses.replace(dataset, splits=splits, labels=labels)


def lines(dataset: Dataset) -> list[str]:
  """Range and mean of numbers, or counts of classes, by split."""
  labels = dataset.labels
  if labels is None or not len(labels):
    return ["Labels: none; good for prediction only."]
  labels, names = np.asarray(labels), list(dataset.class_names)
  splits = _by_split(dataset)
  if labels.dtype.kind == "f" and labels.ndim == 1:
    # In double precision, so that no sum overflows.
    labels = labels.astype(np.float64)
    finite = np.isfinite(labels)
    if not finite.any():
      return ["Labels: none is finite."]
    low, high = labels[finite].min(), labels[finite].max()
    text = [f"Labels: numbers from {low:.4g} to {high:.4g}"]
    if not finite.all():
      text.append(f"  {count((~finite).sum(), 'label')} not finite")
    for split, rows in splits:
      x = labels[rows][finite[rows]]
      if len(x):
        text.append(f"  {split}: mean {x.mean():.5g}, deviation {_deviation(x):.5g}")
    return [
      *text,
      *histogram(labels, np.linspace(low, high if high > low else low + 1, 8)),
    ]
  if labels.ndim == 2:
    width = labels.shape[1]
    if dataset.task == "multitask":
      return _multitask(dataset, splits)
    names = names or list(dataset.target_names)
    names = names if len(names) == width else [f"label {i}" for i in range(width)]
    means = lambda i, rows: f"{labels[rows, i].mean():.3f}"
    shown = [f"{name}: mean" for name in names]
    return [f"Labels: {width} a sample", *_table(shown, splits, means)]
  classes = max(len(names), int(labels.max()) + 1 if labels.dtype.kind in "biu" else 0)
  names = names + [str(i) for i in range(len(names), min(classes, 50))]
  counts = functools.partial(_count_of, labels)
  shown = [f"{i} {name}:" for i, name in enumerate(names)]
  return [f"Labels: {classes} classes", *_table(shown, splits, counts)]


def _multitask(dataset, splits):
  """The classes of every label; a label without a name has its number."""
  width = dataset.labels.shape[1]
  targets = dataset.target_names or [f"label {i}" for i in range(width)]
  text = [f"Labels: {width} a sample, with classes of their own"]
  for target, names in enumerate(dataset.class_names):
    counts = functools.partial(_count_of, dataset.labels[:, target])
    shown = [f"{targets[target]} {i} {name}:" for i, name in enumerate(names)]
    text += _table(shown, splits, counts)
  return text


def _count_of(labels, number, rows):
  return f"{(labels[rows] == number).sum():,}"


def _table(names, splits, value):
  """A line a name, with what `value(its number, rows)` is in every split."""
  cells = lambda i: ", ".join(f"{split} {value(i, rows)}" for split, rows in splits)
  return [f"  {name} {cells(i)}" for i, name in enumerate(names)]


def histogram(values: np.ndarray, edges: np.ndarray) -> list[str]:
  """A line a bin, of the values that are finite."""
  counts, edges = np.histogram(values[np.isfinite(values)], edges)
  most = max(1, counts.max())
  return [
    f"  {low:>8.4g} to {high:<8.4g} {'#' * round(BAR * n / most):<{BAR}} {n:,}"
    for low, high, n in zip(edges[:-1], edges[1:], counts, strict=True)
  ]


def count(number: int | np.integer, word: str) -> str:
  """`1 value is`, `2 values are`."""
  return f"{number:,} {word} is" if number == 1 else f"{number:,} {word}s are"


def _by_split(dataset):
  if dataset.splits is None:
    return [("all", np.flatnonzero(dataset.labelled))]
  known = dataset.labelled
  groups = [(x, np.flatnonzero((dataset.splits == x) & known)) for x in SPLITS]
  return [(split, rows) for split, rows in groups if len(rows)]


def _deviation(x):
  """As `x.std()`, of numbers whose squares may overflow."""
  most = np.abs(x).max()
  return most * (x / most).std() if most else 0.0
