"""Tests whether two evaluated runs differ by more than chance.

  python -m mcr_jax.compare DIR1 DIR2 [--split test] [--metric mae ...] [--groups]

A paired t-test over seeds, as in the MCR paper, asks whether training again with other
seeds could undo a difference; a paired bootstrap over samples, whether other samples
could.
"""

import argparse
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcr_jax import cli, evaluators, metrics
from mcr_jax.errors import UserError, choose
from mcr_jax.evaluators import paired, render

LEVEL = 0.05


@dataclasses.dataclass(frozen=True)
class Row:
  """One metric of both runs.

  Attributes:
    name: of the metric.
    first: the first run's mean over its seeds.
    second: the second run's.
    p: of the t-test over the seeds that both have; NaN where there is none.
    reason: why there is no t-test, else "".
    bootstrap: over samples, first minus second.
  """

  name: str
  first: float
  second: float
  p: float
  reason: str
  bootstrap: paired.Bootstrap


def compare(
  first: evaluators.Evaluation,
  second: evaluators.Evaluation,
  names: Sequence[str] = (),
  *,
  groups: bool = False,
  resamples: int = 10_000,
) -> list[Row]:
  """Both tests for each metric.

  Args:
    first: a run.
    second: another, evaluated on the same samples.
    names: of metrics; without them, those that are not of one class.
    groups: whether the bootstrap draws whole groups of samples, see `group_numbers`.
    resamples: of the bootstrap.

  Raises:
    UserError: the runs do not share their samples, labels or metrics.
  """
  second = _aligned(first, second)
  names = _names(first, names)
  one, other = first.results, second.results
  common = [seed for seed in one.seeds if seed in other.seeds]
  by_seed = lambda results, name: [
    results.metrics[name].seeds[results.seeds.index(seed)] for seed in common
  ]
  if len(first.ids) < 2:
    raise UserError(f"A comparison needs 2 samples, there are {len(first.ids)}.")
  drawn = paired.bootstrap(
    one.scheme,
    first.predictions,
    second.predictions,
    first.labels,
    names,
    class_names=one.class_names,
    target_names=one.target_names,
    groups=group_numbers(first.ids) if groups else None,
    resamples=resamples,
  )
  return [
    Row(
      name,
      one.metrics[name].mean,
      other.metrics[name].mean,
      *paired.t_test(by_seed(one, name), by_seed(other, name)),
      drawn[name],
    )
    for name in names
  ]


def group_numbers(ids: np.ndarray) -> np.ndarray:
  """(N,) a number for each id's prefix: before `$_$` if it has that, else the last `_`.

  Samples cut from one video, such as `video$_$clip` or `video_clip`, are alike.
  """
  prefixes = [i.rpartition("$_$" if "$_$" in i else "_")[0] or i for i in ids.tolist()]
  kinds, numbers = np.unique(prefixes, return_inverse=True)
  if len(kinds) in (1, len(ids)):
    raise UserError(
      f"The ids ({str(ids[0])!r}, ...) make {len(kinds)} groups of {len(ids)} samples "
      "by the text before `$_$` or the last `_`; there is nothing to draw by group."
    )
  return numbers


def report(
  first: evaluators.Evaluation,
  second: evaluators.Evaluation,
  rows: Sequence[Row],
  *,
  split: str,
  groups: bool = False,
  resamples: int = 10_000,
) -> str:
  """A table, and what its numbers mean."""
  head = ["", "better", "1", "2", "1 - 2", "95% from", "to", "p samples", "p seeds"]
  table = [head]
  for row in rows:
    drawn = row.bootstrap
    table.append(
      [
        row.name,
        render.better(row.name),
        *(render.number(x) for x in (row.first, row.second, row.first - row.second)),
        *(render.number(x) for x in (drawn.low, drawn.high, drawn.p, row.p)),
      ]
    )
  seeds = lambda run: ", ".join(map(str, run.results.seeds))
  common = sorted({*first.results.seeds} & {*second.results.seeds})
  unit = "groups of samples" if groups else "samples"
  lines = [
    f"{split}, {len(first.ids)} samples",
    f"1: {first.workdir} (seeds {seeds(first)})",
    f"2: {second.workdir} (seeds {seeds(second)})",
    "",
    render.columns(table),
    "",
    *(verdict(row) for row in rows),
    "",
    f"p samples, and the interval: paired bootstrap, {resamples:,} draws of {unit}; "
    "could other samples undo the difference of these trained models?",
    f"p seeds: paired t-test over the {len(common)} seeds that both runs have; could "
    "training again with other seeds?",
  ]
  if len(rows) > 1:
    lines.append(f"p is not corrected for looking at {len(rows)} metrics.")
  return "\n".join(lines)


