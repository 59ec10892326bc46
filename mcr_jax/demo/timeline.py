"""What lies on the clip's own time line, as Vega-Lite: attention, sound and face.

All begin and end alike, and mark the time that is played: the page sets the parameter
`now`, in seconds.
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
_NOW = {"name": "now", "value": -1}
_AXIS = {"minExtent": MARGIN, "maxExtent": MARGIN, "labelLimit": MARGIN - 8}


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
    **charts.chart(values, height=40 * len(found.run.spec.modalities)),
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
    if not np.isfinite(column).any():  # silence has no pitch
      continue
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


def _edges(count: int) -> list[tuple[int, int]]:
  parts = np.array_split(np.arange(count), min(count, MOST)) if count else []
  return [(int(x[0]), int(x[-1]) + 1) for x in parts]


def _bins(x: Modality, weights: np.ndarray) -> list[tuple[float, float, float, str]]:
  """(start, end, weight, words or number) of steps with data; many are averaged."""
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
    if np.isfinite(x.times[a, 0]) and x.mask[a:b].any()
  ]
