"""The groups of a config: every field with its default, what it may be, and its use.

The group `model` has the fields of the chosen model besides, which its own file states;
`loss.weights` those of its losses.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from mcr_jax.field import field

COUNT = 2**31 - 1  # the most that 32 bits can count
SPLITS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True)
class Mesh:
  """Devices along each axis; -1 takes all that the other one leaves."""

  seed: int = field(1, low=-1, doc="Devices that the seeds are divided among.")
  data: int = field(-1, low=-1, doc="Devices that a batch is divided among.")


@dataclasses.dataclass(frozen=True)
class Data:
  """What is read, how it is batched, and which part of it trains."""

  path: str = field(
    "",
    doc="Feature file or folder, `synthetic`, or `synthetic:CORPUS` for a small one.",
  )
  task: str = field(
    "auto",
    choices=("auto", "regression", "multiclass", "binary", "multitask"),
    doc="How labels are read; auto goes by their type.",
  )
  modalities: tuple[str, ...] = field(
    (), modalities=True, doc="What is read, in order; () is all of the file."
  )
  absent: str = field(
    "error",
    choices=("error", "leave"),
    doc="What becomes of `modalities` and `lengths` that the file does not have.",
  )
  label: str = field("label", doc="Array of the file, such as label_T of CH-SIMS.")
  split: str = field("split", doc="Array of the file that says who trains.")
  align: str = field(
    "",
    modalities=True,
    doc="Modality, such as text, whose steps all take the means of, by their times.",
  )
  features: Mapping[str, str] = field(
    {}, modalities=True, doc="MERBench: the feature folder of each modality."
  )
  parts: Mapping[str, str] = field(
    {}, doc="Split -> what the file calls it, such as `data.parts.test=test2`."
  )
  ids: str = field(
    "unique",
    choices=("unique", "by_split"),
    doc="Whether ids are unique, or within a split only.",
  )
  unlabelled: str = field(
    "error",
    choices=("error", "drop", "keep"),
    doc="What becomes of samples without a label; kept ones have weight 0.",
  )
  decimal: str = field(".", choices=(".", ","), doc="Of tables: the decimal sign.")
  encoding: str = field("", doc="Of tables that are not UTF-8, such as `gbk`.")
  layers: str = field(
    "mean",
    choices=("mean", "join", "roberta1", "roberta2", "roberta3", "roberta4"),
    doc="Of conversation pickles with layers of text: their mean, all, or one.",
  )
  vectors: str = field("", doc="Of files with words or their numbers: file of vectors.")
  nonfinite: str = field(
    "error", choices=("error", "zero"), doc="What becomes of NaN and inf in features."
  )
  normalize: bool = field(True, doc="Standard scores by the training split.")
  clip: float = field(5.0, low=0, doc="Of what is normalised, in deviations; 0 is off.")
  lengths: Mapping[str, int] = field(
    {}, modalities=True, low=1, high=COUNT, doc="The most steps of each modality."
  )
  overlong: str = field(
    "error", choices=("error", "truncate"), doc="What becomes of longer sequences."
  )
  unit: str = field(
    "auto",
    choices=("auto", "utterance", "dialogue"),
    doc="What a sample is; auto is what the model reads.",
  )
  folds: int = field(0, low=0, doc="Parts of a cross-validation; 0 keeps the splits.")
  fold: int = field(-1, low=-1, doc="The one to train, counted from 0; -1 is all.")
  fold_by: str = field("id", doc="Column whose equal values stay in one fold.")
  fold_repeats: int = field(1, low=1, doc="How often the folds are assigned anew.")
  fold_shuffle: bool = field(False, doc="Assign at random, by data.seed.")
  fold_stratify: bool = field(False, doc="Spread the classes evenly.")
  fold_seeds: str = field(
    "all", choices=("all", "own"), doc="Seeds of a repeat: all, or repeat r seed r."
  )
  buckets: int = field(1, low=1, doc="Groups of similar lengths that share batches.")
  trim: bool = field(True, doc="Cut a batch to the longest length of its bucket.")
  placement: str = field(
    "auto", choices=("auto", "device", "stream"), doc="Where the data waits."
  )
  pipeline: str = field(
    "auto", choices=("auto", "tf.data", "threads"), doc="Who makes batches that stream."
  )
  modality_dropout: float = field(
    0.0, low=0, below=1, sweep=True, doc="Chance that training misses a modality."
  )
  seed: int = field(0, low=0, doc="Of synthetic data, and of shuffled folds.")


@dataclasses.dataclass(frozen=True)
class Model:
  """Which model; the rest of this group are its own fields."""

  name: str = field("mcr", doc="See `python -m mcr_jax.models`.")
  file: str = field("", doc="A model of your own: the Python file that defines it.")


@dataclasses.dataclass(frozen=True)
class Loss:
  """What is minimised: (1 - gamma) task + gamma joint + the rest, each weighed."""

  name: str = field("auto", doc="Of the task; auto is l1 or cross_entropy.")
  gamma: float = field(
    0.3, low=0, high=1, sweep=True, doc="Share of the loss that a model joins to it."
  )
  weights: Mapping[str, float] = field(
    {}, low=0, sweep=True, doc="Of `task` and of each loss that the model has."
  )
  huber_delta: float = field(1.0, above=0, doc="Error from which huber is linear.")
  focal_gamma: float = field(2.0, low=0, doc="How much focal discounts easy samples.")
  focal_detached: bool = field(
    False, doc="Whether the discount of focal is a constant to the gradient."
  )
  class_weights: str = field(
    "none",
    choices=("none", "balanced"),
    doc="With `balanced` every class weighs alike.",
  )


@dataclasses.dataclass(frozen=True)
class Optim:
  """The optimiser and its rates."""

  name: str = field(
    "adam", choices=("adam", "adamw"), doc="With adamw, decay is decoupled."
  )
  lr: float = field(1e-3, above=0, sweep=True, doc="Learning rate.")
  b1: float = field(0.9, low=0, below=1, doc="Decay of the mean of gradients.")
  b2: float = field(0.999, low=0, below=1, doc="Decay of the mean of their squares.")
  eps: float = field(1e-8, above=0, doc="Added to the root of that mean.")
  weight_decay: float = field(
    0.0, low=0, sweep=True, doc="Of all parameters but biases and norms."
  )
  clip: float = field(
    1.0, low=0, doc="The largest norm of the gradient, or value in it; 0 is off."
  )
  clip_by: str = field(
    "norm", choices=("norm", "value"), doc="What clip bounds: the global norm, or each."
  )
  schedule: str = field(
    "constant", choices=("constant", "cosine", "plateau"), doc="Of the learning rate."
  )
  warmup_steps: int = field(0, low=0, doc="Steps in which the rate rises to lr.")
  plateau_factor: float = field(0.1, above=0, below=1, doc="What a plateau multiplies.")
  plateau_patience: int = field(10, low=1, doc="Epochs that make a plateau.")
  accumulate: int = field(1, low=1, doc="Parts that a batch is computed in.")
  multipliers: tuple[tuple[str, float], ...] = field(
    (), doc="(pattern of whole parameter paths, factor of lr) pairs; the first counts."
  )


@dataclasses.dataclass(frozen=True)
class Phase:
  """Some epochs in which only a part of a model trains."""

  epochs: int = field(1, low=1, doc="How many.")
  trainable: tuple[str, ...] = field((".*",), doc="Patterns of whole parameter paths.")
  task: bool = field(True, doc="Whether the loss of the task counts.")


@dataclasses.dataclass(frozen=True)
class Train:
  """How long, and from where to where."""

  epochs: int = field(40, low=1, doc="Passes over the training split, of all phases.")
  phases: tuple[Mapping[str, Any], ...] = field(
    (), doc="Dicts with the fields of `Phase`; everything trains in epochs behind them."
  )
  batch_size: int = field(32, low=1, doc="Samples an optimiser step.")
  eval_batch_size: int = field(0, low=0, doc="Samples a prediction; 0 is batch_size.")
  patience: int = field(0, low=0, doc="Epochs without a better score; 0 never stops.")
  monitor: str = field("loss", doc="Score on the validation split that chooses.")
  steps_per_call: int = field(0, low=0, doc="0 is as many as take some two seconds.")
  checkpoint_seconds: float = field(30.0, low=0, doc="Between two checkpoints.")
  seeds_by: str = field(
    "auto", choices=("auto", "vmap", "map"), doc="How seeds of a device are computed."
  )
  init_from: str = field("", doc="Workdir of a run whose weights are the start.")
  only: str = field(
    "all", choices=("all", "head"), doc="What trains; head is the last layer."
  )
  cache_dir: str = field("", doc="Of compiled programs; the default is the user's.")


@dataclasses.dataclass(frozen=True)
class Evals:
  """What is computed of the best of each seed at the end."""

  metrics: str = field("auto", doc="The scheme; auto goes by the labels.")
  splits: tuple[str, ...] = field(
    ("valid", "test"), choices=SPLITS, doc="What is scored in the end."
  )


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on."""

  seeds: tuple[int, ...] = field(
    (0, 1, 2, 3, 4), low=0, high=2**32 - 1, doc="A model is trained from each."
  )
  mesh: Mesh = Mesh()
  data: Data = Data()
  model: Model = Model()
  loss: Loss = Loss()
  optim: Optim = Optim()
  train: Train = Train()
  evals: Evals = Evals()


# By name, in the order of a config.
GROUPS = {
  f.name: f.type for f in dataclasses.fields(Config) if dataclasses.is_dataclass(f.type)
}
