"""Charts as Vega-Lite specifications: plain values, which the page's script draws."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcr_jax.visualize import COLORS

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
ALL = "all"
# Text and lines take the page's colour, light or dark; black is not seen in the dark.
_PAINTED = {"labelColor": "currentColor", "titleColor": "currentColor"}
_LINES = {"domainColor": "currentColor", "tickColor": "currentColor"}
CONFIG = {
  "background": None,
  "font": "system-ui, sans-serif",
  "view": {"stroke": None},
  "axis": {
    **_PAINTED,
    **_LINES,
    "gridColor": "currentColor",
    "gridOpacity": 0.12,
    "labelFontSize": 12,
    "titleFontSize": 12,
    "labelLimit": 110,
  },
  "legend": {**_PAINTED, "labelFontSize": 12, "titleFontSize": 12},
  "header": _PAINTED,
  "title": {"color": "currentColor", "fontSize": 13},
  "text": {"color": "currentColor"},
  "range": {"category": [*COLORS[:6]]},
}


def short(value: Any) -> Any:
  """Five digits of a number, which are enough to draw it; None where it is not one."""
  if value is None or not np.isfinite(value):
    return None
  return float(f"{value:.5g}")


def history(
  runs: Mapping[str, Sequence[Mapping[str, Any]]],
  first: str,
  names: Sequence[str],
) -> Spec:
  """A metric by epoch, a line a seed; which metric and run is chosen in the page.

  Args:
    runs: name -> rows of its metrics.jsonl.
    first: the metric that is shown at first.
    names: metrics, without their split.
  """
  values = [
    {"run": label, "split": split, "seed": seed, "epoch": row["epoch"]}
    | {name: short(np.atleast_1d(row[f"{split}/{name}"])[seed]) for name in found}
    for label, rows in runs.items()
    for row in rows
    for split in ("train", "valid")
    if (found := [n for n in names if row.get(f"{split}/{n}") is not None])
    for seed in range(len(np.atleast_1d(row[f"{split}/{found[0]}"])))
  ]
  several = len(runs) > 1
  color = {"field": "run" if several else "split", "type": "nominal", "title": None}
  params, one = [select("metric", "metric", first, names)], []
  if several:
    # There are more runs than colours that can be told apart.
    params.append(select("only", "run", ALL, [ALL, *runs]))
    one = [{"filter": f"only == '{ALL}' || datum.run == only"}]
    color |= {"scale": {"domain": list(runs)}}
    color |= {"legend": {"orient": "bottom", "columns": 1, "labelLimit": 320}}
  last = max((row["epoch"] for row in values), default=1)
  ticks = sorted({round(x) for x in np.linspace(1, last, min(last, 6))})
  dash = {"field": "split", "type": "nominal", "title": None}
  return chart(
    values,
    params=params,
    transform=[
      *one,
      {"calculate": "datum[metric]", "as": "value"},
      {"filter": "isValid(datum.value)"},
    ],
    height=260,
    mark={"type": "line", "strokeWidth": 1.5},
    encoding={
      "x": {**_number("epoch"), "axis": {"values": ticks, "format": "d"}},
      "y": {**_number("value"), "scale": {"zero": False}, "title": None},
      "color": color,
      "strokeDash": dash,
      "detail": {"field": "seed", "type": "nominal"},
      "tooltip": _tooltip("run", "split", "seed", "epoch", "value"),
    },
  )


def against_label(
  labels: np.ndarray, predictions: np.ndarray, ids: np.ndarray, drawn: np.ndarray
) -> Spec:
  """Labels against predictions, and the mean label of predictions that are alike.

  Args:
    labels, predictions: (N,).
    ids: (N,).
    drawn: rows that get a dot.
  """
  values = [
    {
      "id": str(ids[i]),
      "label": short(labels[i]),
      "predicted": short(predictions[i]),
    }
    for i in drawn
  ]
  low = float(min(labels.min(), predictions.min()))
  high = float(max(labels.max(), predictions.max()))
  ends = [{"label": x, "predicted": x} for x in (short(low), short(high))]
  scale = {"domain": [low, high], "nice": True}
  x = {**_number("predicted"), "scale": scale}
  y = {**_number("label"), "scale": scale}
  binned = bins(predictions, labels)
  return {
    **chart(values, height=300),
    "layer": [
      {
        "data": {"values": ends},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "currentColor"},
        "encoding": {"x": x, "y": y},
      },
      {
        "mark": {"type": "circle", "size": 28, "opacity": 0.45, "color": COLORS[5]},
        "encoding": {"x": x, "y": y, "tooltip": _tooltip("id", "label", "predicted")},
      },
      {
        "data": {"values": [{"predicted": p, "label": y} for p, y, _ in binned]},
        "mark": {"type": "line", "point": True, "color": COLORS[1]},
        "encoding": {"x": x, "y": y},
      },
    ],
  }


def error_by_label(labels: np.ndarray, predictions: np.ndarray) -> Spec:
  """The mean absolute error of samples whose labels are alike."""
  found = bins(labels, np.abs(predictions - labels))
  values = [{"label": y, "mean error": e, "samples": n} for y, e, n in found]
  return chart(
    values,
    height=220,
    mark={"type": "bar", "color": COLORS[5]},
    encoding={
      "x": {"field": "label", "type": "ordinal", "axis": {"labelAngle": 0}},
      "y": _number("mean error"),
      "tooltip": _tooltip("label", "mean error", "samples"),
    },
  )


def reliability(confidence: np.ndarray, right: np.ndarray) -> Spec:
  """How often predictions are right, by how sure they are.

  Args:
    confidence: (N,) the probability of the predicted class.
    right: (N,) bool.
  """
  edges = np.linspace(0, 1, 11)
  place = np.clip(np.digitize(confidence, edges) - 1, 0, 9)
  values = [
    {
      "probability": short(confidence[place == i].mean()),
      "share right": short(right[place == i].mean()),
      "samples": int((place == i).sum()),
    }
    for i in range(10)
    if (place == i).any()
  ]
  unit = {"domain": [0, 1]}
  x = {**_number("probability"), "scale": unit}
  y = {**_number("share right"), "scale": unit}
  shown = _tooltip("probability", "share right", "samples")
  ends = [{"probability": x, "share right": x} for x in (0, 1)]
  return {
    **chart(values, height=300),
    "layer": [
      {
        "data": {"values": ends},
        "mark": {"type": "line", "strokeDash": [4, 4], "color": "currentColor"},
        "encoding": {"x": x, "y": y},
      },
      {
        "mark": {"type": "line", "point": {"size": 60}, "color": COLORS[1]},
        "encoding": {"x": x, "y": y, "tooltip": shown},
      },
    ],
  }


def confusion(counts: np.ndarray, names: Sequence[str]) -> Spec:
  """Counts, and shares of the true class as colour."""
  shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
  values = [
    {
      "true": str(names[i]),
      "predicted": str(names[j]),
      "count": int(counts[i, j]),
      "share": short(shares[i, j]),
    }
    for i in range(len(names))
    for j in range(len(names))
  ]
  order = {"type": "ordinal", "sort": None}
  dark = {"test": "datum.share > 0.5", "value": "white"}
  axis = {"labelAngle": -45 if max(map(len, map(str, names))) > 3 else 0}
  return {
    **chart(values, width={"step": 48}, height={"step": 40}),
    "encoding": {
      "x": {"field": "predicted", **order, "axis": axis},
      "y": {"field": "true", **order},
      "tooltip": _tooltip("true", "predicted", "count", "share"),
    },
    "layer": [
      {
        "mark": "rect",
        "encoding": {
          "color": {
            **_number("share"),
            "scale": {"scheme": "blues", "domain": [0, 1]},
            "legend": {"format": ".0%"},
          }
        },
      },
      {
        "mark": {"type": "text", "fontSize": 12},
        "encoding": {
          "text": {"field": "count", "type": "quantitative"},
          "color": {"condition": dark, "value": "black"},
        },
      },
    ],
  }


def robustness(
  levels: Sequence[float | int], groups: Mapping[str, Any], metric: str
) -> Spec:
  """A metric by how bad the data is, a line a modality.

  Args:
    levels: (L,).
    groups: modality -> {"mean": (L,), "std": (L,)}.
    metric: what is shown.
  """
  values = [
    {"modality": name, "level": level, "mean": short(mean), "std": short(std)}
    for name, curve in groups.items()
    for level, mean, std in zip(levels, curve["mean"], curve["std"], strict=True)
  ]
  return chart(
    values,
    height=260,
    mark={"type": "line", "point": True},
    encoding={
      "x": _number("level"),
      "y": {**_number("mean"), "title": metric, "scale": {"zero": False}},
      "color": {"field": "modality", "type": "nominal", "title": None},
      "strokeDash": {"field": "modality", "type": "nominal", "title": None},
      "tooltip": _tooltip("modality", "level", "mean", "std"),
    },
  )


def bins(by: np.ndarray, values: np.ndarray, most: int = 13) -> list[tuple]:
  """(middle, mean, count) of values whose `by` is alike, in bins of equal width."""
  kinds = np.unique(by)
  if len(kinds) <= most:
    return [
      (short(x), short(values[by == x].mean()), int((by == x).sum())) for x in kinds
    ]
  edges = np.linspace(by.min(), by.max(), most + 1)
  place = np.clip(np.digitize(by, edges) - 1, 0, most - 1)
  middle = (edges[1:] + edges[:-1]) / 2
  return [
    (
      float(f"{middle[i]:.2g}"),
      short(values[place == i].mean()),
      int(np.sum(place == i)),
    )
    for i in range(most)
    if (place == i).any()
  ]


def chart(values: list, *, width: Any = "container", height: Any, **more: Any) -> Spec:
  """A specification with the style of the page."""
  return {
    "$schema": SCHEMA,
    "config": CONFIG,
    "width": width,
    "height": height,
    "data": {"values": values},
    **more,
  }


def select(param: str, label: str, first: str, options: Sequence[str]) -> Spec:
  """A parameter that a list in the page chooses."""
  bind = {"input": "select", "options": list(options), "name": f"{label} "}
  return {"name": param, "value": first, "bind": bind}


def _number(field: str) -> Spec:
  return {"field": field, "type": "quantitative"}


def _tooltip(*fields: str) -> list[Spec]:
  return [{"field": field} for field in fields]
