"""The attention maps of one sample, each with the steps that its rows and columns are.

A model names its intermediates; a name with a modality or two, such as
`layer_0/cmu_text/attention_audio` or `cross_text_audio/layer_0/weights`, is that of the
target, whose steps are rows, and of the source, whose steps are columns. What names one
modality alone reads that, or all others joined; what names none, all joined.
"""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from mcr_jax import config as configs
from mcr_jax.config import chosen
from mcr_jax.contract import Spec
from mcr_jax.data.schema import Dataset, Modality

_LAYER = re.compile(r"(?:^|/)(?:layer|encoder)_(\d+)(?=/|$)")


@dataclasses.dataclass(frozen=True)
class Map:
  """Attention weights of one kind, in one layer, of one sample and seed.

  Attributes:
    kind: which attention of the model, such as `cmu` or `scu self`.
    layer: from 0.
    targets, sources: the modalities of rows and columns, joined where several.
    weights: (Q, K), the mean over heads, real steps of the sample only.
  """

  kind: str
  layer: int
  targets: tuple[str, ...]
  sources: tuple[str, ...]
  weights: np.ndarray

  @property
  def title(self) -> str:
    """In words; the layer is told apart."""
    kind = re.sub(r"\b(cmu|scu)\b", lambda found: found[0].upper(), self.kind)
    return f"{kind}: {' + '.join(self.targets)} reads {' + '.join(self.sources)}"


@dataclasses.dataclass(frozen=True)
class Steps:
  """The steps of one modality of a sample.

  Attributes:
    labels: (T,) a word, seconds, or a number.
    unit: what a label is.
  """

  labels: tuple[str, ...]
  unit: str


def maps(run, sample: Dataset, *, seed: int = 0) -> list[Map]:
  """All maps of a sample in the order of the model, those of one kind by layers.

  Args:
    run: of `load_run`, of a model that reads sequences.
    sample: a data set of one sample, as `run.read` gives it.
    seed: position of the seed among those of the run.
  """
  run = run.with_room(sample)
  return of_outputs(run, sample, run.outputs(sample), seed=seed)


def of_outputs(
  run, sample: Dataset, outputs: Mapping[str, np.ndarray], *, seed: int = 0
) -> list[Map]:
  """The same of what `run.outputs(sample)` gave, of a run with room for the sample."""
  card = chosen.of(configs.plain(run.config.model)).card
  if run.spec.unit != "utterance" or card.reads != "sequences":
    return []
  found = []
  for name, values in outputs.items():
    last = name.split("/")[-1]
    if not ("weights" in last or "attention" in last) or values.ndim not in (4, 5):
      continue
    weights = values[seed, 0].astype(np.float32)
    weights = weights.mean(0) if weights.ndim == 3 else weights
    if (made := _named(name, weights, run.spec, sample)) is not None:
      found.append(made)
  order = {}
  for x in found:
    order.setdefault((x.kind, x.targets, x.sources), len(order))
  return sorted(found, key=lambda x: (order[x.kind, x.targets, x.sources], x.layer))


def steps(modality: Modality, name: str, origin: float = 0.0) -> Steps:
  """How the steps of a sample are to be labelled.

  Args:
    modality: of one sample.
    name: of the modality.
    origin: seconds at which the sample begins.
  """
  if modality.vector:
    return Steps(("all",), name)
  if modality.words is not None:
    unit = "word" if name == "text" else f"word, {name}"
    return Steps(tuple(modality.words.tolist()), unit)
  count = len(modality.mask)
  if modality.times is not None and np.isfinite(modality.times).all() and count:
    starts = modality.times[:, 0] - origin
    return Steps(tuple(f"{x:.2f}" for x in starts), f"{name}, seconds")
  return Steps(tuple(map(str, range(count))), f"step of {name}")


def origin(sample: Dataset) -> float:
  """Seconds at which a sample begins, by the first time that is known; else 0."""
  known = [x.times for x in sample.modalities.values() if x.times is not None]
  known = [x[np.isfinite(x)] for x in known]
  return min((float(x.min()) for x in known if x.size), default=0.0)


def joined(sample: Dataset, names: Sequence[str]) -> tuple[list[str], str, list[int]]:
  """(labels, their unit, where the second and later parts begin) of joined steps."""
  start = origin(sample)
  found = [steps(sample.modalities[m], m, start) for m in names]
  labels = [label for x in found for label in x.labels]
  ends = np.cumsum([len(x.labels) for x in found]).tolist()
  unit = found[0].unit if len(found) == 1 else " | ".join(x.unit for x in found)
  return labels, unit, ends[:-1]


def _named(name: str, weights: np.ndarray, spec: Spec, sample: Dataset) -> Map | None:
  """The map of an intermediate; None where its sides are no steps of the sample."""
  layer = _LAYER.search(name)
  said = re.sub(_LAYER, "", name)
  pattern = "|".join(map(re.escape, sorted(spec.modalities, key=len, reverse=True)))
  named = re.findall(rf"(?<![^/_])(?:{pattern})(?![^/_])", said)
  kind = re.sub(rf"(?<![^/_])(?:{pattern}|weights|attention)(?![^/_])", " ", said)
  kind = " ".join(re.split(r"[\s/_]+", kind)).strip() or "attention"
  if not named:
    kind = "encoder" if "encoder" in name else kind
    targets = sources = spec.modalities
  elif len(named) == 1:
    targets = named[:1]
    others = tuple(m for m in spec.modalities if m not in targets)
    same = weights.shape[1] == spec.lengths[named[0]] and "cross" not in kind.split()
    sources = targets if same or not others else others
  else:
    targets, sources = named[:1], named[1:2]
  rows, columns = (_real(side, spec, sample) for side in (targets, sources))
  if weights.shape != (len(rows), len(columns)):
    return None
  number = int(layer[1]) if layer else 0
  return Map(kind, number, tuple(targets), tuple(sources), weights[rows][:, columns])


def _real(names: Sequence[str], spec: Spec, sample: Dataset) -> np.ndarray:
  """Which of the padded steps of joined modalities a sample has."""
  parts = [np.arange(spec.lengths[m]) < len(sample.modalities[m].mask) for m in names]
  return np.concatenate(parts)
