"""From a data set to a loop that stands at its first step."""

from collections.abc import Mapping, Sequence

import jax
import numpy as np

from mcr_jax.data import batches
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import SPLITS, Dataset, Modality
from mcr_jax.data.units import Units
from mcr_jax.runs.run import Run
from mcr_jax.runs.transfer import start_from
from mcr_jax.training import feed as feeds
from mcr_jax.training.loop import Loop
from mcr_jax.training.programs import Programs
from mcr_jax.training.recipe import class_weights
from mcr_jax.training.samples import Samples, rows_of
from mcr_jax.training.state import State
from mcr_jax.training.step import Constants
from mcr_jax.training.validation import Validation

# Of a split: its samples, and its utterances that have labels.
Rows = tuple[np.ndarray, np.ndarray]


def loop_of(
  programs: Programs,
  dataset: Dataset,
  features: dict[str, Modality],
  normalizer: Normalizer,
  seeds: Sequence[int],
  *,
  numbers: Mapping[str, np.ndarray],
  pretrained: Run | None = None,
  capacity: int = 0,
) -> tuple[Loop, dict[str, Rows]]:
  """The loop of a run, and the rows of every split.

  What can be wrong is looked at first: placing the features and compiling come last.

  Args:
    programs: of the run.
    dataset: without its features.
    features: handed over to the feed, which frees what it copies.
    normalizer: of the features.
    seeds: of the members.
    numbers: name -> (S,) that differ between the members, see `recipe.numbers_of`.
    pretrained: the run whose weights are the start.
    capacity: see `feed.Resident.steps`.
  """
  recipe, mesh = programs.recipe, programs.mesh
  config, spec = recipe.config, recipe.model.spec
  recipe.check_numbers(numbers)
  normalizer.check(dataset.source, features)
  units = Units.of(dataset, spec.unit)
  samples = Samples.of(features, units, spec, config, mesh.shape["data"])
  rows = dict(rows_of(dataset, units, SPLITS))
  (train, known), (valid, scored) = rows["train"], rows["valid"]
  constants = Constants(
    np.int32(samples.steps(train) * config.train.epochs),
    class_weights(config, spec, dataset.labels[known]),
  )
  labels = dataset.labels[scored]
  validation = Validation(programs, spec, labels, config.train.monitor)
  columns = batches.columns_of(dataset, units, labels=True)
  feed = feeds.make(programs, features, columns, units, normalizer, samples.buckets)
  loop = Loop(
    programs,
    feed,
    samples,
    {"train": train, "valid": valid, "scored": scored},
    validation,
    constants,
    _first_state(programs, seeds, numbers, pretrained),
    seeds,
    capacity=capacity,
  )
  return loop, rows


def _first_state(programs, seeds, numbers, pretrained: Run | None) -> State:
  """The state of every seed before its first step."""
  recipe, spec = programs.recipe, programs.recipe.model.spec
  every = {k: np.full(len(seeds), v) for k, v in recipe.numbers().items()}
  every = {k: np.asarray(v, np.float32) for k, v in (every | dict(numbers)).items()}
  example = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), spec.example())
  state = programs.create(example, np.asarray(seeds, np.uint32), every)
  if pretrained is not None:
    state = start_from(pretrained, state, spec, recipe.model.card.head)
  recipe.check_patterns(state.params)
  for phase in range(len(recipe.phases)):
    recipe.factors(state.params, phase)  # says what trains nothing
  return state
