"""Figures of what a model looked at and how a run went; nothing is saved or shown.

Each function returns a Matplotlib figure (the extra `viz`): `figure.savefig(path)`.
"""

import os
from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from mcr_jax.errors import UserError

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "os^Dv<>"
_MARKED_POINTS = 20
_LABELS_ON_AN_AXIS = 50


def attention(
  weights: ArrayLike,
  rows: Sequence[Any],
  columns: Sequence[Any],
  *,
  title: str = "",
  row_title: str = "query",
  column_title: str = "key",
) -> "matplotlib.figure.Figure":
  """A heat map of weights; with layers for rows, how one word's attention changes.

  Args:
    weights: (Q, K), not negative.
    rows: a label of every query step, such as words.
    columns: a label of every key step, such as frame numbers.
    title: over the figure.
    row_title: what the rows are.
    column_title: what the columns are.
  """
  weights = _matrix(weights, rows, columns)
  # Labels that lie flat need a width; the cells get the rest.
  size = lambda count: float(np.clip(0.25 * count, 2.0, 11.0))
  figure, axes = _new(size(len(columns)) + 2.5, size(len(rows)) + 1.5)
  image = axes.imshow(
    weights, cmap="viridis", vmin=0, aspect="auto", interpolation="nearest"
  )
  _ticks(axes.xaxis, columns, rotation=90 if _long(columns) else 0)
  _ticks(axes.yaxis, rows)
  axes.set(title=title, xlabel=column_title, ylabel=row_title)
  figure.colorbar(image, ax=axes, label="weight")
  return figure


def confusion(
  matrix: ArrayLike, class_names: Sequence[str], *, title: str = ""
) -> "matplotlib.figure.Figure":
  """A confusion matrix: counts, and shares of the row as percent and colour.

  Args:
    matrix: (C, C) counts, true classes in rows and predicted ones in columns.
    class_names: C.
    title: over the figure.
  """
  matrix = _matrix(matrix, class_names, class_names)
  support = matrix.sum(axis=1, keepdims=True)
  shares = matrix / np.where(support == 0, 1, support)
  side = 2.5 + 0.75 * len(class_names)
  figure, axes = _new(side + 0.6, side)
  image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
  for (row, column), share in np.ndenumerate(shares):
    axes.text(
      column,
      row,
      f"{matrix[row, column]:,.0f}" + (f"\n{share:.0%}" if support[row] else ""),
      ha="center",
      va="center",
      fontsize=8,
      color="white" if share > 0.5 else "black",
    )
  _ticks(axes.xaxis, class_names, rotation=45 if _long(class_names) else 0)
  _ticks(axes.yaxis, class_names)
  axes.set(title=title, xlabel="predicted", ylabel="true")
  figure.colorbar(image, ax=axes, label="share of the true class", shrink=0.8)
  return figure


def curves(
  runs: Mapping[str, Sequence[Mapping[str, Any]]],
  metric: str = "valid/loss",
  *,
  title: str = "",
) -> "matplotlib.figure.Figure":
  """A metric by epoch for several runs: the mean over seeds, and a deviation around.

  Args:
    runs: name -> the rows of its metrics.jsonl.
    metric: a name in these rows; a row without it is skipped.
    title: over the figure.
  """
  figure, axes = _new(6.4, 4.0)
  for number, (name, rows) in enumerate(runs.items()):
    kept = [row for row in rows if row.get(metric) is not None]
    if not kept:
      known = sorted({key for row in rows for key in row} - {"epoch", "reasons"})
      raise UserError(
        f"The run {name!r} has no {metric!r} in any epoch; it has "
        f"{', '.join(known) or 'nothing'}."
      )
    values = [np.atleast_1d(np.array(row[metric], float)) for row in kept]
    _band(axes, [row["epoch"] for row in kept], np.stack(values), name, number)
  axes.set(title=title, xlabel="epoch", ylabel=metric)
  axes.xaxis.get_major_locator().set_params(integer=True)
  axes.legend(frameon=False)
  return figure


