"""What data, model, loss and trainer owe each other, as types.

A model is a `Model` with a `Spec` (what the data decides) and a `Card` (what it states
of itself); it maps a `Batch` to an `Output`. The trainer mixes the losses of an
`Output` (`training/objective.py`), and nothing else of a model is known to it.

Axes: B samples, T steps, U turns of a dialogue, D features, O the shape of a
prediction. With `Spec.unit == "dialogue"` a sample is a dialogue and its steps are its
turns: everything that belongs to an utterance has the axes (B, U).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar

import flax.linen as nn
import flax.struct
import jax
import numpy as np
from flax.core import FrozenDict
from jaxtyping import PyTree

from mcr_jax.data.schema import Column
from mcr_jax.field import field

__all__ = [
  "PER_SAMPLE",
  "Batch",
  "Card",
  "Column",
  "Intermediates",
  "Model",
  "Output",
  "Spec",
  "field",
  "flatten",
]

# What is worth drawing, by name; a dict in it holds what belongs together.
Intermediates = dict[str, Any]
DTYPES = ("", "float32", "bfloat16", "float16", "float64")
# Patterns of parameter paths, a/b/c: the last fully connected layer of a model, and
# what weight decay leaves alone, which is biases and the scales of norms.
HEAD = r"(head/)?output/[^/]+"
UNDECAYED = r"(.*/)?([^/]*bias[^/]*|b_[^/]*|[^/]*norm[^/]*/scale)"
# The collection of variables that belong to single samples of the data that trains, by
# the column `index`. They stay with that data: no other run starts from them.
PER_SAMPLE = "per_sample"
# What a card may say.
STATED = {
  "kind": ("exact", "reconstruction", "baseline"),
  "reads": ("sequences", "vectors"),
  "unit": ("utterance", "dialogue"),
}


@dataclasses.dataclass(frozen=True, eq=False)
class Spec:
  """What the data decides of a model; saved with a run.

  Attributes:
    lengths: modality -> the most steps of a sequence, in order.
    widths: modality -> features a step.
    outputs: the shape O of a prediction: (1,) or (K,) numbers, (C,) classes, (K, C)
      for K labels of at most C classes each.
    task: `regression`, `multiclass`, `binary` (K two-way labels) or `multitask` (K
      labels with classes of their own).
    class_names: in the order of the labels; of a multi-task one a tuple a label.
    target_names: of the K labels, where there are several.
    scheme: of the metrics, settled on all splits together.
    unit: `utterance`, or `dialogue`.
    turns: of the longest dialogue.
    columns: what `Batch.more` holds.
    samples: utterances of the data set, which the column `index` counts.
  """

  lengths: Mapping[str, int]
  widths: Mapping[str, int] = FrozenDict()
  outputs: tuple[int, ...] = (1,)
  task: str = "regression"
  class_names: tuple = ()
  target_names: tuple[str, ...] = ()
  scheme: str = "auto"
  unit: str = "utterance"
  turns: int = 1
  columns: tuple[str, ...] = ()
  samples: int = 0

  def __post_init__(self):
    # Hashable: a Spec is a field of modules, and those are static under jit.
    for name in ("lengths", "widths"):
      object.__setattr__(self, name, FrozenDict(getattr(self, name)))
    for name in ("outputs", "class_names", "target_names", "columns"):
      object.__setattr__(self, name, _frozen(getattr(self, name)))

  def __eq__(self, other: Any) -> bool:
    return isinstance(other, Spec) and self._items() == other._items()

  def __hash__(self) -> int:
    return hash(self._items())

  def _items(self) -> tuple:
    """Everything, with the order of modalities, which dicts do not compare."""
    values = (getattr(self, f.name) for f in dataclasses.fields(self))
    return tuple(tuple(v.items()) if isinstance(v, Mapping) else v for v in values)

  @property
  def modalities(self) -> tuple[str, ...]:
    """Their names, in order."""
    return tuple(self.lengths)

  @property
  def classes(self) -> tuple[int, ...]:
    """How many classes each label of a multi-task classification has; else ()."""
    return tuple(map(len, self.class_names)) if self.task == "multitask" else ()

  def with_lengths(self, lengths: Mapping[str, int]) -> "Spec":
    """The same with room for other numbers of steps, modalities in their order."""
    return dataclasses.replace(self, lengths={**self.lengths, **lengths})

  def to_json(self) -> dict[str, Any]:
    """As plain values for run.json."""
    values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
    return values | {name: dict(values[name]) for name in ("lengths", "widths")}

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> "Spec":
    """What `to_json` made; fields that an older version did not have stay as here."""
    return cls(**{name: _frozen(value) for name, value in values.items()})

  def example(self, count: int = 2) -> "Batch":
    """The shapes of a batch of `count` samples without labels."""
    dialogue = self.unit == "dialogue"
    units = (count, self.turns) if dialogue else (count,)
    x, mask = {}, {}
    for m, length in self.lengths.items():
      steps = units if dialogue else (count, length)
      x[m] = jax.ShapeDtypeStruct((*steps, self.widths[m]), np.float32)
      mask[m] = jax.ShapeDtypeStruct(steps, np.bool_)
    whole = {"speaker": np.int32, "index": np.int32, "turn": np.bool_}
    more = {
      name: jax.ShapeDtypeStruct(units, whole[name])
      for name in self.columns
      if name in whole
    }
    return Batch(x, mask, jax.ShapeDtypeStruct(units, np.float32), None, more)


@flax.struct.dataclass
class Batch:
  """The arrays of some samples that travel together.

  Attributes:
    x: modality -> (B, T, D); in a dialogue (B, U, D), a vector a turn.
    mask: modality -> (B, T), True on real steps; in a dialogue (B, U), True where the
      turn has the modality.
    weight: (B,) or (B, U); 0 on rows that only fill a batch, and on what has no label.
    label: (B,) or (B, K), or with U behind B; None where none are known.
    more: further columns by name: `turn` (B, U) bool, True on the turns that exist,
      `speaker` (B, U) int, numbered in a dialogue by first appearance and -1 on
      padding, `index` (B,) or (B, U) int, the row of an utterance in the data that
      trains, -1 on padding and where other data is predicted, and `label_<modality>`
      like `label`.
  """

  x: PyTree
  mask: PyTree
  weight: PyTree
  label: PyTree = None
  more: PyTree = dataclasses.field(default_factory=dict)

  @classmethod
  def of(cls, arrays: Mapping[str, Any]) -> "Batch":
    """From flat names: `<m>`, `<m>_mask`, `label`, `weight`; what is left is `more`.

    A batch without `weight` counts every row.
    """
    arrays = dict(arrays)
    names = [name[:-5] for name in arrays if name.endswith("_mask")]
    mask = {m: arrays.pop(f"{m}_mask") for m in names}
    x = {m: arrays.pop(m) for m in names}
    label = arrays.pop("label", None)
    weight = arrays.pop("weight", None)
    if weight is None:
      weight = np.ones(len(next(iter(mask.values()))), np.float32)
    return cls(x, mask, weight, label, arrays)


@flax.struct.dataclass
class Output:
  """What a model makes of a batch.

  Attributes:
    predictions: (B, *O), or (B, U, *O) in a dialogue; float32 or wider.
    losses: name -> (B,) or (B, U) values, or () statistics of the rows that count;
      minimised with the weights of `Card.losses`. Made where train=True.
    auxiliary: modality or other name -> predictions of a head of its own. The trainer
      applies the task loss to them, against `label_<name>` where the data has it, and
      of a modality only where it is there.
    intermediates: what is worth drawing, in nested dicts; jit drops what nobody asks
      for. Attention maps are there where train=False.
  """

  predictions: PyTree
  losses: PyTree = dataclasses.field(default_factory=dict)
  auxiliary: PyTree = dataclasses.field(default_factory=dict)
  intermediates: PyTree = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Card:
  """What a model states of itself.

  Attributes:
    title: the system's name as papers print it.
    paper: authors, title, venue, year; "" where it has none.
    kind: `exact` (the paper's equations), `reconstruction` (what no source states was
      inferred) or `baseline`.
    reads: `sequences`, or `vectors` (sequences are averaged over their real steps).
    unit: `utterance`, or `dialogue`.
    modalities: the fewest and the most that it accepts; None is any number.
    losses: name -> weight by default of what `Output.losses` holds.
    optional: the same, of losses that only some fields of the model make.
    joint: the loss that shares with the task by `loss.gamma`:
      (1 - gamma) L_task + gamma L_joint.
    auxiliary: name under which the losses of all heads of `Output.auxiliary` are summed
      and weighed; "" where there are none.
    head: the last fully connected layer, a pattern of parameter paths.
    undecayed: what weight decay leaves alone, a pattern of parameter paths.
    phases: training in phases by default, see `train.phases`.
  """

  title: str
  paper: str = ""
  kind: str = "exact"
  reads: str = "sequences"
  unit: str = "utterance"
  modalities: tuple[int, int | None] = (1, None)
  losses: Mapping[str, float] = FrozenDict()
  optional: Mapping[str, float] = FrozenDict()
  joint: str = ""
  auxiliary: str = ""
  head: str = HEAD
  undecayed: str = UNDECAYED
  phases: tuple[Mapping[str, Any], ...] = ()

  @property
  def weights(self) -> dict[str, float]:
    """The default of every `loss.weights.NAME`."""
    own = {self.auxiliary: 1.0} if self.auxiliary else {}
    return {"task": 1.0, **own, **self.losses, **self.optional}


class Model(nn.Module):
  """The base of every model: one file in `models/`, with one class `Model`.

  Its further fields are the fields of `config.model`, declared by `field`.
  """

  spec: Spec
  card: ClassVar[Card]

  @property
  def modalities(self) -> tuple[str, ...]:
    """Names, in the order of sources and of joining."""
    return self.spec.modalities

  @property
  def outputs(self) -> tuple[int, ...]:
    """The shape of a prediction."""
    return self.spec.outputs

  def __call__(self, batch: Batch, *, train: bool = False) -> Output:
    """Maps a batch to predictions, and to losses where `train`."""
    raise TypeError(f"{type(self).__name__} does not say what it computes.")


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Nested intermediates by path: {"layer": {"gate": x}} is {"layer/gate": x}."""
  flat = {}
  for name, value in tree.items():
    nested = isinstance(value, Mapping)
    flat |= flatten(value, f"{prefix}{name}/") if nested else {f"{prefix}{name}": value}
  return flat


def _frozen(value):
  return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
