"""What all figures share: size, type, colours, labels of steps."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mcr_jax.errors import UserError

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# Inches: a column of a page of two, and the whole page. Type is legible at this size.
COLUMN, PAGE = 3.5, 7.0
TYPE = 8
SMALL = 7
LABELS_AN_INCH = 7


def new(width: float, height: float, rows: int = 1, columns: int = 1):
  """A figure that belongs to no window and no global state, and its axes."""
  try:
    import matplotlib
    from matplotlib.figure import Figure
  except ImportError as error:
    raise UserError(
      "Figures need Matplotlib, which is not installed: pip install 'mcr_jax[viz]'."
    ) from error
  sizes = {"font.size": TYPE, "axes.titlesize": TYPE, "legend.fontsize": SMALL}
  sizes |= {"xtick.labelsize": SMALL, "ytick.labelsize": SMALL}
  # Text is given its size where it is made.
  with matplotlib.rc_context(sizes):
    figure = Figure(figsize=(width, height), dpi=200, layout="constrained")
    return figure, figure.subplots(rows, columns)


def check_name(path: str | os.PathLike) -> None:
  """Raises UserError where a figure could not be saved under this name."""
  known = new(1.0, 1.0)[0].canvas.get_supported_filetypes()
  if os.path.splitext(path)[1][1:].lower() not in known:
    raise UserError(f"{path} is no picture; its ending may be {', '.join(known)}.")


def save(figure, path: str | os.PathLike) -> None:
  """Writes a figure; letters of an .svg are text, and its bytes depend on no clock."""
  import matplotlib

  svg = os.fspath(path).lower().endswith(".svg")
  with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "mcr_jax"}):
    figure.savefig(path, metadata={"Date": None} if svg else None)


def title(axes, text: str) -> None:
  """A title as it is: words of the data are no formulas."""
  axes.set_title(text, fontsize=TYPE, parse_math=False)


def colorbar(figure, image, axes, label: str, shrink: float = 1.0) -> None:
  """The scale of a heat map."""
  bar = figure.colorbar(image, ax=axes, shrink=shrink)
  bar.set_label(label, fontsize=TYPE)
  bar.ax.tick_params(labelsize=SMALL)


def ticks(axis, labels: Sequence[Any], inches: float, rotation: int = 0) -> None:
  """Labels of all steps, or of every few where they would overlap."""
  room = max(1, int(inches * LABELS_AN_INCH))
  every = -(-len(labels) // room)
  positions = range(0, len(labels), every)
  shown = [shortened(str(labels[i])) for i in positions]
  axis.set_ticks(positions, shown)
  axis.set_tick_params(rotation=rotation, labelsize=SMALL, length=2)
  for label in axis.get_ticklabels():
    label.set_parse_math(False)


def shortened(text: str, most: int = 24) -> str:
  """A label that leaves room for what it labels."""
  return text if len(text) <= most else f"{text[: most - 1]}…"


def long(labels: Sequence[Any]) -> bool:
  """Whether labels would run into one another side by side."""
  return max((len(str(label)) for label in labels), default=0) > 3


def color(number: int) -> str:
  """Of a line or bar, by its number."""
  return COLORS[number % len(COLORS)]


def matrix(
  values: ArrayLike, rows: Sequence[Any], columns: Sequence[Any]
) -> np.ndarray:
  """Values that fit their labels."""
  values = np.asarray(values)
  if values.shape != (len(rows), len(columns)):
    raise UserError(
      f"A matrix of shape {values.shape} does not fit {len(rows)} row labels and "
      f"{len(columns)} column labels."
    )
  return values