def verdict(row: Row) -> str:
  """One sentence: which run is better, and by which tests that is more than chance."""
  difference = row.first - row.second
  if np.isnan(difference):
    return f"{row.name}: undefined for at least one of the runs."
  if difference == 0:
    return f"{row.name}: no difference."
  better = "1" if (difference > 0) == metrics.higher_is_better(row.name) else "2"
  drawn = row.bootstrap
  over_samples = _beyond(drawn.p, "over samples", "undefined in the drawn samples")
  text = (
    f"{row.name}: {better} is better by {abs(difference):.4f}; {over_samples}, "
    f"{_beyond(row.p, 'over seeds', row.reason)}."
  )
  if drawn.undefined > 0.01:
    text += f" It is undefined in {drawn.undefined:.0%} of the draws, left out here."
  return text


def main(argv: list[str]) -> None:
  """Compares two workdirs and prints what comes out."""
  arguments = cli.parse(
    argv,
    "Tests whether two evaluated runs differ by more than chance.",
    flags=(),
    required=(),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.compare runs/mcr runs/mia_net",
      "python -m mcr_jax.compare runs/mcr runs/mia_net --metric mae corr",
      "python -m mcr_jax.compare runs/mcr runs/mia_net --split valid --groups",
    ],
  )
  split, groups = arguments.split, arguments.groups
  first, second = _evaluations(arguments)
  rows = compare(first, second, arguments.metric, groups=groups)
  print(report(first, second, rows, split=split, groups=groups))


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "workdirs", nargs=2, metavar="DIR", help="folder of a run, or a model file"
  )
  splits = ("train", "valid", "test")
  parser.add_argument(
    "--split",
    default="test",
    choices=(*splits, *(f"last_{split}" for split in splits)),
    metavar="SPLIT",
    help="which evaluation (test); last_test of last ones",
  )
  parser.add_argument(
    "--metric", nargs="+", default=(), help="which metrics (all but those of a class)"
  )
  parser.add_argument(
    "--input",
    metavar="FILE",
    help="where the data of a model file lies, if not where its run read it",
  )
  parser.add_argument(
    "--groups",
    action="store_true",
    help="draw whole groups of samples, such as videos: the text of an id before "
    "`$_$`, else before its last `_`",
  )


def _evaluations(arguments: argparse.Namespace) -> list[evaluators.Evaluation]:
  """What both runs predicted; a model file predicts it now."""
  if not any(Path(path).is_file() for path in arguments.workdirs):
    return [evaluators.read(path, arguments.split) for path in arguments.workdirs]
  cli.prepare()
  from mcr_jax.runs.run import evaluation_of

  return [
    evaluation_of(path, arguments.split, arguments.input) for path in arguments.workdirs
  ]


def _aligned(
  first: evaluators.Evaluation, second: evaluators.Evaluation
) -> evaluators.Evaluation:
  """The second run with its samples in the order of the first."""
  pair = f"{first.workdir} and {second.workdir}"
  if first.results.scheme != second.results.scheme:
    raise UserError(
      f"{pair} have other metrics: {first.results.scheme} and {second.results.scheme}."
    )
  if not np.array_equal(first.ids, second.ids):
    one, other = set(first.ids.tolist()), set(second.ids.tolist())
    if one != other:
      example = sorted(one ^ other)[0]
      raise UserError(
        f"{pair} were not evaluated on the same samples: {len(one - other)} ids are "
        f"only in the first, {len(other - one)} only in the second, such as "
        f"{example!r}."
      )
    if len(one) != len(first.ids) or len(other) != len(second.ids):
      raise UserError(f"{pair} have ids that repeat, in another order: no pairs.")
    place = np.argsort(second.ids)[np.argsort(np.argsort(first.ids))]
    second = dataclasses.replace(
      second,
      ids=second.ids[place],
      labels=second.labels[place],
      predictions=second.predictions[:, place],
    )
  same = first.labels.shape == second.labels.shape
  if not same or not np.allclose(first.labels, second.labels, rtol=0, atol=1e-6):
    raise UserError(f"{pair} were evaluated with other labels for the same ids.")
  for what, one, other in (
    ("classes", first.results.class_names, second.results.class_names),
    ("targets", first.results.target_names, second.results.target_names),
  ):
    if one != other:
      raise UserError(f"{pair} have other {what}: {list(one)} and {list(other)}.")
  return second


def _names(run: evaluators.Evaluation, names: Sequence[str]) -> list[str]:
  known = list(run.results.metrics)
  for name in names:
    choose(name, known, f"{run.workdir}: metric")
  return list(dict.fromkeys(names)) or [n for n in known if metrics.find(n).shown]


def _beyond(p: float, where: str, reason: str) -> str:
  if np.isnan(p):
    return f"no test {where} ({reason})"
  return f"{'' if p < LEVEL else 'not '}significant {where} (p = {p:.2g})"


if __name__ == "__main__":
  cli.run(main)