def alpha(
  shares: Mapping[str, Mapping[str, SupportsFloat]],
  *,
  title: str = "",
) -> "matplotlib.figure.Figure":
  """How much weight falls on each source modality: one stacked bar a row.

  Args:
    shares: row, such as a target modality, a layer or a sample -> source modality ->
      the sum of its alphas; a source that a row lacks is 0.
    title: over the figure.
  """
  sources = list(dict.fromkeys(source for row in shares.values() for source in row))
  figure, axes = _new(6.4, 1.6 + 0.4 * len(shares))
  left = np.zeros(len(shares))
  for number, source in enumerate(sources):
    widths = np.array([float(row.get(source, 0.0)) for row in shares.values()])
    bars = axes.barh(
      range(len(shares)),
      widths,
      left=left,
      color=_color(number),
      edgecolor="white",
      label=source,
    )
    # A number where it fits.
    texts = [f"{width:.2f}" if width >= 0.08 else "" for width in widths]
    axes.bar_label(bars, texts, label_type="center", color="white", fontsize=8)
    left = left + widths
  _ticks(axes.yaxis, list(shares))
  axes.invert_yaxis()
  axes.set(xlabel="summed alpha", xlim=(0, max(1.0, left.max(initial=0))))
  axes.set_title(title)
  figure.legend(loc="outside lower center", ncols=max(1, len(sources)), frameon=False)
  return figure


def depth(
  depths: Sequence[SupportsFloat],
  scores: Mapping[str, ArrayLike],
  *,
  title: str = "",
  xlabel: str = "layers",
) -> "matplotlib.figure.Figure":
  """Scores against depth, or another setting: mean over seeds, a deviation around.

  Args:
    depths: (D,) such as the number of layers of each run.
    scores: name, such as `acc2_non0` -> (D, S) its value for every depth and seed, or
      (D,). Each has a panel of its own, since units differ.
    title: over the figure.
    xlabel: what was varied.
  """
  figure, panels = _new(3.6 * len(scores) + 0.4, 3.4, len(scores))
  for number, (name, values) in enumerate(scores.items()):
    axes = panels[number] if len(scores) > 1 else panels
    values = np.asarray(values, float).reshape(len(depths), -1)
    _band(axes, depths, values, name, number)
    axes.set(xlabel=xlabel, ylabel=name)
    if all(float(depth).is_integer() for depth in depths):
      axes.set_xticks(list(depths))
  figure.suptitle(title)
  return figure


def check_name(path: str | os.PathLike) -> None:
  """Raises UserError where a figure could not be saved under this name."""
  known = _new(1.0, 1.0)[0].canvas.get_supported_filetypes()
  if os.path.splitext(path)[1][1:].lower() not in known:
    raise UserError(f"{path} is no picture; its ending may be {', '.join(known)}.")


def _new(width: float, height: float, panels: int = 1):
  """A figure that belongs to no window and no global state, and its axes."""
  try:
    from matplotlib.figure import Figure
  except ImportError as error:
    raise UserError(
      "Figures need Matplotlib, which is not installed: pip install 'mcr_jax[viz]'."
    ) from error
  figure = Figure(figsize=(width, height), dpi=120, layout="constrained")
  return figure, figure.subplots(1, panels)


def _band(axes, x, values: np.ndarray, label: str, number: int) -> None:
  """Mean over the last axis as a line, one deviation each way as a band."""
  x, color = np.asarray(x), _color(number)
  values = np.ma.masked_invalid(values)  # seeds without a value do not count
  mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
  marker = _MARKERS[number % len(_MARKERS)] if len(x) <= _MARKED_POINTS else None
  axes.plot(x, mean, label=label, color=color, marker=marker, markersize=4)
  axes.fill_between(
    x, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0
  )
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(alpha=0.25)


def _ticks(axis, labels: Sequence[Any], rotation: int = 0) -> None:
  """Labels of all steps, or of every few where they would overlap."""
  every = -(-len(labels) // _LABELS_ON_AN_AXIS)
  positions = range(0, len(labels), every)
  axis.set_ticks(positions, [str(labels[i]) for i in positions])
  axis.set_tick_params(rotation=rotation, labelsize=8, length=2)


def _long(labels: Sequence[Any]) -> bool:
  return max((len(str(label)) for label in labels), default=0) > 3


def _color(number: int) -> str:
  return COLORS[number % len(COLORS)]


def _matrix(
  values: ArrayLike, rows: Sequence[Any], columns: Sequence[Any]
) -> np.ndarray:
  values = np.asarray(values)
  if values.shape != (len(rows), len(columns)):
    raise UserError(
      f"A matrix of shape {values.shape} does not fit {len(rows)} row labels and "
      f"{len(columns)} column labels."
    )
  return values
