"""What a trained run loses when a modality is missing or noisy.

  python -m mcr_jax.robustness --workdir DIR [--kind drop] [--levels 0 .1 .2 .4 .8]
    [--plot OUT.png]

One modality at a time, and all together, the data of a split gets worse level by level,
as in MultiBench's curves; nothing is trained again. What a level takes away, the next
takes away too: samples, steps and noise are drawn once.
"""

import argparse
import dataclasses
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mcr_jax import cli, evaluators, files, visualize
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError, choose
from mcr_jax.evaluators import render
from mcr_jax.metrics import scheme_of

KINDS = {
  "drop": "share of samples without the modality",
  "steps": "share of time steps without data",
  "noise": "standard deviation of added noise, in those of the training data",
}
LOUDEST = 1e6  # times the deviation: nothing of the data is left
LEVELS = (0.0, 0.1, 0.2, 0.4, 0.8)
ALL = "all"


@dataclasses.dataclass(frozen=True)
class Curve:
  """A metric at every level.

  Attributes:
    mean: (L,) over the seeds of the run.
    std: (L,) over them.
    seeds: (L, S) of each.
  """

  mean: tuple[float, ...]
  std: tuple[float, ...]
  seeds: tuple[tuple[float, ...], ...]

  @classmethod
  def of(cls, results: Sequence[evaluators.MetricResult]) -> "Curve":
    """From the results at every level."""
    return cls(*zip(*((x.mean, x.std, x.seeds) for x in results), strict=True))


@dataclasses.dataclass(frozen=True)
class Study:
  """What a run scores on data that get worse.

  Attributes:
    split: whose data.
    samples: of it.
    kind: of the disturbance, a key of `KINDS`.
    seed: of the disturbance.
    seeds: of the run.
    checkpoint: of the run.
    levels: (L,) in order.
    metrics: name -> modality or `all` -> curve.
  """

  split: str
  samples: int
  kind: str
  seed: int
  seeds: tuple[int, ...]
  checkpoint: str
  levels: tuple[float, ...]
  metrics: Mapping[str, Mapping[str, Curve]]


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
  source=None,
) -> Study:
  """Every metric at every level, for each modality and for all together.

  Args:
    run: of `load_run`.
    split: `train`, `valid` or `test`.
    kind: a key of `KINDS`.
    levels: of the disturbance.
    metrics: by name; one that suits the task where not given.
    seed: of the disturbance.
    source: another data set than the run's own, see `Run.read`.
  """
  _check(kind, levels)
  if seed < 0:
    raise UserError(f"seed={seed}; seeds are 0 or more.")
  levels = sorted({float(level) for level in levels})
  whole = run.read(source, labels=True)
  normalized = run.config.data.normalize
  scale = scale_of(run, run.read() if source is not None and not normalized else whole)
  dataset = whole.select(whole.indices(split))
  if not len(dataset):
    raise UserError(f"{whole.source} has no sample in the split {split!r}.")
  groups = {name: [name] for name in dataset.modalities}
  groups |= {ALL: list(dataset.modalities)} if len(groups) > 1 else {}
  clean = run.summarise(dataset.labels, run.predict(dataset))
  names = _known(clean, metrics or [scheme_of(clean.scheme).headline])
  found = {}
  for group, modalities in groups.items():
    worse = (
      disturbed(dataset, modalities, kind, level, scale, seed=seed)
      for level in levels
      if level
    )
    found[group] = [clean] * (0 in levels)
    found[group] += [run.summarise(dataset.labels, run.predict(x)) for x in worse]
  return Study(
    split=split,
    samples=len(dataset),
    kind=kind,
    seed=seed,
    seeds=tuple(run.seeds),
    checkpoint=run.checkpoint,
    levels=tuple(levels),
    metrics={
      name: {
        group: Curve.of([results.metrics[name] for results in by_level])
        for group, by_level in found.items()
      }
      for name in names
    },
  )


