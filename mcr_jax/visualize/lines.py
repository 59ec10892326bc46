"""Lines with bands: a metric by epoch, scores by depth or another setting."""

from collections.abc import Mapping, Sequence
from typing import Any, SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from mcr_jax.errors import UserError
from mcr_jax.visualize import canvas

_MARKERS = "os^Dv<>"
_DASHES = ("-", "--", "-.", ":")
_MARKED_POINTS = 20
# Runs whose names fit among their lines; more stand below, each so many inches high.
INSIDE, LINE = 4, 0.15


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
  many = len(runs) > INSIDE
  figure, axes = canvas.new(canvas.COLUMN, 2.5 + many * LINE * len(runs))
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
  canvas.title(axes, title)
  axes.set(xlabel="epoch", ylabel=metric)
  axes.xaxis.get_major_locator().set_params(integer=True)
  style = dict(frameon=False, fontsize=canvas.SMALL)
  below = lambda: figure.legend(loc="outside lower center", **style)
  legend = below() if many else axes.legend(**style)
  for text in legend.get_texts():
    text.set_parse_math(False)
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
  width = canvas.COLUMN if len(scores) == 1 else canvas.PAGE
  figure, panels = canvas.new(width, 2.4, 1, len(scores))
  for number, (name, values) in enumerate(scores.items()):
    axes = panels[number] if len(scores) > 1 else panels
    values = np.asarray(values, float).reshape(len(depths), -1)
    _band(axes, depths, values, name, number)
    axes.set(xlabel=xlabel, ylabel=name)
    if all(float(depth).is_integer() for depth in depths):
      axes.set_xticks(list(depths))
  figure.suptitle(title, fontsize=canvas.TYPE, parse_math=False)
  return figure


def _band(axes, x, values: np.ndarray, label: str, number: int) -> None:
  """Mean over the last axis as a line, one deviation each way as a band."""
  x, color = np.asarray(x), canvas.color(number)
  values = np.ma.masked_invalid(values)  # seeds without a value do not count
  mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
  marker = _MARKERS[number % len(_MARKERS)] if len(x) <= _MARKED_POINTS else None
  dash = _DASHES[number % len(_DASHES)]  # in print without colour, too
  axes.plot(x, mean, dash, label=label, color=color, marker=marker, markersize=3)
  axes.fill_between(
    x, mean - spread, mean + spread, color=color, alpha=0.15, linewidth=0
  )
  axes.spines[["top", "right"]].set_visible(False)
  axes.grid(alpha=0.25)
