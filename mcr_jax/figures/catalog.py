"""Every figure by its name: what it draws of which runs."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax import config as configs
from mcr_jax import evaluators, metrics, visualize
from mcr_jax.errors import UserError, choose
from mcr_jax.figures import confusion as confusions
from mcr_jax.figures import costs as counted
from mcr_jax.figures import samples
from mcr_jax.figures.samples import Choice
from mcr_jax.figures.sources import Source
from mcr_jax.runs import folds, packed, workspace, writer
from mcr_jax.runs.run import evaluation_of, load_run

SHOWN = 4


@dataclasses.dataclass(frozen=True)
class Entry:
  """A figure.

  Attributes:
    draw: (sources, choice) -> a Matplotlib figure.
    words: what it shows, for a list.
  """

  draw: Callable[[Sequence[Source], Choice], Any]
  words: str


def words(sources: Sequence[Source], choice: Choice):
  """What every word of a sample reads, of one run or several beside one another."""
  return _panels(samples.words, sources, choice)


def layers(sources: Sequence[Source], choice: Choice):
  """What one word reads in every layer."""
  return _panels(samples.layers, sources, choice)


def alpha(sources: Sequence[Source], choice: Choice):
  """The summed weights of every source modality, by target and layer."""
  each = _that_can(
    lambda source: samples.alphas(load_run(source.folder), choice), sources
  )
  rows, what = {}, each[0][1][1]
  for source, (found, _) in each:
    before = f"{source.label}: " if len(sources) > 1 else ""
    rows |= {f"{before}{name}": x for name, x in found.items()}
  return visualize.alpha(rows, title=what)


def curves(sources: Sequence[Source], choice: Choice):
  """A metric by epoch, of one run or several."""
  for source in sources:
    if source.folder.is_file():
      raise UserError(f"{source.folder} is a model file, which keeps no epochs.")
  read = {s.label: writer.read(s.folder / "metrics.jsonl") for s in sources}
  metric = choice.metric or f"valid/{_monitor(sources[0])}"
  # Of a table with several corpora, those that have it.
  having = {k: rows for k, rows in read.items() if any(metric in row for row in rows)}
  return visualize.curves(having or read, metric)


def confusion(sources: Sequence[Source], choice: Choice):
  """Which class was taken for which, summed over the seeds of one run."""
  found = []
  for source in sources:
    one = confusions.matrix(_evaluation(source, choice))
    found += [(source, *one)] if one else []
  named = [x for x in found if x[-1] != confusions.ROUNDED] or found
  if not named:
    raise UserError(f"{sources[0].label}: its task has no confusion matrix.")
  if len(named) > 1:
    labels = ", ".join(x[0].label for x in named)
    raise UserError(f"A confusion matrix is of one run; choose from {labels}.")
  source, counts, names, _ = named[0]
  return visualize.confusion(
    counts, list(names), title=f"{source.label}, {choice.split}"
  )


def setting(sources: Sequence[Source], choice: Choice):
  """Scores against the one number in which runs differ, such as layers or gamma.

  Of a table with several corpora, each has panels of its own.
  """
  corpora = list(dict.fromkeys(source.corpus for source in sources))
  shown = SHOWN if len(corpora) == 1 else 2
  fields, found = {}, {}
  for corpus in corpora:
    own = [source for source in sources if source.corpus == corpus]
    field, values = _varied(own)
    order = np.argsort(values, kind="stable")
    results = [_evaluation(own[i], choice).results for i in order]
    most = max(len(x.seeds) for x in results)
    pad = lambda seeds, most=most: [*seeds, *[np.nan] * (most - len(seeds))]
    fields[field, *np.array(values)[order].tolist()] = corpus
    for name in _metrics(results[0], choice)[:shown]:
      title = f"{name}, {corpus}" if len(corpora) > 1 else name
      found[title] = [pad(x.metrics[name].seeds) for x in results]
  if len(fields) > 1:
    raise UserError(
      f"The runs of {', '.join(corpora)} differ in other numbers; draw one alone."
    )
  ((field, *values),) = fields
  return visualize.depth(values, found, xlabel=field)


def scores(sources: Sequence[Source], choice: Choice):
  """Runs by their scores: a bar the mean, a dot a seed."""
  found = [_evaluation(source, choice).results for source in sources]
  names = [n for n in _metrics(found[0], choice) if all(n in x.metrics for x in found)]
  if not names:
    raise UserError("These runs have no metric in common; choose those of one task.")
  values = {name: [x.metrics[name].seeds for x in found] for name in names}
  return visualize.scores([s.label for s in sources], values, title=choice.split)


def costs(sources: Sequence[Source], choice: Choice):
  """Operations and parameters of a run's model by the number of modalities."""
  counts, systems = counted.by_modalities(sources)
  return visualize.costs(counts, systems)


