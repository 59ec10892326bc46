"""Bars: the share of every source, the scores and the costs of several systems."""

from collections.abc import Mapping, Sequence
from typing import SupportsFloat

import numpy as np
from numpy.typing import ArrayLike

from mcr_jax.visualize import canvas


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
  figure, axes = canvas.new(canvas.COLUMN, 1.1 + 0.26 * len(shares))
  left = np.zeros(len(shares))
  for number, source in enumerate(sources):
    widths = np.array([float(row.get(source, 0.0)) for row in shares.values()])
    bars = axes.barh(
      range(len(shares)),
      widths,
      left=left,
      color=canvas.color(number),
      edgecolor="white",
      label=source,
    )
    # A number where it fits.
    texts = [f"{width:.2f}" if width >= 0.12 else "" for width in widths]
    axes.bar_label(
      bars, texts, label_type="center", color="white", fontsize=canvas.SMALL
    )
    left = left + widths
  canvas.ticks(axes.yaxis, list(shares), 10.0)
  axes.invert_yaxis()
  axes.set(xlabel="summed alpha", xlim=(0, max(1.0, left.max(initial=0))))
  canvas.title(axes, title)
  figure.legend(
    loc="outside lower center",
    ncols=max(1, len(sources)),
    frameon=False,
    fontsize=canvas.SMALL,
  )
  return figure


def scores(
  names: Sequence[str], metrics: Mapping[str, ArrayLike], *, title: str = ""
) -> "matplotlib.figure.Figure":
  """Systems by their scores: a panel a metric, a dot a seed, a line at their mean.

  Args:
    names: (R,) of the systems.
    metrics: name -> R sequences, the values of the seeds of each system; NaN is none.
    title: over the figure.
  """
  width = canvas.COLUMN if len(metrics) == 1 else canvas.PAGE
  figure, panels = canvas.new(width, 0.9 + 0.24 * len(names), 1, len(metrics))
  panels = np.atleast_1d(panels)
  for axes, (metric, systems) in zip(panels, metrics.items(), strict=True):
    for row, values in enumerate(systems):
      values = np.asarray(values, float)
      values = values[np.isfinite(values)]
      axes.plot(values, np.full(len(values), row), "o", color=canvas.color(0), ms=3)
      if len(values):
        axes.plot(2 * [values.mean()], [row - 0.3, row + 0.3], color=canvas.color(1))
    canvas.ticks(
      axes.yaxis, list(names) if axes is panels[0] else [""] * len(names), 10.0
    )
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    axes.margins(x=0.1)
    axes.set_xlabel(metric, parse_math=False)
  figure.suptitle(title, fontsize=canvas.TYPE, parse_math=False)
  return figure


def costs(
  counts: Sequence[int],
  systems: Mapping[str, Mapping[str, ArrayLike]],
  *,
  xlabel: str = "modalities",
  title: str = "",
) -> "matplotlib.figure.Figure":
  """What systems cost by the number of modalities; of powers of ten, logarithmically.

  Args:
    counts: (M,) modalities.
    systems: name -> cost, such as `parameters` -> (M,); NaN where there is none.
    xlabel: what is counted.
    title: over the figure.
  """
  kinds = list(dict.fromkeys(kind for costs in systems.values() for kind in costs))
  width = canvas.COLUMN if len(kinds) == 1 else canvas.PAGE
  figure, panels = canvas.new(width, 2.5, 1, len(kinds))
  for axes, kind in zip(np.atleast_1d(panels), kinds, strict=True):
    for number, (name, costs) in enumerate(systems.items()):
      axes.plot(
        counts,
        np.asarray(costs[kind], float),
        marker="os^Dv<>"[number % 7],
        linestyle=("-", "--", "-.", ":")[number % 4],
        markersize=4,
        color=canvas.color(number),
        label=name,
      )
    every = np.concatenate(
      [np.asarray(costs[kind], float) for costs in systems.values()]
    )
    if np.nanmax(every) > 20 * np.nanmin(every) > 0:
      axes.set_yscale("log")
    else:
      axes.set_ylim(0, 1.1 * np.nanmax(every))
    axes.set_xticks(list(counts))
    axes.set(xlabel=xlabel, ylabel=kind)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
  np.atleast_1d(panels)[0].legend(frameon=False, fontsize=canvas.SMALL)
  figure.suptitle(title, fontsize=canvas.TYPE, parse_math=False)
  return figure