def table(results: Study) -> str:
  """A row a modality, a column a level, each metric in a block of its own."""
  seeds = len(results.seeds)
  lines = [
    f"{results.split}, {results.samples} samples, {seeds} "
    f"{'seed' if seeds == 1 else 'seeds'}; columns: {KINDS[results.kind]}."
  ]
  for metric, groups in results.metrics.items():
    rows = [[metric, *(f"{level:g}" for level in results.levels)]]
    for group, curve in groups.items():
      cells = zip(curve.mean, curve.std, strict=True)
      rows.append([group, *(_cell(mean, std) for mean, std in cells)])
    lines += ["", f"{metric}, {render.better(metric)} is better", render.columns(rows)]
  return "\n".join(lines)


def figure(results: Study) -> "matplotlib.figure.Figure":
  """The first metric against the level: a line a modality, a deviation around it."""
  metric, groups = next(iter(results.metrics.items()))
  levels = results.levels
  lines = {
    group: [
      {"epoch": level, metric: values}
      for level, values in zip(levels, curve.seeds, strict=True)
    ]
    for group, curve in groups.items()
  }
  plot = visualize.curves(lines, metric, title=results.split)
  axes = plot.axes[0]
  axes.set_xticks(levels, [f"{level:g}" for level in levels])
  axes.set_xlabel(KINDS[results.kind])
  return plot


def main(argv: list[str]) -> None:
  """Studies a run; leaves eval/robustness_<kind>_<split>.json.

  Of the last checkpoint it is robustness_<kind>_last_<split>.json; of other data there
  is none.
  """
  arguments = cli.parse(
    argv,
    "Scores a trained run on data with a missing or noisy modality.",
    flags=("workdir",),
    required=("workdir",),
    extra=_arguments,
    overrides=True,
    examples=[
      "python -m mcr_jax.robustness --workdir runs/mosi",
      "python -m mcr_jax.robustness --workdir runs/mosi --plot drop.png",
      "python -m mcr_jax.robustness --workdir runs/mosi --kind noise --levels 0 1 2 4",
    ],
  )
  cli.check_reading(arguments)
  if arguments.plot:
    visualize.check_name(arguments.plot)
    cli.output_file(arguments.plot)
  cli.prepare()
  from mcr_jax.runs.reading import Reading
  from mcr_jax.runs.run import load_run

  run = load_run(arguments.workdir, checkpoint=arguments.checkpoint)
  source = arguments.input
  if source is not None:
    reading = Reading.of(arguments, run.config)
    source = run.read(source, labels=True, reading=reading)
    for note in source.notes:
      print(f"note: {note}", file=sys.stderr)
  results = study(
    run,
    split=arguments.split,
    kind=arguments.kind,
    levels=arguments.levels,
    metrics=arguments.metric,
    seed=arguments.seed,
    source=source,
  )
  print(table(results))
  if source is None and run.workdir.is_dir():  # a model file stays as it is
    stem = evaluators.stem(arguments.split, results.checkpoint)
    name = f"robustness_{arguments.kind}_{stem}.json"
    path = Path(arguments.workdir) / "eval" / name
    files.write_json(path, results, indent=1)
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


def scale_of(run, dataset: Dataset) -> Mapping[str, np.ndarray]:
  """Modality -> (D,) deviations: of the training data, whose a run that divides by
  them knows, else of `dataset`.
  """
  normalized = run.config.data.normalize
  return run.normalizer.std if normalized else Normalizer.fit(dataset).std


def _check(kind: str, levels: Sequence[float | int]) -> None:
  choose(kind, KINDS, "kind")
  highest = LOUDEST if kind == "noise" else 1
  for level in levels:
    if not 0 <= level <= highest:
      right = f"from 0 to {highest:g}"
      raise UserError(f"levels: {level:g}; the levels of {kind!r} are {right}.")
  if not len(levels):
    raise UserError("levels: none are given.")


def _known(results: evaluators.Results, names: Sequence[str]) -> list[str]:
  return [choose(name, results.metrics, "metric") for name in dict.fromkeys(names)]


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
  parser.add_argument(
    "--input",
    metavar="FILE",
    help="another data set with the same features and labels; leaves no file",
  )
  cli.reading_arguments(parser)
  parser.add_argument("--plot", metavar="OUT.png", help="draw the first metric")


if __name__ == "__main__":
  cli.run(main)
