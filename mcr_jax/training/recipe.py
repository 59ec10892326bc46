"""What stays the same over all steps of a run, and what its phases change."""

import dataclasses
import re
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Array, PyTree
from ml_collections import ConfigDict

from mcr_jax import field as fields
from mcr_jax import losses
from mcr_jax.contract import Model, Spec
from mcr_jax.errors import UserError, choose
from mcr_jax.training import optim
from mcr_jax.training.objective import TaskLoss

# Numbers of every config that may differ inside one program.
NUMBERS = ("optim.lr", "optim.weight_decay", "loss.gamma", "data.modality_dropout")


@dataclasses.dataclass(frozen=True)
class Phase:
  """Some epochs in which a part of the model learns.

  Attributes:
    epochs: how many.
    trainable: patterns of the parameters that learn; () is all of them.
    task: whether the task loss counts. Where it does not, no epoch is chosen.
  """

  epochs: int
  trainable: tuple[str, ...] = ()
  task: bool = True


@dataclasses.dataclass(frozen=True, eq=False)
class Recipe:
  """The static part of a training step.

  Attributes:
    model: Linen module of the contract.
    config: of the run.
    loss: its name, resolved.
    phases: in order; their epochs add up to those of the run.
  """

  model: Model
  config: ConfigDict
  loss: str
  phases: tuple[Phase, ...]

  @classmethod
  def of(cls, model: Model, config: ConfigDict) -> "Recipe":
    """The recipe of a config; raises UserError where its fields do not fit together."""
    size, parts = config.train.batch_size, config.optim.accumulate
    if size % parts:
      raise UserError(
        f"optim.accumulate={parts} must divide train.batch_size={size}: every part of "
        "a batch has as many samples."
      )
    loss = losses.resolve(config.loss.name, model.spec.task)
    recipe = cls(model, config, loss, phases_of(config))
    own, card = set(model.card.weights) - {"task"}, model.card
    if not own and not all(phase.task for phase in recipe.phases):
      raise UserError(
        f"train.phases: a phase with task=False minimises nothing, as {card.title} has "
        "no loss of its own."
      )
    return recipe

  def task_loss(self, class_weights: Array | None) -> TaskLoss:
    """The loss of the config, with its parameters."""
    spec, parameters = self.model.spec, self.config.loss.to_dict()

    def task_loss(predictions, label, weight):
      return losses.per_example(
        self.loss,
        predictions,
        label,
        class_weights,
        weight,
        parameters,
        classes=spec.classes,
      )

    return task_loss

  def numbers(self) -> dict[str, float]:
    """What every run has as numbers of its state, by name."""
    config = self.config
    names = self.model.card.weights
    weights = {f"loss.weights.{name}": config.loss.weights[name] for name in names}
    return {"optim.lr": config.optim.lr, "loss.gamma": config.loss.gamma, **weights}

  def check_numbers(self, names: Iterable[str]) -> None:
    """Raises UserError for a name that cannot differ inside one program."""
    for name in names:
      choose(name, numbers_of(type(self.model)), "A number that members differ in")

  def phase(self, epoch: int) -> int:
    """Which phase an epoch, counted from 1, belongs to."""
    ends = np.cumsum([phase.epochs for phase in self.phases])
    return int(np.searchsorted(ends, epoch))

  def factors(self, params: PyTree, phase: int) -> PyTree:
    """What the learning rate of every parameter is multiplied by; 0 holds it."""
    card, config = self.model.card, self.config
    trainable = self.phases[phase].trainable

    def factor(path, _):
      name = optim.path_name(path)
      if config.train.only == "head" and not re.fullmatch(card.head, name):
        return 0.0
      if trainable and not any(re.fullmatch(p, name) for p in trainable):
        return 0.0
      rules = config.optim.multipliers
      return next((f for p, f in rules if re.fullmatch(p, name)), 1.0)

    found = jax.tree_util.tree_map_with_path(factor, params)
    if not any(jax.tree.leaves(found)):
      raise UserError(
        f"Phase {phase + 1} of the training trains nothing: "
        f"trainable={trainable or ('.*',)}, train.only={config.train.only!r} and "
        f"optim.multipliers={config.optim.multipliers} leave none of "
        f"{', '.join(_names(params))}."
      )
    return found

  def check_patterns(self, params: PyTree) -> None:
    """Raises UserError for a pattern of the config that no parameter matches."""
    names, config = _names(params), self.config
    patterns = [("optim.multipliers", p) for p, _ in config.optim.multipliers]
    for number, phase in enumerate(config.train.phases):
      path = f"train.phases.{number}.trainable"
      patterns += [(path, p) for p in phase["trainable"]]
    for path, pattern in patterns:
      if not any(re.fullmatch(pattern, name) for name in names):
        raise UserError(
          f"{path}: {pattern!r} matches the whole path of no parameter; there are "
          f"{', '.join(names)}."
        )


def _names(params: PyTree) -> list[str]:
  return [optim.path_name(path) for path, _ in jax.tree.leaves_with_path(params)]


def numbers_of(model: type[Model]) -> tuple[str, ...]:
  """The names of all numbers that may differ inside one program of a model."""
  own = [f"model.{f.name}" for f in dataclasses.fields(model) if fields.domain(f).sweep]
  return *NUMBERS, *(f"loss.weights.{name}" for name in model.card.weights), *own


def phases_of(config: ConfigDict) -> tuple[Phase, ...]:
  """The phases of a config; what is left of its epochs trains everything."""
  phases = [Phase(**phase) for phase in config.train.phases]
  if left := config.train.epochs - sum(phase.epochs for phase in phases):
    phases.append(Phase(left))
  if not any(phase.task for phase in phases):
    raise UserError("No phase of the training counts the task loss: none is chosen.")
  return tuple(phases)


def class_weights(config: ConfigDict, spec: Spec, labels: np.ndarray):
  """The weights of a class-weighted loss from the training labels, or None."""
  if config.loss.class_weights == "none":
    return None
  classes = spec.classes or spec.outputs[0]
  return losses.balanced_class_weights(labels, spec.task, classes)
