"""From a config to everything a run needs before its first step."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from ml_collections import ConfigDict

from mcr_jax import fields, losses, metrics, models
from mcr_jax.data import batches, load, schedule
from mcr_jax.data.load import lengths_of
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Shape:
  """What a model has to know of its data; saved with a run.

  Attributes:
    lengths: modality -> longest sequence that the model accepts, in order.
    widths: modality -> features a step.
    outputs: shape of a prediction.
    task: `regression`, `multiclass` or `binary`.
    class_names: in the order of the labels.
    scheme: of the metrics, settled on all splits together.
  """

  lengths: Mapping[str, int]
  widths: Mapping[str, int]
  outputs: tuple[int, ...]
  task: str
  class_names: tuple[str, ...]
  scheme: str
  target_names: tuple[str, ...] = ()

  @classmethod
  def of(
    cls, dataset: Dataset, lengths: Mapping[str, int], scheme: str = "auto"
  ) -> "Shape":
    """The shape of a data set; `lengths` may give more room than it needs."""
    longest = lengths_of(dataset)
    unknown = [m for m in lengths if m not in longest]
    if unknown:
      raise UserError(
        f"data.lengths names {unknown[0]!r}; the data has {', '.join(longest)}."
      )
    widths = {m: x.width for m, x in dataset.modalities.items()}
    room = {m: int(lengths.get(m, n)) for m, n in longest.items()}
    names = tuple(map(str, dataset.class_names))
    scheme = metrics.resolve(scheme, dataset.labels)
    return cls(room, widths, dataset.outputs, dataset.task, names, scheme)

  def to_json(self) -> dict[str, Any]:
    """As plain values for run.json."""
    return dataclasses.asdict(self)

  @classmethod
  def from_json(cls, values: Mapping[str, Any]) -> "Shape":
    """What `to_json` made."""
    outputs, names = tuple(values["outputs"]), tuple(values["class_names"])
    targets = tuple(values.get("target_names", ()))
    own = {"outputs": outputs, "class_names": names, "target_names": targets}
    return cls(**{**values, **own})


def build_model(config: ConfigDict, shape: Shape) -> nn.Module:
  """The model of a config for data of a shape."""
  given = fields.plain(config.model)
  given.pop("file")
  stray = [m for m in given.get("kernels", {}) if m not in shape.lengths]
  if stray:
    raise UserError(
      f"model.kernels names {stray[0]!r}; the data has {', '.join(shape.lengths)}."
    )
  return models.build(
    **given,
    modalities=tuple(shape.lengths),
    lengths=tuple(shape.lengths.items()),
    outputs=shape.outputs,
  )


def check(config: ConfigDict) -> None:
  """Raises UserError for fields that do not fit each other."""
  size, parts = config.train.batch_size, config.optim.accumulate
  if size % parts:
    raise UserError(
      f"optim.accumulate={parts} must divide train.batch_size={size}: every part of a "
      "batch has as many samples."
    )


def read_data(config: ConfigDict) -> Dataset:
  """The checked data set of a config."""
  return load(fields.plain(config.data))


def shapes(config: ConfigDict, shape: Shape) -> dict[str, tuple[int, ...]]:
  """The shape of every variable of one seed of a run, by path."""
  batch = {}
  for name, length in shape.lengths.items():
    steps = (2, length)
    batch[name] = jax.ShapeDtypeStruct((*steps, shape.widths[name]), np.float32)
    batch[f"{name}_mask"] = jax.ShapeDtypeStruct(steps, np.bool_)
  batch["weight"] = jax.ShapeDtypeStruct((2,), np.float32)
  model = build_model(config, shape)
  variables = jax.eval_shape(
    lambda batch: model.init(jax.random.key(0), batch, train=False), batch
  )
  params = variables.pop("params")
  return shapes_of((params, variables))


def shapes_of(variables) -> dict[str, tuple[int, ...]]:
  """The shape of every array of (params, other collections), by path."""
  leaves = jax.tree_util.tree_leaves_with_path(variables)
  return {jax.tree_util.keystr(path[1:]): leaf.shape for path, leaf in leaves}


def class_weights(config: ConfigDict, dataset: Dataset) -> np.ndarray | None:
  """The weights of a class-weighted loss, from the training split."""
  if config.loss.class_weights == "none":
    return None
  labels = dataset.labels[dataset.indices("train")]
  return losses.balanced_class_weights(labels, dataset.task, dataset.outputs[0])


def make_buckets(config: ConfigDict, dataset: Dataset, shape: Shape):
  """The buckets of a run, and (N,) which one each sample is in."""
  lengths = {m: x.lengths for m, x in dataset.modalities.items()}
  buckets = schedule.make_buckets(lengths, shape.lengths, config.data.buckets)
  bucket = schedule.assign(lengths, buckets)
  if not config.data.trim:
    buckets = (tuple(shape.lengths.items()),) * len(buckets)
  return buckets, bucket


def normalizer_of(config: ConfigDict, dataset: Dataset) -> Normalizer:
  """Fitted on the training split; the identity where normalisation is off."""
  clip = config.data.clip or np.inf
  if config.data.normalize:
    return Normalizer.fit(dataset, clip=clip)
  widths = {m: x.width for m, x in dataset.modalities.items()}
  zeros = {m: np.zeros(n) for m, n in widths.items()}
  return Normalizer(zeros, {m: np.ones(n) for m, n in widths.items()}, np.inf)


def streams(config: ConfigDict, dataset: Dataset, shape: Shape, budget: int) -> bool:
  """Whether batches come from the host: as config says, or by size."""
  if config.data.placement != "auto":
    return config.data.placement == "stream"
  return batches.resident_bytes(dataset, shape.lengths) > budget
