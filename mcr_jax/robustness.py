"""What a trained run loses when a modality is missing or noisy.

  python -m mcr_jax.robustness --workdir DIR [--kind drop] [--levels 0 .1 .2 .4 .8]
    [--plot OUT.png]

One modality at a time, and all together, the data of a split gets worse level by level,
as in MultiBench's curves; nothing is trained again. What a level takes away, the next
takes away too: samples, steps and noise are drawn once.
"""

import argparse
import dataclasses
import os
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcr_jax import cli, evaluators, visualize
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError
from mcr_jax.evaluators import render

KINDS = {
  "drop": "share of samples without the modality",
  "steps": "share of time steps without data",
  "noise": "standard deviation of added noise, in those of the training data",
}
LOUDEST = 1e6  # times the deviation: nothing of the data is left
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
# What is shown of each scheme where no metric is asked for.
METRICS = {
  "sentiment": "mae",
  "sims": "mae",
  "regression": "mae",
  "multiclass": "weighted_f1",
  "binary": "mean_f1",
}
ALL = "all"


def disturbed(
  dataset: Dataset,
  names: Sequence[str],
  kind: str,
  level: float | int,
  scale: Mapping[str, np.ndarray],
  *,
  seed: int = 0,
) -> Dataset:
  """The data set with some of its modalities made worse.

  Args:
    dataset: samples in a fixed order: what is drawn goes by position.
    names: of the modalities.
    kind: a key of `KINDS`.
    level: in [0, 1], or from 0 for noise.
    scale: modality -> (D,) the deviation of each feature, for noise.
    seed: of what is drawn, for each modality on its own.
  """
  modalities = dict(dataset.modalities)
  for name in names:
    draw = np.random.default_rng(
      [seed, [*KINDS].index(kind), zlib.crc32(name.encode())]
    )
    modality = modalities[name]
    if kind == "noise":
      modalities[name] = _noisy(modality, level * scale[name], draw)
    else:
      count = len(modality) if kind == "drop" else len(modality.mask)
      kept = draw.random(count) >= level
      kept = np.repeat(kept, modality.lengths) if kind == "drop" else kept
      modalities[name] = dataclasses.replace(modality, mask=modality.mask & kept)
  return dataclasses.replace(dataset, modalities=modalities)


def study(
  run,
  *,
  split: str = "test",
  kind: str = "drop",
  levels: Sequence[float | int] = LEVELS,
  metrics: Sequence[str] = (),
  seed: int = 0,
) -> dict[str, Any]:
  """Every metric at every level, for each modality and for all together.

  Args:
    run: of `load_run`.
    split: `train`, `valid` or `test`.
    kind: a key of `KINDS`.
    levels: of the disturbance.
    metrics: by name; one that suits the task where not given.
    seed: of the disturbance.

  Returns:
    `split`, `samples`, `kind`, `seed`, `seeds`, `levels` (L) and `metrics`: name ->
    modality or `all` -> `mean` (L), `std` (L) over the seeds of the run, and `seeds`
    (L, S).
  """
  _check(kind, levels)
  if seed < 0:
    raise UserError(f"seed={seed}; seeds are 0 or more.")
  levels = sorted({float(level) for level in levels})
  whole = run.read(None, labels=True)
  scale = _scale(run, whole)
  dataset = whole.select(whole.indices(split))
  if not len(dataset):
    raise UserError(f"{whole.source} has no sample in the split {split!r}.")
  groups = {name: [name] for name in dataset.modalities}
  groups |= {ALL: list(dataset.modalities)} if len(groups) > 1 else {}
  clean = run.summarise(dataset.labels, run.predict(dataset))
  metrics = _known(clean, metrics or [METRICS[run.shape.scheme]])
  curves = {metric: {group: [] for group in groups} for metric in metrics}
  for group, names in groups.items():
    for level in levels:
      found = clean
      if level:
        worse = disturbed(dataset, names, kind, level, scale, seed=seed)
        found = run.summarise(dataset.labels, run.predict(worse))
      for metric in metrics:
        curves[metric][group].append(found["metrics"][metric])
  fields = ("mean", "std", "seeds")
  return {
    "split": split,
    "samples": len(dataset),
    "kind": kind,
    "seed": seed,
    "seeds": list(run.seeds),
    "checkpoint": run.checkpoint,
    "levels": levels,
    "metrics": {
      metric: {
        group: {field: [score[field] for score in scores] for field in fields}
        for group, scores in by_group.items()
      }
      for metric, by_group in curves.items()
    },
  }


def table(results: Mapping[str, Any]) -> str:
  """A row a modality, a column a level, each metric in a block of its own."""
  seeds = len(results["seeds"])
  lines = [
    f"{results['split']}, {results['samples']} samples, {seeds} "
    f"{'seed' if seeds == 1 else 'seeds'}; columns: {KINDS[results['kind']]}."
  ]
  for metric, groups in results["metrics"].items():
    rows = [[metric, *(f"{level:g}" for level in results["levels"])]]
    for group, scores in groups.items():
      cells = zip(scores["mean"], scores["std"], strict=True)
      rows.append([group, *(_cell(mean, std) for mean, std in cells)])
    lines += ["", f"{metric}, {render.better(metric)} is better", render.columns(rows)]
  return "\n".join(lines)


