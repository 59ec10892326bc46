"""Results as text and as CSV rows."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax.evaluators.summary import MetricResult, Results
from mcr_jax.metrics import find, higher_is_better, names_of

# More targets than these take a line each, not one a metric.
FEW = 3


def table(results: Results, split: str, *, full: bool = False) -> str:
  """Everything a reader wants to know of one split, as lines of text.

  Args:
    results: of the split.
    split: its name.
    full: whether every metric of every one of many targets has its line by seed.
  """
  seeds, scores = results.seeds, results.metrics
  owners = {name: find(name).owner for name in scores}
  overall = {name: x for name, x in scores.items() if owners[name] != "class"}
  each = {n: x for n, x in overall.items() if owners[n] in ("target", "label")}
  short = not full and len(_by_target(each)) > FEW
  if short:
    overall = {name: x for name, x in overall.items() if name not in each}
  over = ["mean", "std", "ensemble"] if len(seeds) > 1 else []
  head = ["", "better", *over, *(f"seed {seed}" for seed in seeds)]
  rows = [
    [
      name,
      better(name),
      *(number(getattr(score, field)) for field in over),
      *map(number, score.seeds),
    ]
    for name, score in overall.items()
  ]
  parts = [
    f"{split}: {_count(results.samples, 'sample')}, {_count(len(seeds), 'seed')}",
    columns([head, *rows]),
  ]
  if short:
    parts.append(_targets(each))
  if results.scheme == "multiclass":
    parts.append(_classes(results))
  if results.confusion is not None:
    parts.append(_confusion(results))
  why = {name: score.reason for name, score in scores.items() if score.reason}
  parts.append(
    "\n".join([*(f"{n}: n/a, {r}." for n, r in why.items()), *notes(results, split)])
  )
  return "\n\n".join(parts)


def notes(results: Results, split: str) -> list[str]:
  """How to read the numbers, one sentence each."""
  lines = list(results.notes)
  chosen = [seed for seed in results.seeds if seed not in results.unchosen]
  if results.checkpoint == "best" and results.unchosen:
    whose = f" of seed {', '.join(map(str, results.unchosen))}" * bool(chosen)
    lines.append(
      f"No epoch{whose} was chosen on the validation split: the score that chooses was "
      "undefined in all, and the last is kept."
    )
  if results.checkpoint == "best" and chosen:
    whose = f" of seed {', '.join(map(str, chosen))}" * bool(results.unchosen)
    line = f"The epoch{whose} was chosen on the validation split"
    if not results.unchosen:
      line = "Each seed's epoch was chosen on the validation split"
    lines.append(
      f"{line}, which this is: these numbers flatter."
      if split == "valid"
      else f"{line}."
    )
  if len(results.seeds) > 1:
    lines.append("std: deviation over seeds, dividing by their number minus 1.")
    lines.append("ensemble: the score of the seeds' averaged predictions.")
  of_names = dict.fromkeys(find(name).note for name in results.metrics)
  return [*lines, *filter(None, of_names)]


def csv_rows(results: Results) -> list[list[str]]:
  """A head and one row a metric; undefined values are empty, with their reason."""
  head = ["metric", "mean", "std", "ensemble"]
  head += [f"seed_{seed}" for seed in results.seeds] + ["reason"]
  exact = lambda value: "" if math.isnan(value) else repr(value)
  return [head] + [
    [name, *map(exact, _cells(score)), score.reason]
    for name, score in results.metrics.items()
  ]


def better(name: str) -> str:
  """The direction in which a metric improves, as a word."""
  return "higher" if higher_is_better(name) else "lower"


def number(value: float) -> str:
  """Four decimals, or n/a."""
  return "n/a" if math.isnan(value) else f"{value:.4f}"


def columns(rows: Sequence[Sequence[str]]) -> str:
  """Aligned columns: the first to the left, the others to the right."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  line = lambda row: "  ".join(
    [row[0].ljust(widths[0])]
    + [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
  )
  return "\n".join(line(row).rstrip() for row in rows)


def _classes(results: Results) -> str:
  """Mean and deviation over seeds of every class's scores."""
  support = np.sum(results.confusion, axis=1) if results.confusion else None
  names = [name.partition("/")[2] for name in results.metrics if name.startswith("f1/")]
  rows = [["class", "precision", "recall", "f1", "samples"]]
  for c, name in enumerate(names):
    scores = [results.metrics[f"{m}/{name}"] for m in ("precision", "recall", "f1")]
    count = "" if support is None else f"{support[c] // len(results.seeds)}"
    rows.append([name, *(_pair(score) for score in scores), count])
  return columns(rows)


def _by_target(each: Mapping[str, MetricResult]) -> dict[str, dict[str, MetricResult]]:
  """Target -> metric -> result, of results named `target/metric`."""
  found = {}
  for name, score in each.items():
    target, _, metric = name.rpartition("/")
    found.setdefault(target, {})[metric] = score
  return found


def _targets(each: Mapping[str, MetricResult]) -> str:
  """A line a target: mean and deviation over the seeds of what is not legacy."""
  by_target = _by_target(each)
  first = next(iter(by_target.items()))
  shown = [m for m in first[1] if not find(f"{first[0]}/{m}").legacy]
  rows = [["each of them", *shown]]
  for target, scores in by_target.items():
    rows.append([target, *(_pair(scores[metric]) for metric in shown)])
  return f"{columns(rows)}\n--full of mcr_jax.evaluate shows each by seed."


def _confusion(results: Results) -> str:
  matrix = results.confusion
  names = names_of(results.class_names or results.target_names, len(matrix))
  rows = [[name, *map(str, row)] for name, row in zip(names, matrix, strict=True)]
  title = "Confusion: true class in rows, predicted in columns, summed over seeds."
  return f"{title}\n{columns([['', *names], *rows])}"


def _pair(score: MetricResult) -> str:
  spread = "" if math.isnan(score.std) else f" +- {score.std:.4f}"
  return number(score.mean) + spread


def _cells(score: MetricResult) -> list[float]:
  return [score.mean, score.std, score.ensemble, *score.seeds]


def _count(count: int, noun: str) -> str:
  return f"{count} {noun}{'' if count == 1 else 's'}"
