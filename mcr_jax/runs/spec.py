"""What a data set decides of a model, settled once for all its splits."""

from collections.abc import Mapping

from mcr_jax import metrics
from mcr_jax.contract import Spec
from mcr_jax.data.load import lengths_of
from mcr_jax.data.schema import Dataset
from mcr_jax.data.units import Units
from mcr_jax.errors import choose


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
    scheme=metrics.resolve(scheme, dataset.labels, dataset.task),
    unit=units.unit,
    turns=units.members.shape[1],
    columns=("index", "turn", "speaker") if dialogue else ("index",),
    samples=len(dataset),
  )