def figure(results: Mapping[str, Any]) -> "matplotlib.figure.Figure":
  """The first metric against the level: a line a modality, a deviation around it."""
  metric, groups = next(iter(results["metrics"].items()))
  levels = results["levels"]
  lines = {
    group: [
      {"epoch": level, metric: values}
      for level, values in zip(levels, scores["seeds"], strict=True)
    ]
    for group, scores in groups.items()
  }
  drawn = visualize.curves(lines, metric, title=results["split"])
  axes = drawn.axes[0]
  axes.set_xticks(levels, [f"{level:g}" for level in levels])
  axes.set_xlabel(KINDS[results["kind"]])
  return drawn


def main(argv: list[str]) -> None:
  """Studies a run; leaves eval/robustness_<kind>_<split>.json.

  Of the last checkpoint it is robustness_<kind>_last_<split>.json.
  """
  arguments = cli.parse(
    argv,
    "Scores a trained run on data with a missing or noisy modality.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    examples=[
      "python -m mcr_jax.robustness --workdir runs/mosi",
      "python -m mcr_jax.robustness --workdir runs/mosi --plot drop.png",
      "python -m mcr_jax.robustness --workdir runs/mosi --kind noise --levels 0 1 2 4",
    ],
  )
  if arguments.plot:
    visualize.check_name(arguments.plot)
    cli.output_file(arguments.plot)
  cli.prepare()
  from mcr_jax.runs.run import load_run

  results = study(
    load_run(arguments.workdir, checkpoint=arguments.checkpoint),
    split=arguments.split,
    kind=arguments.kind,
    levels=arguments.levels,
    metrics=arguments.metric,
    seed=arguments.seed,
  )
  stem = evaluators.stem(arguments.split, results)
  name = f"robustness_{arguments.kind}_{stem}.json"
  path = Path(arguments.workdir) / "eval" / name
  path.parent.mkdir(exist_ok=True)
  draft = path.with_name(f".{name}.{os.getpid()}")
  draft.write_text(evaluators.to_json(results))
  os.replace(draft, path)
  print(table(results))
  print(f"\nwritten to {path}")
  if arguments.plot:
    figure(results).savefig(arguments.plot)
    print(f"drawn in {arguments.plot}")


def _noisy(
  modality: Modality, scale: np.ndarray, draw: np.random.Generator
) -> Modality:
  noise = draw.standard_normal(modality.values.shape, np.float32)
  noise *= scale.astype(np.float32)
  noise += modality.values
  return dataclasses.replace(modality, values=noise)


def _scale(run, dataset: Dataset) -> Mapping[str, np.ndarray]:
  """The deviations of the training data, whether the run divides by them or not."""
  normalized = run.config.data.normalize
  return run.normalizer.std if normalized else Normalizer.fit(dataset).std


def _check(kind: str, levels: Sequence[float | int]) -> None:
  if kind not in KINDS:
    raise UserError(f"kind={kind!r}; right are {', '.join(map(repr, KINDS))}.")
  highest = LOUDEST if kind == "noise" else 1
  for level in levels:
    if not 0 <= level <= highest:
      right = f"from 0 to {highest:g}"
      raise UserError(f"levels: {level:g}; the levels of {kind!r} are {right}.")
  if not len(levels):
    raise UserError("levels: none are given.")


def _known(results: Mapping[str, Any], names: Sequence[str]) -> list[str]:
  for name in names:
    if name not in results["metrics"]:
      raise UserError(
        f"The run has no metric {name!r}; it has {', '.join(results['metrics'])}."
      )
  return list(dict.fromkeys(names))


def _cell(mean: float, std: float) -> str:
  spread = "" if np.isnan(std) else f" +- {std:.4f}"
  return render.number(mean) + spread


def _arguments(parser: argparse.ArgumentParser) -> None:
  parser.add_argument(
    "--kind", default="drop", choices=tuple(KINDS), help="of the disturbance (drop)"
  )
  parser.add_argument(
    "--levels", nargs="+", type=float, default=LEVELS, help="(0 .1 .2 .4 .8)"
  )
  parser.add_argument(
    "--metric", nargs="+", default=(), help="which metrics (one that suits the task)"
  )
  parser.add_argument(
    "--split", default="test", choices=("train", "valid", "test"), help="(test)"
  )
  parser.add_argument(
    "--seed", type=int, default=0, help="of what is dropped or added (0)"
  )
  parser.add_argument(
    "--checkpoint", default="best", choices=("best", "last"), help="(best)"
  )
  parser.add_argument("--plot", metavar="OUT.png", help="draw the first metric")


if __name__ == "__main__":
  cli.run(main)
