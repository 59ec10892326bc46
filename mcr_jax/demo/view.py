"""An explanation as HTML: numbers in words, tables and charts, all of it escaped."""

import shlex
from typing import Any

import numpy as np

from mcr_jax.demo import charts, timeline
from mcr_jax.demo.attention import ALL
from mcr_jax.demo.explain import Explanation
from mcr_jax.demo.front import HERE
from mcr_jax.pages import assets, heat
from mcr_jax.pages.run import Chart


def result(found: Explanation) -> str:
  """The part of the page that a clip fills."""
  why, lines = _charts(found)
  for i, chart in enumerate([*lines, *why]):
    chart.id = f"chart{i}"
  run = found.run
  return assets.render(
    "result.html",
    folders=[HERE],
    name=str(found.dataset.ids[0]),
    headline=headline(found),
    seeds=[str(seed) for seed in run.seeds],
    rows=_rows(found),
    notes=found.notes,
    words=_words(found),
    lines=lines,
    changes=_changes(found),
    number=_top(found)[1],
    why=why,
    blocks=[(x.id, assets.json_for_page(x.spec)) for x in (*lines, *why)],
    command=_command(found),
  )


def _command(found: Explanation) -> str:
  """What predicts the same in a terminal."""
  words = ["python", "-m", "mcr_jax.predict", "--workdir", str(found.run.workdir)]
  words += ["--input", str(found.dataset.ids[0])]
  words += ["--transcript", "FILE"] * ("text" in found.dataset.modalities)
  words += ["--overlong", "truncate"] * found.cut
  return shlex.join(words)


def headline(found: Explanation) -> str:
  """What is said, in a few words."""
  spec, together = found.run.spec, found.together
  if spec.task == "regression" and len(together) == 1:
    spread = _spread(found.said)[0]
    return f"{together[0]:.2f}" + (f" ± {spread:.2f}" if np.isfinite(spread) else "")
  if spec.task == "multiclass":
    best = int(together.argmax())
    return f"{found.names[best]} ({together[best]:.0%})"
  if spec.task == "binary":
    likely = [
      f"{n} ({p:.0%})" for n, p in zip(found.names, together, strict=True) if p > 0.5
    ]
    return ", ".join(likely) or "none of its labels"
  return ""


def _spread(said: np.ndarray) -> np.ndarray:
  """(R,) the deviation over seeds, NaN of one."""
  return said.std(0, ddof=1) if len(said) > 1 else np.full(said.shape[1], np.nan)


def _rows(found: Explanation) -> list[tuple[str, list[str]]]:
  """Every number: by the seeds together, their spread, and each."""
  table = np.concatenate([[found.together, _spread(found.said)], found.said])
  return [
    (name, [_number(x) for x in column.tolist()])
    for name, column in zip(found.names, table.T, strict=True)
  ]


def _number(x: float) -> str:
  return f"{x:.3f}" if np.isfinite(x) else "–"


def _top(found: Explanation) -> tuple[int, str]:
  """The number that sentences speak of: the only, or the largest."""
  place = int(found.together.argmax())
  return place, found.names[place]


def _changes(found: Explanation) -> list[tuple[str, str, str, str]]:
  """What is switched off, what is said then, the change, and its spread over seeds."""
  place, names = _top(found)[0], found.run.spec.modalities
  rows = []
  for kept, said in found.subsets.items():
    off = [m for m in names if m not in kept and found.dataset.modalities[m].present[0]]
    if not off:
      continue
    change = (said - found.said)[:, place]
    spread = f"± {change.std(ddof=1):.3f}" if len(change) > 1 else ""
    cells = (f"{said[:, place].mean():.3f}", f"{change.mean():+.3f}", spread)
    rows.append((", ".join(off), *cells))
  return rows


def _words(found: Explanation) -> list[dict[str, Any]]:
  """What is said: words, when, and how much each is read, 0 to 1 of the most."""
  x = found.dataset.modalities.get("text")
  if x is None or x.words is None:
    return []
  weights = found.received.get(ALL, {}).get("text", np.zeros(len(x.words)))
  most = max(float(weights.max(initial=0)), 1e-9)
  starts = x.times[:, 0] if x.times is not None else np.full(len(x.words), np.nan)
  return [
    {
      "word": str(word),
      "start": float(start) if np.isfinite(start) else None,
      "share": round(float(weight) / most, 3),
      "times": float(weight),
    }
    for word, start, weight in zip(x.words, starts, weights, strict=True)
  ]


def _charts(found: Explanation) -> tuple[list[Chart], list[Chart]]:
  """(what else explains, what lies on the time line)."""
  of = found.dataset.modalities
  lines = [
    Chart(
      "Attention",
      "How much each step is read, in units of an even share; mean over reading steps, "
      "layers, heads and seeds.",
      timeline.strips(found),
    ),
    *(
      Chart(
        {"audio": "Sound", "vision": "Face"}.get(m, m),
        "Between the least and the most of the clip; measured values at the pointer."
        + (" Grey: no face." if m == "vision" else ""),
        timeline.track(found, m),
      )
      for m in of
      if of[m].names
    ),
  ]
  why = [
    Chart(
      "With fewer modalities",
      "What the seeds say when others are switched off: a dot a seed, a bar their "
      "mean. Dashed: with all.",
      charts.fewer(found),
    ),
    Chart(
      "With noise",
      "Noise in one modality, in deviations of the training data. Bands: deviation "
      "over seeds.",
      charts.noisy(found),
    ),
    Chart(
      "Alpha",
      "How much of each source a modality takes in, layer by layer; mean over seeds.",
      charts.alphas(found),
    ),
    Chart(
      "Attention map",
      f"Who reads (rows) what (columns): seed {found.run.seeds[0]}, mean over heads.",
      heat.chart(found.dataset, found.maps),
    ),
  ]
  drawn = lambda each: [x for x in each if x.spec is not None]
  return drawn(why), drawn(lines)
