"""The charts of an explanation, as Vega-Lite specifications.

Those on the clip's own time line end alike and mark the time that is played: the page
sets the parameter `now`, in seconds.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcr_jax.data.schema import Modality
from mcr_jax.demo.attention import ALL
from mcr_jax.demo.explain import Explanation
from mcr_jax.pages import charts
from mcr_jax.visualize import COLORS

Spec = charts.Spec
MOST = 200  # bins of a sequence; more are not seen
MARGIN = 64  # pixels left of every time line, so that times lie under one another
TRACKS = {
  "log_energy": "loudness",
  "f0_log2": "pitch",
  "voicing": "voicing",
  "mouth_open": "mouth open",
  "mouth_corners_up": "corners of the mouth up",
  "eye_open_right": "right eye open",
  "brow_middle_right": "right brow up",
}


def strips(found: Explanation) -> Spec | None:
  """Attention that every step receives, a row a modality; None without any."""
  if not found.received:
    return None
  values = []
  for reader, by in found.received.items():
    for name, weights in by.items():
      x = found.dataset.modalities[name]
      for start, end, weight, what in _bins(x, weights):
        row = {"reader": reader, "modality": name, "start": start, "end": end}
        values.append(row | {"attention": charts.short(weight), "step": what})
  readers = [ALL, *(m for m in found.run.spec.modalities if m in found.received)]
  return {
    **charts.chart(values, height={"step": 40}),
    "params": [_NOW, charts.select("reader", "read by", ALL, readers)],
    "encoding": {"x": _time(found)},
    "layer": [
      {
        "transform": [{"filter": "datum.reader === reader"}],
        "mark": {"type": "rect"},
        "encoding": {
          "x": {**_time(found), "field": "start"},
          "x2": {"field": "end"},
          "y": {
            "field": "modality",
            "type": "nominal",
            "title": None,
            "sort": list(found.run.spec.modalities),
            "axis": _AXIS,
          },
          "color": {
            "field": "attention",
            "type": "quantitative",
            "scale": {"scheme": "viridis", "domainMin": 0},
            "legend": {"title": "times an even share", "orient": "top"},
          },
          "tooltip": [{"field": x} for x in ("modality", "step", "start", "attention")],
        },
      },
      _playhead(),
    ],
  }


def track(found: Explanation, name: str) -> Spec | None:
  """Named features of a modality by time, each between its least and most; or None."""
  x = found.dataset.modalities[name]
  known = [f for f in TRACKS if f in x.names]
  if not known or x.times is None or not x.mask.any():
    return None
  bounds = _edges(len(x.values))
  values, holes = [], []
  for feature in known:
    column = np.where(x.mask, x.values[:, x.names.index(feature)], np.nan)
    column = np.where((feature == "f0_log2") & (column == 0), np.nan, column)
    low, high = np.nanmin(column), np.nanmax(column)
    for a, b in bounds:
      part = column[a:b][np.isfinite(column[a:b])]
      mean = part.mean() if len(part) else np.nan
      shown = 2**mean if feature == "f0_log2" else mean
      values.append(
        {
          "feature": TRACKS[feature],
          "time": charts.short(x.times[a, 0]),
          "value": charts.short((mean - low) / max(high - low, 1e-9)),
          "measured": charts.short(shown),
        }
      )
  for a, b in bounds:
    if not x.mask[a:b].any():
      holes.append({"start": x.times[a, 0], "end": x.times[b - 1, 1]})
  color = {"field": "feature", "type": "nominal", "title": None}
  color |= {"legend": {"orient": "top", "columns": 2}}
  return {
    **charts.chart(values, height=120),
    "params": [_NOW],
    "layer": [
      {
        "data": {"values": holes},
        "mark": {"type": "rect", "color": "currentColor", "opacity": 0.12},
        "encoding": {
          "x": {**_time(found), "field": "start"},
          "x2": {"field": "end"},
        },
      },
      {
        "mark": {
          "type": "line",
          "strokeWidth": 1.5,
          "invalid": "break-paths-show-domains",
        },
        "encoding": {
          "x": {**_time(found), "field": "time"},
          "y": {
            "field": "value",
            "type": "quantitative",
            "title": None,
            "scale": {"domain": [0, 1]},
            "axis": {**_AXIS, "labels": False, "ticks": False, "grid": False},
          },
          "color": color,
          "tooltip": [{"field": x} for x in ("feature", "time", "measured")],
        },
      },
      _playhead(),
    ],
  }


def fewer(found: Explanation) -> Spec:
  """What is said with sets of modalities: a dot a seed, a line their mean."""
  labels = {kept: " + ".join(kept) for kept in found.subsets}
  values = [
    {
      "on": labels[kept],
      "number": name,
      "seed": str(found.run.seeds[s]),
      "value": charts.short(said[s, r]),
    }
    for kept, said in found.subsets.items()
    for s in range(len(said))
    for r, name in enumerate(found.names)
  ]
  y = {"field": "on", "type": "nominal", "title": None, "sort": list(labels.values())}
  y["axis"] = {"labelLimit": 170}
  x = {"type": "quantitative", "scale": {"zero": False}, "title": None}
  filters, params = _chosen(found)
  whole = labels[found.run.spec.modalities]
  return {
    **charts.chart(values, height={"step": 26}),
    "params": params,
    "transform": filters,
    "layer": [
      {
        "transform": [{"filter": {"field": "on", "equal": whole}}],
        "mark": {"type": "rule", "strokeDash": [4, 4], "color": "currentColor"},
        "encoding": {"x": {**x, "aggregate": "mean", "field": "value"}},
      },
      {
        "mark": {"type": "tick", "thickness": 3, "color": COLORS[1]},
        "encoding": {"x": {**x, "aggregate": "mean", "field": "value"}, "y": y},
      },
      {
        "mark": {"type": "circle", "size": 50, "opacity": 0.6, "color": COLORS[5]},
        "encoding": {
          "x": {**x, "field": "value"},
          "y": y,
          "tooltip": [{"field": f} for f in ("on", "seed", "value")],
        },
      },
    ],
  }


def noisy(found: Explanation) -> Spec | None:
  """What is said with noise in one modality: the mean, and the spread of seeds."""
  if not found.noise:
    return None
  values = []
  for name, by in found.noise.items():
    for level, said in ((0.0, found.said[:, None]), *by.items()):
      mean = said.mean((0, 1))
      # Of the mean over draws: how far seeds differ, not how noise does.
      spread = said.mean(1).std(0, ddof=1) if len(said) > 1 else 0 * mean
      for r, number in enumerate(found.names):
        row = {"modality": name, "noise": level, "number": number}
        row |= {"mean": charts.short(mean[r]), "spread": charts.short(spread[r])}
        row |= {"low": charts.short(mean[r] - spread[r])}
        values.append(row | {"high": charts.short(mean[r] + spread[r])})
  color = {"field": "modality", "type": "nominal", "title": None}
  color |= {"scale": {"domain": list(found.noise)}, "legend": {"orient": "top"}}
  x = {"field": "noise", "type": "quantitative", "title": "noise, deviations"}
  y = {"type": "quantitative", "title": None, "scale": {"zero": False}}
  filters, params = _chosen(found)
  return {
    **charts.chart(values, height=220),
    "params": params,
    "transform": filters,
    "encoding": {"x": x, "color": color},
    "layer": [
      {
        "mark": {"type": "area", "opacity": 0.15},
        "encoding": {"y": {**y, "field": "low"}, "y2": {"field": "high"}},
      },
      {
        "mark": {"type": "line", "point": True},
        "encoding": {
          "y": {**y, "field": "mean"},
          "tooltip": [{"field": f} for f in ("modality", "noise", "mean", "spread")],
        },
      },
    ],
  }


def alphas(found: Explanation) -> Spec | None:
  """How much of each source a target takes in; None for a model without alpha."""
  values = [
    {"reader": row, "source": m, "alpha": charts.short(value)}
    for row, by in found.alphas.items()
    for m, value in by.items()
    if value
  ]
  if not values:
    return None
  color = {"field": "source", "type": "nominal", "title": None}
  color |= {"scale": {"domain": list(found.run.spec.modalities)}}
  return charts.chart(
    values,
    height={"step": 22},
    mark="bar",
    encoding={
      "x": {"field": "alpha", "type": "quantitative", "title": "alpha, summed"},
      "y": {"field": "reader", "type": "nominal", "title": None, "sort": None},
      "color": {**color, "legend": {"orient": "top"}},
      "tooltip": [{"field": f} for f in ("reader", "source", "alpha")],
    },
  )


_NOW = {"name": "now", "value": -1}
_AXIS = {"minExtent": MARGIN, "maxExtent": MARGIN, "labelLimit": MARGIN - 8}


def seconds_of(found: Explanation) -> float:
  """Where the last step of the clip ends."""
  ends = [
    x.times[:, 1] for x in found.dataset.modalities.values() if x.times is not None
  ]
  known = np.concatenate([np.zeros(1), *ends])
  return max(float(np.nanmax(known)), 0.1)


def _time(found: Explanation) -> dict[str, Any]:
  scale = {"domain": [0, charts.short(seconds_of(found))], "nice": False}
  return {"type": "quantitative", "title": "seconds", "scale": scale}


def _playhead() -> Spec:
  return {
    "data": {"values": [{}]},
    "transform": [{"calculate": "now", "as": "at"}, {"filter": "datum.at >= 0"}],
    "mark": {"type": "rule", "color": COLORS[1], "strokeWidth": 2},
    "encoding": {"x": {"field": "at", "type": "quantitative"}},
  }


def _chosen(found: Explanation) -> tuple[list, list]:
  """Of several numbers the page shows one at a time: (transform, params)."""
  if len(found.names) == 1:
    return [], []
  first = found.names[int(found.together.argmax())]
  params = [charts.select("number", "of", first, found.names)]
  return [{"filter": "datum.number === number"}], params


def _edges(count: int) -> list[tuple[int, int]]:
  parts = np.array_split(np.arange(count), min(count, MOST)) if count else []
  return [(int(x[0]), int(x[-1]) + 1) for x in parts]


def _bins(x: Modality, weights: np.ndarray) -> list[tuple[float, float, float, str]]:
  """(start, end, weight, words or number) of steps; many are averaged."""
  if x.times is None or not len(weights):
    return []
  words: Sequence[str] | None = None if x.words is None else x.words.tolist()
  return [
    (
      charts.short(x.times[a, 0]),
      charts.short(max(x.times[b - 1, 1], x.times[a, 0] + 0.02)),
      float(weights[a:b].mean()),
      " ".join(words[a:b]) if words else (f"{a}" if b == a + 1 else f"{a} to {b - 1}"),
    )
    for a, b in _edges(len(weights))
    if np.isfinite(x.times[a, 0])
  ]
