"""One sample of a run's data, and what a model looked at in it, as panels."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError, choose, nearest
from mcr_jax.figures import maps as attention_maps
from mcr_jax.figures.maps import Map
from mcr_jax.visualize import Panel


class NothingToDraw(UserError):
  """A model that has no intermediates of the kind that is asked for."""


@dataclasses.dataclass(frozen=True)
class Choice:
  """What to draw of a run; what is not said is chosen.

  Attributes:
    sample: its id.
    split: from which it is chosen, and whose scores are drawn.
    target: whose steps are the rows.
    layer: from 1; the last.
    step: a word, or a number from 0; the one that attention changes most.
    seed: number of the seed; the first.
    metric: the one that suits the task.
  """

  sample: str = ""
  split: str = "test"
  target: str = ""
  layer: int = 0
  step: str = ""
  seed: int | None = None
  metric: str = ""


def one(run, choice: Choice) -> Dataset:
  """The chosen sample of the data of a run, alone.

  Raises:
    UserError: there is none of this id, or of this split.
  """
  dataset = run.read()
  if choice.sample:
    rows = np.flatnonzero(dataset.ids == choice.sample)
    if not len(rows):
      hint = nearest(choice.sample, dataset.ids.tolist())
      raise UserError(f"{dataset.source} has no sample {choice.sample!r}.{hint}")
    return dataset.select(rows[:1])
  return dataset.select(np.array([default(dataset, choice.split)]))


def default(dataset: Dataset, split: str) -> int:
  """The row of a sample worth a look: nothing missing, not the shortest, not long."""
  rows = np.arange(len(dataset))
  if dataset.splits is not None:
    rows = dataset.indices(split)
  if not len(rows):
    raise UserError(f"{dataset.source} has no sample in the split {split!r}.")
  whole = np.logical_and.reduce([x.present for x in dataset.modalities.values()])[rows]
  lengths = next(iter(dataset.modalities.values())).lengths[rows]
  # By rank: whole ones first, then those next to a length that is easy to read.
  return int(rows[np.lexsort((abs(lengths - 12), ~whole))[0]])


def position(run, choice: Choice) -> int:
  """Where the chosen seed stands among those of a run."""
  if choice.seed is None:
    return 0
  return run.seeds.index(choose(choice.seed, run.seeds, f"{run.workdir}: seed"))


def target_of(found: Sequence[Map], choice: Choice, spec) -> str:
  """The modality whose steps are rows: the chosen one, else text, else the first."""
  names = dict.fromkeys(m.targets[0] for m in found if len(m.targets) == 1)
  if choice.target:
    return choose(choice.target, names, "target")
  return "text" if "text" in names else next(iter(names), spec.modalities[0])


def words(run, label: str, choice: Choice) -> list[Panel]:
  """What the steps of a target read in one layer, a panel a kind of attention.

  `label` goes before every title, where it is not "".
  """
  sample, found = _maps(run, label, choice)
  target = target_of(found, choice, run.spec)
  own = [m for m in found if m.targets == (target,)]
  panels, before = [], f"{label}, " if label else ""
  for kind in dict.fromkeys((m.kind, m.sources) for m in own):
    layers = [m for m in own if (m.kind, m.sources) == kind]
    numbers = [m.layer + 1 for m in layers]
    if choice.layer:
      choose(choice.layer, numbers, f"layer of {layers[0].title}")
    chosen = layers[numbers.index(choice.layer)] if choice.layer else layers[-1]
    title = f"{before}layer {chosen.layer + 1}, {chosen.title}"
    panels.append(_panel(sample, chosen, title))
  return panels


def layers(run, label: str, choice: Choice) -> list[Panel]:
  """What one step of a target reads, a row a layer, a panel a kind of attention."""
  sample, found = _maps(run, label, choice)
  target = target_of(found, choice, run.spec)
  own = [m for m in found if m.targets == (target,)]
  row, name = _step(sample, own, target, choice)
  panels, before = [], f"{label}, " if label else ""
  for kind in dict.fromkeys((m.kind, m.sources) for m in own):
    each = [m for m in own if (m.kind, m.sources) == kind]
    columns, unit, groups = attention_maps.joined(sample, kind[1])
    panels.append(
      Panel(
        f"{before}{each[0].title}",
        np.stack([m.weights[row] for m in each]),
        [m.layer + 1 for m in each],
        columns,
        f"layer, for {name!r}",
        unit,
        groups,
      )
    )
  return panels


def alphas(run, choice: Choice, most: int = 64) -> tuple[dict, str]:
  """({target and layer: {source: summed alpha}}, of what), the mean over seeds.

  Of one sample if it is chosen, else of the first ones of the split.
  """
  dataset = run.read()
  if choice.sample:
    part, what = one(run, choice), choice.sample
  else:
    part = dataset.select(dataset.indices(choice.split)[:most])
    what = f"mean of {len(part)} samples of {choice.split}"
  rows = alphas_of(run.outputs(part, samples=len(part)), run.spec.modalities)
  if not rows:
    raise NothingToDraw(f"{run.workdir}: its model has no alpha; MCR with CMU has.")
  return rows, what


def alphas_of(
  outputs: Mapping[str, np.ndarray], names: Sequence[str]
) -> dict[str, dict[str, float]]:
  """{target and layer: {source: summed alpha}} of what a model gave, {} without any.

  Args:
    outputs: of `run.outputs`.
    names: the modalities.
  """
  rows = {}
  for name, values in outputs.items():
    source = name.rpartition("alpha_")[2]
    if "alpha_" in name and source in names:
      # Layers are counted from 1 where people read them.
      *path, unit = name.rpartition("/alpha_")[0].split("/")
      target = unit.partition("_")[2]
      layer = "".join(path).rpartition("_")[2]
      row = f"{target}, layer {int(layer) + 1}" if layer.isdigit() else target
      total = values.astype(np.float64).sum(-1).mean()
      rows.setdefault(row, {})[source] = float(total)
  order = sorted(rows, key=lambda row: names.index(row.partition(",")[0]))
  # Every source in every row, so that each has one colour in all figures.
  return {row: {m: rows[row].get(m, 0.0) for m in names} for row in order}


def _maps(run, label: str, choice: Choice) -> tuple[Dataset, list[Map]]:
  sample = one(run, choice)
  found = attention_maps.maps(run, sample, seed=position(run, choice))
  # Who reads one step alone has no choice.
  found = [m for m in found if len(m.targets) == 1 and m.weights.shape[1] > 1]
  if not found:
    raise NothingToDraw(
      f"{run.workdir}: its model has no attention over steps to draw."
    )
  return sample, found


def _step(sample, found: Sequence[Map], target: str, choice: Choice) -> tuple[int, str]:
  """The row of the chosen step, and what it is called."""
  labels = attention_maps.joined(sample, (target,))[0]
  if choice.step:
    if choice.step in labels:
      return labels.index(choice.step), choice.step
    if choice.step.isdigit() and int(choice.step) < len(labels):
      return int(choice.step), labels[int(choice.step)]
    raise UserError(
      f"step={choice.step!r} is none of the {len(labels)} steps of {target}: "
      f"{', '.join(labels)}."
    )
  change = np.zeros(len(labels))
  for kind in {(m.kind, m.sources) for m in found}:
    each = np.stack([m.weights for m in found if (m.kind, m.sources) == kind])
    change += np.ptp(each, axis=0).sum(-1)
  row = int(change.argmax())
  return row, labels[row]


def _panel(sample: Dataset, one: Map, title: str) -> Panel:
  rows, row_unit, _ = attention_maps.joined(sample, one.targets)
  columns, unit, groups = attention_maps.joined(sample, one.sources)
  return Panel(title, one.weights, rows, columns, row_unit, unit, groups)
