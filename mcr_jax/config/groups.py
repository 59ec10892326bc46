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

  seed: int = field(1, low=-1, doc="devices that the seeds are divided among")
  data: int = field(-1, low=-1, doc="devices that a batch is divided among")


@dataclasses.dataclass(frozen=True)
class Data:
  """What is read, how it is batched, and which part of it trains."""

  path: str = field("", doc="feature file or folder, of any known format")
  name: str = field("synthetic", doc="`synthetic` is for runs without data.path")
  task: str = field(
    "auto",
    choices=("auto", "regression", "multiclass", "binary", "multitask"),
    doc="how labels are read; auto goes by their type",
  )
  aligned: bool = field(False, doc="synthetic data whose modalities share their steps")
  modalities: tuple[str, ...] = field(
    (), modalities=True, doc="which, in order; () is all of the file, in its order"
  )
  label: str = field("label", doc="array of the file, such as label_T of CH-SIMS")
  split: str = field("split", doc="array of the file that says who trains")
  align: str = field(
    "", modalities=True, doc=".csd files: whose intervals the others are pooled to"
  )
  features: Mapping[str, str] = field(
    {}, modalities=True, doc="MERBench: the feature folder of each modality"
  )
  nonfinite: str = field(
    "error", choices=("error", "zero"), doc="what NaN and inf in features are"
  )
  normalize: bool = field(True, doc="standard scores by the training split")
  clip: float = field(5.0, low=0, doc="standard deviations kept; 0 is off")
  lengths: Mapping[str, int] = field(
    {}, modalities=True, low=1, high=COUNT, doc="the most steps of each modality"
  )
  overlong: str = field(
    "error", choices=("error", "truncate"), doc="what becomes of longer sequences"
  )
  unit: str = field(
    "auto",
    choices=("auto", "utterance", "dialogue"),
    doc="what a sample is; auto is what the model reads",
  )
  folds: int = field(0, low=0, doc="parts of a cross-validation; 0 keeps the splits")
  fold: int = field(-1, low=-1, doc="the one to train, counted from 0; -1 is all")
  fold_by: str = field("id", doc="column whose equal values stay in one fold")
  fold_repeats: int = field(1, low=1, doc="how often the folds are assigned anew")
  fold_shuffle: bool = field(False, doc="assign at random, by data.seed")
  fold_stratify: bool = field(False, doc="spread the classes evenly")
  fold_seeds: str = field(
    "all", choices=("all", "own"), doc="seeds of a repeat: all, or repeat r seed r"
  )
  buckets: int = field(1, low=1, doc="groups of similar lengths that share batches")
  trim: bool = field(True, doc="cut a batch to the longest length of its bucket")
  placement: str = field(
    "auto", choices=("auto", "device", "stream"), doc="where the data waits"
  )
  pipeline: str = field(
    "auto", choices=("auto", "tf.data", "threads"), doc="of data that streams"
  )
  modality_dropout: float = field(
    0.0, low=0, below=1, sweep=True, doc="chance that training misses a modality"
  )
  seed: int = field(0, low=0, doc="of the synthetic data, and of shuffled folds")


@dataclasses.dataclass(frozen=True)
class Model:
  """Which model; the rest of this group are its own fields."""

  name: str = field("mcr", doc="see `python -m mcr_jax.models`")
  file: str = field("", doc="a model of your own: the Python file that defines it")


@dataclasses.dataclass(frozen=True)
class Loss:
  """What is minimised: (1 - gamma) task + gamma joint + the rest, each weighed."""

  name: str = field("auto", doc="of the task; auto is l1, or cross_entropy of classes")
  gamma: float = field(
    0.3, low=0, high=1, sweep=True, doc="share of the loss that a model joins to it"
  )
  weights: Mapping[str, float] = field(
    {}, low=0, sweep=True, doc="of `task` and of each loss that the model has"
  )
  huber_delta: float = field(1.0, above=0, doc="error from which huber is linear")
  focal_gamma: float = field(2.0, low=0, doc="how much focal discounts easy samples")
  class_weights: str = field(
    "none", choices=("none", "balanced"), doc="balanced: every class weighs alike"
  )


@dataclasses.dataclass(frozen=True)
class Optim:
  """The optimiser and its rates."""

  name: str = field("adam", choices=("adam", "adamw"), doc="adamw decouples the decay")
  lr: float = field(1e-3, above=0, sweep=True, doc="learning rate")
  b1: float = field(0.9, low=0, below=1, doc="decay of the mean of gradients")
  b2: float = field(0.999, low=0, below=1, doc="decay of the mean of their squares")
  eps: float = field(1e-8, above=0, doc="added to the root of that mean")
  weight_decay: float = field(0.0, low=0, sweep=True, doc="of all but biases and norms")
  clip: float = field(1.0, low=0, doc="of the global gradient norm; 0 is off")
  schedule: str = field(
    "constant", choices=("constant", "cosine", "plateau"), doc="of the learning rate"
  )
  warmup_steps: int = field(0, low=0, doc="steps in which the rate rises to lr")
  plateau_factor: float = field(0.1, above=0, below=1, doc="what a plateau multiplies")
  plateau_patience: int = field(10, low=1, doc="epochs that make a plateau")
  accumulate: int = field(1, low=1, doc="parts that a batch is computed in")
  multipliers: tuple[tuple[str, float], ...] = field(
    (), doc="(pattern of whole parameter paths, factor of the rate); the first counts"
  )


@dataclasses.dataclass(frozen=True)
class Phase:
  """Some epochs in which only a part of a model trains."""

  epochs: int = field(1, low=1, doc="how many")
  trainable: tuple[str, ...] = field((".*",), doc="patterns of whole parameter paths")
  task: bool = field(True, doc="whether the loss of the task counts")


@dataclasses.dataclass(frozen=True)
class Train:
  """How long, and from where to where."""

  epochs: int = field(40, low=1, doc="passes over the training split, of all phases")
  phases: tuple[Mapping[str, Any], ...] = field(
    (), doc="dicts as `Phase` has fields; all parameters train in epochs behind them"
  )
  batch_size: int = field(32, low=1, doc="samples an optimiser step")
  eval_batch_size: int = field(0, low=0, doc="samples a prediction; 0 is batch_size")
  patience: int = field(0, low=0, doc="epochs without a better score; 0 never stops")
  monitor: str = field("loss", doc="score on the validation split that chooses")
  steps_per_call: int = field(0, low=0, doc="0 is as many as fit the time bound")
  checkpoint_seconds: float = field(30.0, low=0, doc="between two checkpoints")
  seeds_by: str = field(
    "auto", choices=("auto", "vmap", "map"), doc="how seeds share a device"
  )
  init_from: str = field("", doc="workdir of a run whose weights are the start")
  only: str = field("all", choices=("all", "head"), doc="head: its last layer alone")
  cache_dir: str = field("", doc="of compiled programs; the default is the user's")


@dataclasses.dataclass(frozen=True)
class Evals:
  """What is computed of the best of each seed at the end."""

  metrics: str = field("auto", doc="the scheme; auto goes by the labels")
  splits: tuple[str, ...] = field(("valid", "test"), choices=SPLITS, doc="which")


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything that a run depends on."""

  seeds: tuple[int, ...] = field(
    (0, 1, 2, 3, 4), low=0, high=2**32 - 1, doc="a model is trained from each"
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
