"""From a config to everything a run needs before its first step."""

from collections.abc import Mapping

import jax
import numpy as np
from ml_collections import ConfigDict

from mcr_jax import fields, losses, metrics, models
from mcr_jax.contract import Model, Spec
from mcr_jax.data import batches, load, schedule
from mcr_jax.data.load import lengths_of
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError


def spec_of(dataset: Dataset, lengths: Mapping[str, int], scheme: str = "auto") -> Spec:
  """The spec of a data set; `lengths` may give more room than it needs."""
  longest = lengths_of(dataset)
  unknown = [m for m in lengths if m not in longest]
  if unknown:
    raise UserError(
      f"data.lengths names {unknown[0]!r}; the data has {', '.join(longest)}."
    )
  return Spec(
    {m: int(lengths.get(m, n)) for m, n in longest.items()},
    {m: x.width for m, x in dataset.modalities.items()},
    dataset.outputs,
    dataset.task,
    tuple(n if isinstance(n, tuple) else str(n) for n in dataset.class_names),
    dataset.target_names,
    scheme=metrics.resolve(scheme, dataset.labels),
  )


def build_model(config: ConfigDict, shape: Spec) -> Model:
  """The model of a config for data of a shape."""
  given = fields.plain(config.model)
  given.pop("file")
  stray = [m for m in given.get("kernels", {}) if m not in shape.lengths]
  if stray:
    raise UserError(
      f"model.kernels names {stray[0]!r}; the data has {', '.join(shape.lengths)}."
    )
  return models.build(spec=shape, **given)


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


def shapes(config: ConfigDict, shape: Spec) -> dict[str, tuple[int, ...]]:
  """The shape of every variable of one seed of a run, by path."""
  model = build_model(config, shape)
  variables = jax.eval_shape(model.init, jax.random.key(0), shape.example())
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


def make_buckets(config: ConfigDict, dataset: Dataset, shape: Spec):
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


def streams(config: ConfigDict, dataset: Dataset, shape: Spec, budget: int) -> bool:
  """Whether batches come from the host: as config says, or by size."""
  if config.data.placement != "auto":
    return config.data.placement == "stream"
  return batches.resident_bytes(dataset, shape.lengths) > budget
