"""What changes with fewer modalities and with noise, and alpha, as Vega-Lite."""

from mcr_jax.demo.explain import Explanation
from mcr_jax.pages import charts
from mcr_jax.visualize import COLORS

Spec = charts.Spec
_TIGHT = {"scale": {"nice": False}}


def fewer(found: Explanation) -> Spec | None:
  """What is said with sets of modalities: a dot a seed, a line their mean.

  None where the clip has one modality alone, so that none can be switched off.
  """
  if len(found.subsets) < 2:
    return None
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
    **charts.chart(values, height=26 * len(labels)),
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
        "mark": {"type": "circle", "size": 50, "opacity": 0.6, "color": COLORS[0]},
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
  legend = {"orient": "top", "symbolOpacity": 1, "symbolType": "stroke"}
  color |= {"scale": {"domain": list(found.noise)}, "legend": legend}
  levels = sorted({0.0, *(level for by in found.noise.values() for level in by)})
  x = {"field": "noise", "type": "quantitative", "title": "noise, deviations"}
  x["axis"] = {"values": levels, "format": "~g"}
  y = {"type": "quantitative", "title": None, "scale": {"zero": False}}
  filters, params = _chosen(found)
  return {
    **charts.chart(values, height=220),
    "params": params,
    "transform": filters,
    "encoding": {"x": x, "color": color},
    "layer": [
      {
        "mark": {"type": "area", "opacity": 0.1},
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
    height=22 * len(found.alphas),
    mark="bar",
    encoding={
      "x": {
        "field": "alpha",
        "type": "quantitative",
        "title": "alpha, summed",
        **_TIGHT,
      },
      "y": {"field": "reader", "type": "nominal", "title": None, "sort": None},
      "color": {**color, "legend": {"orient": "top"}},
      "tooltip": [{"field": f} for f in ("reader", "source", "alpha")],
    },
  )


def _chosen(found: Explanation) -> tuple[list, list]:
  """Of several numbers the page shows one at a time: (transform, params)."""
  if len(found.names) == 1:
    return [], []
  first = found.names[int(found.together.argmax())]
  params = [charts.select("number", "of", first, found.names)]
  return [{"filter": "datum.number === number"}], params
