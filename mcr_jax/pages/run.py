"""What a page says of one run, as values for its template."""

import dataclasses
import glob
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax import metrics
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import McrJaxError, UserError
from mcr_jax.evaluators import Evaluation, render
from mcr_jax.figures import catalog, confusion, maps
from mcr_jax.figures.samples import Choice, default, position
from mcr_jax.figures.sources import Source
from mcr_jax.pages import charts, heat
from mcr_jax.pages.samples import Sample, confidences, listed
from mcr_jax.runs import inputs, writer
from mcr_jax.runs.run import evaluation_of, load_run

MOST_POINTS = 2000


@dataclasses.dataclass
class Chart:
  """One chart.

  Attributes:
    title: over it.
    words: what it shows, for those who do not see it as well.
    spec: for Vega-Lite.
    id: of its element in the page.
  """

  title: str
  words: str
  spec: charts.Spec
  id: str = ""


@dataclasses.dataclass
class Metric:
  """A row of the table of results.

  Attributes:
    name, better, definition: of the metric.
    cells: mean, std, ensemble and the seeds, as text.
    reason: why it is undefined, or "".
  """

  name: str
  better: str
  definition: str
  cells: list[str]
  reason: str = ""


@dataclasses.dataclass
class Page:
  """A run's part of the page.

  Attributes:
    label: of the run.
    facts: name and value of what was run.
    evaluation: of the split, or None.
    head, metrics: the table of results.
    notes: how to read it, or what is not there and why.
    charts: in order.
    samples: the worst and best.
    commands: that repeat it.
    heat_title: of the sample in the heat map.
  """

  label: str
  facts: list[tuple[str, str]]
  evaluation: Evaluation | None = None
  head: list[str] = dataclasses.field(default_factory=list)
  metrics: list[Metric] = dataclasses.field(default_factory=list)
  notes: list[str] = dataclasses.field(default_factory=list)
  charts: list[Chart] = dataclasses.field(default_factory=list)
  samples: list[Sample] = dataclasses.field(default_factory=list)
  commands: list[str] = dataclasses.field(default_factory=list)


def page(source: Source, choice: Choice, *, attention: bool = True) -> Page:
  """All that is known of a run.

  Args:
    source: the run.
    choice: of split, sample and seed.
    attention: whether to compute the heat map of a sample.
  """
  facts = catalog.facts_of(source.folder)
  found = Page(source.label, _facts(source, facts), commands=_commands(source, facts))
  try:
    found.evaluation = evaluation_of(source.folder, choice.split)
  except UserError as error:
    found.notes.append(str(error))
  dataset, run = _data(source, found)
  if found.evaluation is not None:
    _results(found, choice)
  _history(found, source)
  if found.evaluation is not None:
    _predictions(found)
    found.samples = listed(found.evaluation, dataset)
  if attention and run is not None and dataset is not None:
    _attention(found, run, dataset, choice)
  _robustness(found, source)
  return found


def _facts(source: Source, facts: dict[str, Any]) -> list[tuple[str, str]]:
  if not facts:
    return [("folder", str(source.folder))]
  config = catalog.config_of(source)
  versions, device = facts.get("versions", {}), facts.get("device", {})
  data, shape = facts.get("data", {}), facts.get("shape") or {}
  sizes = ", ".join(
    f"{m} {shape['widths'].get(m, '?')} x {n}"
    for m, n in shape.get("lengths", {}).items()
  )
  model = config.get("model", {})
  fields = ", ".join(f"{k}={v}" for k, v in model.items() if k not in ("name", "file"))
  rows = [
    ("folder", str(source.folder)),
    ("model", f"{model.get('name', '')} ({fields})"),
    ("data", f"{data.get('source', '')}, digest {data.get('digest', '')[:12]}"),
    ("features x steps", sizes),
    ("seeds", ", ".join(map(str, facts.get("seeds", ())))),
    ("folds", str(facts["folds"]) if facts.get("folds") else ""),
    ("started", facts.get("started", "")),
    ("state", "finished" if facts.get("finished") else "not finished"),
    ("versions", ", ".join(f"{k} {v}" for k, v in versions.items())),
    ("device", " ".join(str(device.get(k, "")) for k in ("count", "kind")).strip()),
    ("machine", facts.get("machine", "")),
  ]
  return [(name, value) for name, value in rows if value]


def _commands(source: Source, facts: dict[str, Any]) -> list[str]:
  folder = shlex.quote(str(source.folder))
  again = [
    f"python -m mcr_jax.evaluate --workdir {folder}",
    f"python -m mcr_jax.report {folder} --out report.html",
    f"python -m mcr_jax.draw words --workdir {folder}",
    f"python -m mcr_jax.robustness --workdir {folder}",
  ]
  program, *arguments = facts.get("command") or [""]
  name = Path(program).stem
  if name in ("train", "sweep", "reproduce"):
    return [f"python -m mcr_jax.{name} {shlex.join(arguments)}", *again]
  return again


