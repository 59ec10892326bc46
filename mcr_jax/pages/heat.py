"""The heat map of one sample's attention; the page chooses its kind and layer."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcr_jax.data.schema import Dataset
from mcr_jax.figures import maps as attention_maps
from mcr_jax.figures.maps import Map
from mcr_jax.pages import charts

MOST_ROWS, MOST_COLUMNS = 50, 80
CELL = 16


def chart(sample: Dataset, found: Sequence[Map]) -> charts.Spec | None:
  """Rows read columns; None where nothing reads more than one step.

  Args:
    sample: of one sample.
    found: its maps.
  """
  # Who reads one step alone has no choice, and where a side is absent nobody reads.
  found = [m for m in found if m.weights.shape[1] > 1 and m.weights.any()]
  if not found:
    return None
  # What words read is what most look for; all joined come last.
  found = sorted(found, key=lambda m: (len(m.targets), m.targets[0] != "text"))
  titles = list(dict.fromkeys(m.title for m in found))
  most = max(m.layer for m in found) + 1
  tops = {
    title: max(m.layer for m in found if m.title == title) + 1 for title in titles
  }
  rows, columns, values = {}, {}, []
  for m in found:
    weights, rows[m.title], columns[m.title] = _fitted(sample, m)
    for row, line in enumerate(weights):
      values.append(
        {
          "kind": m.title,
          "layer": m.layer + 1,
          "row": row,
          "w": [float(f"{x:.3g}") for x in line],
        }
      )
  slider = {"input": "range", "min": 1, "max": most, "step": 1, "name": "layer "}
  label = lambda name: f"{name}[kind][datum.value]"
  position = {"type": "ordinal", "title": None}
  tooltip = [
    {"field": "reads", "title": "step"},
    {"field": "what", "title": "reads"},
    {"field": "weight"},
  ]
  return charts.chart(
    values,
    width={"step": CELL},
    height={"step": CELL},
    params=[
      charts.select("kind", "attention", titles[0], titles),
      {"name": "layer", "value": most, "bind": slider},
      {"name": "tops", "value": tops},
      {"name": "rows", "value": rows},
      {"name": "columns", "value": columns},
    ],
    transform=[
      # What has fewer layers stays at its last.
      {"filter": "datum.kind === kind && datum.layer === min(+layer, tops[kind])"},
      {"calculate": "sequence(length(datum.w))", "as": "c"},
      {"flatten": ["w", "c"], "as": ["weight", "column"]},
      {"calculate": "rows[kind][datum.row]", "as": "reads"},
      {"calculate": "columns[kind][datum.column]", "as": "what"},
    ],
    mark="rect",
    encoding={
      "x": {
        "field": "column",
        **position,
        "axis": {"labelExpr": label("columns"), "labelAngle": -60, "labelLimit": 70},
      },
      "y": {"field": "row", **position, "axis": {"labelExpr": label("rows")}},
      "color": {
        "field": "weight",
        "type": "quantitative",
        "scale": {"scheme": "viridis", "domainMin": 0},
      },
      "tooltip": tooltip,
    },
  )


def _fitted(sample: Dataset, m: Map) -> tuple[np.ndarray, list[str], list[str]]:
  """Weights and labels of both sides; long sides are averaged over steps in a row."""
  rows = attention_maps.joined(sample, m.targets)[0]
  columns = attention_maps.joined(sample, m.sources)[0]
  weights, rows = _averaged(m.weights, rows, MOST_ROWS)
  weights, columns = _averaged(weights.T, columns, MOST_COLUMNS)
  return weights.T, rows, columns


def _averaged(weights: np.ndarray, labels: list[str], most: int) -> tuple[Any, list]:
  if len(labels) <= most:
    return weights, labels
  parts = np.array_split(np.arange(len(labels)), most)
  names = [f"{labels[x[0]]} … {labels[x[-1]]}" for x in parts]
  return np.stack([weights[x].mean(0) for x in parts]), names
