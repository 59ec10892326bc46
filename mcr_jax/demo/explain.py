"""What a run says of a clip, and why: everything that the page shows, as arrays.

Why is three questions: which steps are read (attention), how much of each modality is
let in (alpha of MCR), and what is said when a modality is switched off or made noisy,
as `mcr_jax.robustness` does it for a data set.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from mcr_jax import evaluators, robustness
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.demo import attention
from mcr_jax.demo.reader import Tell
from mcr_jax.figures import maps
from mcr_jax.figures.samples import alphas_of
from mcr_jax.runs import reading as readings_of
from mcr_jax.runs.reading import Reading
from mcr_jax.runs.run import Run

LEVELS = (0.25, 0.5, 1.0, 2.0)  # of noise, in deviations of the training data
DRAWS = 4
BATCH = 8
MOST_SUBSETS = 4  # modalities of which all sets are tried; of more, one at a time


@dataclasses.dataclass(frozen=True)
class Explanation:
  """A clip, what the seeds say of it, and why.

  Attributes:
    run: that says so.
    dataset: the clip, as the run reads it.
    notes: what a reader must know of its features.
    cut: whether it is longer than the model can read.
    names: (R,) of the numbers that are said: targets, or classes with probabilities.
    said: (S, R) by every seed.
    together: (R,) by the seeds together.
    subsets: modalities that were left on -> (S, R).
    noise: modality -> level -> (S, DRAWS, R).
    received: who reads -> modality -> (T,) attention; see `attention.received`.
    maps: of the first seed.
    alphas: target and layer -> modality -> alpha, the mean over seeds.
  """

  run: Run
  dataset: Dataset
  notes: tuple[str, ...]
  cut: bool
  names: tuple[str, ...]
  said: np.ndarray
  together: np.ndarray
  subsets: dict[tuple[str, ...], np.ndarray]
  noise: dict[str, dict[float, np.ndarray]]
  received: dict[str, dict[str, np.ndarray]]
  maps: list[maps.Map]
  alphas: dict[str, dict[str, float]]


def explain(run: Run, dataset: Dataset, tell: Tell) -> Explanation:
  """What the run says of a clip, and why.

  Args:
    run: with all its seeds.
    dataset: of one clip.
    tell: is told how far it is.
  """
  tell("Predicting", None)
  notes = dataset.notes
  reading = _reading(run, dataset)
  dataset = run.read(dataset, reading=reading)
  notes = tuple(dict.fromkeys((*notes, *dataset.notes)))
  subsets, noise = _disturbed(run, dataset, tell)
  raw, names = subsets[run.spec.modalities], names_of(run)
  seen = lambda x: readings(run, x)
  together = evaluators.ensemble(raw, run.spec.task, run.spec.class_names)
  tell("Looking at the attention", None)
  roomy = run.with_room(dataset)
  outputs = roomy.outputs(dataset)
  each = [
    maps.of_outputs(roomy, dataset, outputs, seed=s) for s in range(len(run.seeds))
  ]
  return Explanation(
    run=run,
    dataset=dataset,
    notes=notes,
    cut=bool(reading),
    names=names,
    said=seen(raw)[:, 0],
    together=readings(run, together[None])[0, 0],
    subsets={k: seen(x)[:, 0] for k, x in subsets.items()},
    noise={m: {k: seen(x) for k, x in by.items()} for m, by in noise.items()},
    received=attention.received(dataset, each),
    maps=each[0],
    alphas=alphas_of(outputs, run.spec.modalities),
  )


def joined(parts: Sequence[Dataset]) -> Dataset:
  """Data sets of the same modalities, one behind another; features alone."""

  def of(name: str) -> Modality:
    each = [part.modalities[name] for part in parts]
    lengths = np.concatenate([x.lengths for x in each])
    return Modality(
      np.concatenate([x.values for x in each]),
      np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]),
      np.concatenate([x.mask for x in each]),
      each[0].vector,
    )

  count = sum(map(len, parts))
  return Dataset(
    ids=np.arange(count).astype(str),
    modalities={name: of(name) for name in parts[0].modalities},
    source=parts[0].source,
  )


def _sets(names: Sequence[str], present: Sequence[str]) -> list[tuple[str, ...]]:
  """All modalities first; then fewer of those that the clip has."""
  whole = tuple(names)
  if len(present) <= MOST_SUBSETS:
    sizes = range(len(present) - 1, 0, -1)
    fewer = [x for n in sizes for x in itertools.combinations(present, n)]
  else:
    fewer = [tuple(m for m in present if m != off) for off in present]
  return [whole, *fewer]


def names_of(run) -> tuple[str, ...]:
  """What the numbers of a prediction are, one name each."""
  spec = run.spec
  numbered = lambda n: tuple(map(str, range(n)))
  if spec.task == "regression":
    if spec.outputs == (1,):
      return spec.target_names or ("prediction",)
    return spec.target_names or numbered(spec.outputs[0])
  if spec.task == "multitask":
    targets = spec.target_names or numbered(spec.outputs[0])
    return tuple(
      f"{target}: {name}"
      for target, own in zip(targets, spec.class_names, strict=True)
      for name in own
    )
  return tuple(map(str, spec.class_names or spec.target_names)) or numbered(
    spec.outputs[0]
  )


def readings(run, predictions: np.ndarray) -> np.ndarray:
  """Predictions (S, N, *outputs) as numbers (S, N, R) in the order of `names_of`.

  Numbers are as they are; classes are their probabilities, two-way labels that of yes.
  """
  spec = run.spec
  if spec.task == "regression":
    return predictions
  shares = evaluators.shares(predictions, spec.task, spec.class_names)
  if spec.task == "binary":
    return shares[..., 1]
  if spec.task == "multitask":
    counts = map(len, spec.class_names)
    return np.concatenate([shares[..., i, :n] for i, n in enumerate(counts)], -1)
  return shares


def _reading(run: Run, dataset: Dataset) -> Reading:
  """Cuts what is longer than a model can read, which its notes then say."""
  more = readings_of.longer(dataset, run.spec)
  cut = more and run.tied(more)
  return Reading({"overlong": "truncate"}) if cut else Reading()


def _disturbed(run: Run, dataset: Dataset, tell: Tell):
  """Predictions (S, 1, *outputs) of sets of modalities, (S, DRAWS, ...) of noise."""
  names = run.spec.modalities
  present = [m for m in names if dataset.modalities[m].present[0]]
  parts, keys = [], []
  for kept in _sets(names, present):
    off = [m for m in names if m not in kept]
    parts.append(robustness.disturbed(dataset, off, "drop", 1.0, {}))
    keys.append(kept)
  scale = _scale(run, dataset)
  repeated = dataset.select(np.zeros(DRAWS, int))
  noisy = [(m, level) for m in present for level in LEVELS if scale]
  for m, level in noisy:
    parts.append(robustness.disturbed(repeated, [m], "noise", level, scale))
  # Whole batches, so that all have one shape; what fills the last is left out again.
  count = sum(map(len, parts))
  parts.append(dataset.select(np.zeros(-count % BATCH, int)))
  found, rows = [], joined(parts)
  for start in range(0, len(rows), BATCH):
    tell("Predicting with less and with noise", start / len(rows))
    part = rows.select(np.arange(start, start + BATCH))
    found.append(run.predict(part, batch_size=BATCH))
  found = np.concatenate(found, 1)
  subsets = {kept: found[:, i : i + 1] for i, kept in enumerate(keys)}
  noise: dict[str, dict[float, np.ndarray]] = {}
  for i, (m, level) in enumerate(noisy):
    start = len(keys) + i * DRAWS
    noise.setdefault(m, {})[level] = found[:, start : start + DRAWS]
  return subsets, noise


def _scale(run: Run, dataset: Dataset):
  """Deviations of the training data, of a run that keeps them; else None.

  The data itself is not read: its path is that of whoever trained the run.
  """
  return robustness.scale_of(run, dataset) if run.config.data.normalize else None
