"""What a data set decides of a model, settled once for all its splits."""

from collections.abc import Mapping

from mcr_jax import metrics
from mcr_jax.contract import STATED, Spec
from mcr_jax.data import readers
from mcr_jax.data.load import lengths_of
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import UserError, choose

# Axes of a prediction by task, where classes are counted among them.
AXES = {"regression": 1, "multiclass": 1, "binary": 2, "multitask": 2}
LARGEST = 2**31 - 1


def spec_of(
  dataset: Dataset, units: Units, room: Mapping[str, int], scheme: str = "auto"
) -> Spec:
  """The spec of a data set.

  Args:
    dataset: with labels; in dialogues, with a vector a turn.
    units: its samples.
    room: modality -> longest sequence, where models get more than the data needs.
    scheme: of the metrics.
  """
  longest = lengths_of(dataset)
  for name in room:
    choose(name, longest, "A modality of data.lengths")
  dialogue = units.unit == "dialogue"
  return Spec(
    lengths={m: int(room.get(m, n)) for m, n in longest.items()},
    widths={m: x.width for m, x in dataset.modalities.items()},
    outputs=dataset.outputs,
    task=dataset.task,
    class_names=dataset.class_names,
    target_names=dataset.target_names,
    scheme=metrics.resolve(scheme, dataset.labels[dataset.labelled], dataset.task),
    unit=units.unit,
    turns=units.members.shape[1],
    columns=("index", "turn", "speaker") if dialogue else ("index",),
    samples=len(dataset),
  )


def check(spec: Spec) -> None:
  """Raises UserError where a spec that somebody else wrote is none of a data set."""
  choose(spec.task, AXES, "task")
  choose(spec.unit, STATED["unit"], "unit")
  choose(spec.scheme, metrics.SCHEMES, "scheme")
  if spec.scheme != "auto" and metrics.scheme_of(spec.scheme).task != spec.task:
    raise UserError(f"scheme={spec.scheme!r} of {spec.task}.")
  names = tuple(spec.lengths)
  if not names or names != tuple(spec.widths):
    raise UserError(f"lengths of {list(names)!r:.80}, widths of others.")
  for name in names:
    if not readers.NAME.fullmatch(name):
      raise UserError(f"a modality named {name!r:.80}.")
  sizes = (*spec.lengths.values(), *spec.widths.values(), *spec.outputs, spec.turns)
  for size in (*sizes, spec.samples + 1):
    if type(size) is not int or not 1 <= size <= LARGEST:
      raise UserError(f"a size of {size!r:.80}.")
  if len(spec.outputs) != AXES[spec.task]:
    raise UserError(f"predictions of shape {spec.outputs!r:.80} for {spec.task}.")
  texts = lambda values: all(isinstance(value, str) for value in values)
  found, outputs = spec.class_names, spec.outputs
  if spec.task == "multitask":
    right = len(found) == outputs[0] and all(
      isinstance(own, tuple) and texts(own) and 1 <= len(own) <= outputs[1]
      for own in found
    )
  else:
    # Of labels without names of their own, they are the labels' names.
    right = texts(found) and (
      len(found) in (0, outputs[0]) or spec.task == "regression"
    )
  if not right:
    raise UserError(f"the classes {found!r:.80}.")
  targets = 1 if spec.task == "multiclass" else outputs[0]
  named = spec.target_names
  if not texts((*named, *spec.columns)) or len(named) not in (0, targets):
    raise UserError(f"the targets {named!r:.80} of {targets}.")
