"""Scores of predictions, paired comparisons, and tables in Markdown."""

import dataclasses

import numpy as np

from mcr_jax import metrics
from mcr_jax.evaluators import paired
from protocols.corpora import Corpus

COLUMNS = {
  "sentiment": ("mae", "corr", "acc2_has0", "acc2_non0", "acc7"),
  "multiclass": ("accuracy", "weighted_f1"),
}
COMPARED = {"sentiment": ("mae", "corr", "acc2_has0"), "multiclass": ("weighted_f1",)}
LOWER = ("mae",)
TITLES = {
  "mae": "MAE",
  "corr": "Corr",
  "acc2_has0": "Acc2 has-0",
  "acc2_non0": "Acc2 non-0",
  "acc5": "Acc5",
  "acc7": "Acc7",
  "accuracy": "acc",
  "weighted_f1": "weighted F1",
}


@dataclasses.dataclass
class Row:
  """One method of a table.

  Attributes:
    name: of the method.
    predictions: (S, N, *outputs) of the pooled test samples of `pooled_rows`.
    folds: (S, folds) weighted F1 of each fold, of a classification in folds.
    facts: whatever else belongs to it: seconds, parameters, the config's difference.
  """

  name: str
  predictions: np.ndarray
  folds: np.ndarray | None = None
  facts: dict = dataclasses.field(default_factory=dict)


def pooled_rows(corpus: Corpus) -> np.ndarray:
  """The test samples of one repeat, fold by fold."""
  folds = corpus.splits[: len(corpus.splits) // corpus.repeats]
  return np.sort(np.concatenate([corpus.parts(split)[2] for split in folds]))


def scheme(corpus: Corpus) -> str:
  """The metrics of a corpus."""
  return metrics.resolve("auto", corpus.dataset.labels)


def pool(name: str, corpus: Corpus, per_split: list[np.ndarray], **facts) -> Row:
  """A row from the predictions (S, N, *outputs) of all samples, one array a split.

  Every split's own test samples are taken. The repeats of the folds become seeds.
  """
  count = len(corpus.splits) // corpus.repeats
  rows = pooled_rows(corpus)
  labels, names = corpus.dataset.labels, corpus.dataset.class_names
  repeats, folds = [], []
  for repeat in range(corpus.repeats):
    whole = np.full(per_split[0].shape, np.nan)
    for k in range(repeat * count, (repeat + 1) * count):
      test = corpus.parts(corpus.splits[k])[2]
      whole[:, test] = per_split[k][:, test]
      if names:
        score = lambda one, t=test: metrics.compute(
          "multiclass", one[t], labels[t], names
        ).values["weighted_f1"]
        folds.append([score(one) for one in per_split[k]])
    repeats.append(whole[:, rows])
  folds = np.transpose(folds) if folds else None
  return Row(name, np.concatenate(repeats), folds, facts)


def averaged(row: Row) -> Row:
  """What the seeds of a row predict together: the mean of their predictions."""
  predictions = row.predictions.mean(0, keepdims=True)
  facts = {"trained": True, "seeds": len(row.predictions)}
  return Row(f"{row.name}, seeds averaged", predictions, None, facts)


def scores(corpus: Corpus, row: Row, columns: tuple[str, ...] = ()) -> dict:
  """name -> the value of every seed."""
  labels = corpus.dataset.labels[pooled_rows(corpus)]
  names = corpus.dataset.class_names
  reports = [
    metrics.compute(scheme(corpus), one, labels, names).values
    for one in row.predictions
  ]
  columns = columns or columns_of(corpus)
  return {name: [report[name] for report in reports] for name in columns}


def columns_of(corpus: Corpus) -> tuple[str, ...]:
  """The metrics of the table; Acc5 where labels lie within +-2."""
  columns = COLUMNS[scheme(corpus)]
  labels = corpus.dataset.labels
  if scheme(corpus) == "sentiment" and np.abs(labels).max() <= 2:
    columns = tuple("acc5" if name == "acc7" else name for name in columns)
  return columns


def compare(corpus: Corpus, row: Row, reference: Row) -> dict:
  """The paired bootstrap of `row` minus `reference`, over samples and over groups."""
  rows = pooled_rows(corpus)
  labels = corpus.dataset.labels[rows]
  names = COMPARED[scheme(corpus)]
  drawn = {"samples": None}
  if corpus.groups is not None:
    drawn["groups"] = np.unique(corpus.groups[rows], return_inverse=True)[1]
  return {
    unit: {
      name: dataclasses.asdict(found)
      for name, found in paired.bootstrap(
        scheme(corpus),
        row.predictions,
        reference.predictions,
        labels,
        names,
        class_names=corpus.dataset.class_names,
        groups=groups,
        resamples=2000,
      ).items()
    }
    for unit, groups in drawn.items()
  }


def document(corpus: Corpus, rows: list[Row], reference: str) -> dict:
  """All of a protocol's table as plain values."""
  found = {"note": corpus.note, "samples": len(pooled_rows(corpus)), "methods": {}}
  base = next(row for row in rows if row.name == reference)
  for row in rows:
    entry = {"scores": scores(corpus, row), **row.facts}
    if row.folds is not None:
      entry["folds"] = row.folds.tolist()
    if row is not base and row.facts.get("trained"):
      entry["against"] = {reference: compare(corpus, row, base)}
    found["methods"][row.name] = entry
  return found


def markdown(name: str, found: dict) -> str:
  """The table of a `document`, and one line for every comparison."""
  methods = found["methods"]
  columns = list(next(iter(methods.values()))["scores"])
  folds = any("folds" in entry for entry in methods.values())
  head = ["method", *(TITLES[c] for c in columns), *(["over folds"] if folds else [])]
  lines = [f"### {name} ({found['samples']} test samples)", "", found["note"], ""]
  lines += [_line(head), _line(["---"] * len(head))]
  for method, entry in methods.items():
    cells = [method, *(cell(entry["scores"][c]) for c in columns)]
    if "folds" in entry:
      by_fold = np.mean(entry["folds"], 0)
      cells.append(f"{by_fold.mean():.3f} ± {by_fold.std():.3f}")
    elif folds:
      cells.append("-")
    lines.append(_line(cells))
  lines.append("")
  for method, entry in methods.items():
    for other, units in entry.get("against", {}).items():
      lines.append(f"- {method} minus {other}: {_differences(units)}")
  return "\n".join(lines) + "\n"


def _differences(units):
  parts = []
  for unit, by_metric in units.items():
    found = [
      f"{TITLES[m]} [{b['low']:+.3f}, {b['high']:+.3f}] p={b['p']:.3f}"
      for m, b in by_metric.items()
    ]
    parts.append(f"over {unit}: {', '.join(found)}")
  return "; ".join(parts) + "."


def cell(values) -> str:
  """Mean and deviation over seeds, or a dash where a score is undefined."""
  values = np.asarray(values, float)
  # A constant has no correlation; pooled folds give it one by chance.
  if not np.isfinite(values).all():
    return "-"
  mean = f"{values.mean():.3f}"
  return mean if len(values) == 1 else f"{mean} ± {values.std(ddof=1):.3f}"


def _line(cells):
  return "| " + " | ".join(cells) + " |"