def _data(source: Source, found: Page) -> tuple[Dataset | None, Any]:
  """The data set with words, and the run; what is not to be had is noted."""
  try:
    if catalog.has_folds(source.folder):
      facts = catalog.facts_of(source.folder)
      config = catalog.saved(source, facts)
      found.notes.append(
        f"Curves and attention are of single folds: report {source.folder}/fold_0."
      )
      return inputs.read_data(config), None
    run = load_run(source.folder)
    return run.read(), run
  except McrJaxError as error:
    found.notes.append(f"No words and no attention: {error}")
    return None, None


def _results(found: Page, choice: Choice) -> None:
  results = found.evaluation.results
  several = len(results.seeds) > 1
  seeds = [f"seed {seed}" for seed in results.seeds]
  found.head = [*(["mean", "std", "ensemble"] if several else []), *seeds]
  for name, score in results.metrics.items():
    own = metrics.find(name)
    values = [score.mean, score.std, score.ensemble] if several else []
    cells = [render.number(x) for x in (*values, *score.seeds)]
    found.metrics.append(
      Metric(name, render.better(name), own.definition, cells, score.reason)
    )
  found.notes += render.notes(results, choice.split)


def _history(found: Page, source: Source) -> None:
  path = source.folder / "metrics.jsonl"
  if not path.is_file():
    return
  rows = writer.read(path)
  names = list(
    dict.fromkeys(
      key.split("/", 1)[1]
      for row in rows
      for key in row
      if key.startswith(("train/", "valid/"))
    )
  )
  names = [name for name in names if name == "loss" or _shown(name)]
  if not names:
    return
  first = catalog.config_of(source).get("train", {}).get("monitor", "loss")
  found.charts.append(
    Chart(
      "By epoch",
      "Every seed on its own; train and valid.",
      charts.history(
        {source.label: rows}, first if first in names else names[0], names
      ),
    )
  )


def _shown(name: str) -> bool:
  try:
    return metrics.find(name).shown
  except UserError:
    return True  # a part of the loss, by its name


def _predictions(found: Page) -> None:
  one = found.evaluation
  if one.predictions.shape[2:] == (1,) and one.labels.dtype.kind == "f":
    together = one.predictions.mean(0)[:, 0]
    labels = one.labels.reshape(-1)
    kept = np.flatnonzero(np.isfinite(together) & np.isfinite(labels))
    if len(kept):
      labels, together, ids = labels[kept], together[kept], one.ids[kept]
      step = -(-len(kept) // MOST_POINTS)
      less = f" Dots: one of {step} of {len(kept)} samples." if step > 1 else ""
      found.charts += [
        Chart(
          "Calibration",
          "The label against the seeds' mean; dashed: equal; the line: the mean label "
          f"of predictions that are alike.{less}",
          charts.against_label(labels, together, ids, np.arange(len(kept))[::step]),
        ),
        Chart(
          "Error by label",
          "Mean absolute error of the seeds' mean, where labels are alike.",
          charts.error_by_label(labels, together),
        ),
      ]
  if (sure := confidences(one)) is not None:
    words = (
      "How often the seeds together are right, by how sure they are; dashed: equal."
    )
    found.charts.append(Chart("Calibration", words, charts.reliability(*sure)))
  if (counted := confusion.matrix(one)) is not None:
    counts, names, note = counted
    words = (
      f"True classes in rows, predicted ones in columns, summed over seeds. {note}"
    )
    found.charts.append(Chart("Confusion", words, charts.confusion(counts, names)))


def _attention(found: Page, run, dataset: Dataset, choice: Choice) -> None:
  row = default(dataset, choice.split)
  if choice.sample:
    rows = np.flatnonzero(dataset.ids == choice.sample)
    if not len(rows):
      found.notes.append(f"No attention: there is no sample {choice.sample!r}.")
      return
    row = int(rows[0])
  sample = dataset.select(np.array([row]))
  seed = position(run, choice)
  spec = heat.chart(sample, maps.maps(run, sample, seed=seed))
  if spec is None:
    found.notes.append("The model has no attention over steps to show.")
    return
  words = sample.sentence(0)
  text = f"{sample.ids[0]}{': ' if words else ''}{words}"
  found.charts.append(
    Chart(
      "Attention",
      f"Sample {text}. Seed {run.seeds[seed]}, mean over heads.",
      spec,
    )
  )


def _robustness(found: Page, source: Source) -> None:
  pattern = glob.escape(str(source.folder / "eval")) + "/robustness_*.json"
  for path in sorted(glob.glob(pattern)):
    try:
      study = json.loads(Path(path).read_text("utf-8"))
      metric, groups = next(iter(study["metrics"].items()))
      found.charts.append(
        Chart(
          f"Robustness: {study['kind']}",
          f"{metric} on {study['split']}, with one modality made worse, or all.",
          charts.robustness(study["levels"], groups, metric),
        )
      )
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
      found.notes.append(f"{path} cannot be read.")


def names_in_common(pages: Sequence[Page]) -> list[str]:
  """Metrics that every evaluated run has, as a table shows them."""
  each = [p.evaluation.results.metrics for p in pages if p.evaluation]
  if not each:
    return []
  return [n for n in each[0] if metrics.find(n).shown and all(n in x for x in each)]