FIGURES = {
  "words": Entry(words, "what every word of a sample reads of what else it has"),
  "layers": Entry(layers, "what one word reads, layer by layer"),
  "alpha": Entry(alpha, "the weight that falls on each source modality"),
  "curves": Entry(curves, "a metric by epoch, a line a run"),
  "confusion": Entry(confusion, "which class was taken for which"),
  "setting": Entry(setting, "scores against the one number in which runs differ"),
  "scores": Entry(scores, "runs beside one another by their scores"),
  "costs": Entry(costs, "operations and parameters by the number of modalities"),
}
# The papers' own.
PAPERS = {
  "mcr-figure3": "words",
  "mcr-figure4": "layers",
  "mcr-figure5": "alpha",
  "mcr-figure6": "curves",
  "mcr-figure6a": "curves",
  "mcr-figure6b": "confusion",
  "mcr-figure7": "setting",
  "mia-net-figure2": "setting",
  "mia-net-figure3": "curves",
  "mia-net-figure4": "scores",
}


def find(name: str) -> Entry:
  """A figure by its name, or by that of a paper's."""
  known = (*FIGURES, *PAPERS)
  choose(name, known, "figure")
  return FIGURES[PAPERS.get(name, name)]


def config_of(source: Source) -> dict[str, Any]:
  """The config of a run as plain values, by groups.

  Raises:
    UserError: the folder has none, or one that is damaged.
  """
  if source.folder.is_file():
    return configs.plain(packed.config_of(source.folder))
  try:
    return json.loads((source.folder / "config.json").read_text("utf-8"))
  except (OSError, ValueError) as error:
    raise UserError(f"{source.folder} holds no readable run ({error}).") from None


def _panels(make: Callable, sources: Sequence[Source], choice: Choice):
  """The panels of all runs, of the sample that the first run chooses."""
  run = load_run(sources[0].folder)
  sample = samples.one(run, choice)
  choice = dataclasses.replace(choice, sample=str(sample.ids[0]))
  title = f"{choice.sample}: {sample.sentence(0)}".removesuffix(": ")
  label = lambda source: source.label if len(sources) > 1 else ""
  own = lambda source: make(load_run(source.folder), label(source), choice)
  panels = [panel for _, found in _that_can(own, sources) for panel in found]
  return visualize.attention_maps(
    panels, title=title if len(title) <= 110 else f"{title[:109]}…"
  )


def _that_can(draw: Callable[[Source], Any], sources: Sequence[Source]) -> list:
  """(source, what is drawn of it), without the models that have nothing of the kind.

  Raises:
    UserError: none of them has.
  """
  found, first = [], None
  for source in sources:
    try:
      found.append((source, draw(source)))
    except samples.NothingToDraw as error:
      first = first or error
  if not found:
    raise first
  return found


def _monitor(source: Source) -> str:
  return config_of(source).get("train", {}).get("monitor", "") or "loss"


def _evaluation(source: Source, choice: Choice) -> evaluators.Evaluation:
  return evaluation_of(source.folder, choice.split)


def _metrics(results: evaluators.Results, choice: Choice) -> list[str]:
  """The chosen metric, or the first ones that a table shows."""
  if choice.metric:
    return [choose(choice.metric, results.metrics, "metric")]
  shown = [name for name in results.metrics if metrics.find(name).shown]
  headline = metrics.scheme_of(results.scheme).headline
  return list(dict.fromkeys([headline, *shown]))[:SHOWN]


def _varied(sources: Sequence[Source]) -> tuple[str, list[float]]:
  """The one field of the configs that differs, a number, and its values."""
  found = [configs.flatten(config_of(source)) for source in sources]
  differing = {}
  for name in dict.fromkeys(key for one in found for key in one):
    values = [one.get(name) for one in found]
    numbers = all(type(x) in (int, float) for x in values)
    if numbers and len(set(values)) == len(values) > 1:
      differing[name] = [float(x) for x in values]
  if len(differing) != 1:
    names = ", ".join(differing) or "none"
    raise UserError(
      f"The runs must differ in one number; those that differ are {names}."
    )
  return next(iter(differing.items()))


def facts_of(folder: Path) -> dict[str, Any]:
  """What a run has on record of itself; {} where it only holds an evaluation."""
  if folder.is_file():
    return packed.facts(folder)["run"]
  return workspace.facts(folder) if (folder / "run.json").is_file() else {}


def saved(source: Source, facts: dict[str, Any]):
  """The config of a run, whatever version wrote it."""
  return configs.saved((source.folder / "config.json").read_text("utf-8"), facts)


def has_folds(folder: Path) -> bool:
  """Whether a folder holds folds."""
  return folds.there(folder)
