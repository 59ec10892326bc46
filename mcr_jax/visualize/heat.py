"""Heat maps: attention of one kind or several, confusion of classes."""

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcr_jax.visualize import canvas

TITLE = 48  # letters of a line over one of two panels


@dataclasses.dataclass(frozen=True)
class Panel:
  """One heat map of several.

  Attributes:
    title: over it.
    weights: (Q, K), not negative.
    rows, columns: labels of the steps.
    row_title, column_title: what they are.
    groups: first columns of parts that were joined, such as two modalities.
  """

  title: str
  weights: np.ndarray
  rows: Sequence[Any]
  columns: Sequence[Any]
  row_title: str = "query"
  column_title: str = "key"
  groups: Sequence[int] = ()


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
  weights = canvas.matrix(weights, rows, columns)
  panel = Panel(title, weights, rows, columns, row_title, column_title)
  width = canvas.COLUMN if len(columns) <= 20 else canvas.PAGE
  height = _inches(len(rows))
  figure, axes = canvas.new(width, height + 1.0)
  _draw(figure, axes, panel, width - 1.3, height)
  return figure


def attention_maps(
  panels: Sequence[Panel], *, title: str = ""
) -> "matplotlib.figure.Figure":
  """Several heat maps, two beside one another, each with a scale of its own."""
  columns = min(2, len(panels))
  rows = -(-len(panels) // columns)
  height = max(_inches(len(panel.rows)) for panel in panels)
  figure, grid = canvas.new(
    canvas.PAGE if columns == 2 else canvas.COLUMN, rows * (height + 1.1), rows, columns
  )
  grid = np.atleast_1d(grid).reshape(-1)
  for axes, panel in zip(grid, panels, strict=False):
    canvas.matrix(panel.weights, panel.rows, panel.columns)
    _draw(figure, axes, panel, 2.2, height)
  for axes in grid[len(panels) :]:
    axes.set_axis_off()
  figure.suptitle(title, fontsize=canvas.TYPE + 1, parse_math=False)
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
  matrix = canvas.matrix(matrix, class_names, class_names)
  support = matrix.sum(axis=1, keepdims=True)
  shares = matrix / np.where(support == 0, 1, support)
  side = max(canvas.COLUMN, 1.1 + 0.55 * len(class_names))
  figure, axes = canvas.new(side, side - 0.6)
  image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
  for (row, column), share in np.ndenumerate(shares):
    axes.text(
      column,
      row,
      f"{matrix[row, column]:,.0f}" + (f"\n{share:.0%}" if support[row] else ""),
      ha="center",
      va="center",
      fontsize=canvas.SMALL,
      color="white" if share > 0.5 else "black",
    )
  names = [str(name) for name in class_names]
  canvas.ticks(axes.xaxis, names, side, rotation=45 if canvas.long(names) else 0)
  canvas.ticks(axes.yaxis, names, side)
  canvas.title(axes, title)
  axes.set(xlabel="predicted", ylabel="true")
  canvas.colorbar(figure, image, axes, "share of the true class", 0.8)
  return figure


def _draw(figure, axes, panel: Panel, width: float, height: float) -> None:
  image = axes.imshow(
    panel.weights, cmap="viridis", vmin=0, aspect="auto", interpolation="nearest"
  )
  turned = 90 if canvas.long(panel.columns) else 0
  canvas.ticks(axes.xaxis, panel.columns, width, rotation=turned)
  canvas.ticks(axes.yaxis, panel.rows, height)
  for start in panel.groups:
    axes.axvline(start - 0.5, color="white", linewidth=1.5)
  canvas.title(axes, textwrap.fill(panel.title, TITLE))
  axes.set_xlabel(panel.column_title, parse_math=False)
  axes.set_ylabel(panel.row_title, parse_math=False)
  canvas.colorbar(figure, image, axes, "weight")


def _inches(count: int) -> float:
  """The height of some rows, whose labels need room."""
  return float(np.clip(count / canvas.LABELS_AN_INCH, 0.6, 6.0))
