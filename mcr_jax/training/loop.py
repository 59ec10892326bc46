"""The epochs of a run, as a stream of events: what it computes, not what it leaves.

Who iterates decides between two events what to write, to save and whether to go on;
the loop itself touches neither files nor signals.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import PyTree

from mcr_jax import allocator
from mcr_jax.hosts import mesh as meshes
from mcr_jax.training import selection as selections
from mcr_jax.training.feed import Resident, Stream
from mcr_jax.training.programs import Programs
from mcr_jax.training.samples import Samples
from mcr_jax.training.state import State, fresh_tally
from mcr_jax.training.step import Constants
from mcr_jax.training.validation import Validation


class Called(NamedTuple):
  """Some steps of an epoch are done.

  Attributes:
    steps: how many.
    last: whether the epoch is through its steps, and its validation follows.
  """

  steps: int
  last: bool


class Epoch(NamedTuple):
  """An epoch is over, and the loop stands at the start of the next.

  Attributes:
    number: counted from 1.
    values: name -> (S,) of losses and scores.
    reasons: name -> why a value is undefined.
    first: whether programs were compiled in it.
  """

  number: int
  values: dict[str, np.ndarray]
  reasons: dict[str, str]
  first: bool


class Loop:
  """Trains all seeds, epoch by epoch, and keeps the best of each.

  Attributes:
    state, best: of all seeds; `best` is (params, other collections).
    selection: see `selection.py`.
    epoch, position: where the run stands; the next step to take.
  """

  def __init__(
    self,
    programs: Programs,
    feed: Resident | Stream,
    samples: Samples,
    rows: Mapping[str, np.ndarray],
    validation: Validation,
    constants: Constants,
    state: State,
    seeds: Sequence[int],
    *,
    capacity: int = 0,
  ):
    """Compiles and computes nothing yet.

    Args:
      programs: of the run.
      feed: of its data.
      samples: how they form batches.
      rows: `train` and `valid`, samples; `scored`, the utterances that `validation`
        has the labels of.
      validation: of predictions on `scored`.
      constants: arguments of the programs.
      state: before the first step.
      seeds: of the members.
      capacity: see `Resident.steps`.
    """
    self.programs, self.feed, self.samples = programs, feed, samples
    self.rows, self.validation, self.constants = rows, validation, constants
    self.seeds, self.capacity = tuple(seeds), capacity
    self.config, self.recipe = programs.recipe.config, programs.recipe
    self.steps = samples.steps(rows["train"])
    self.state = state
    self.best = programs.copy((state.params, state.stats))
    self.selection = selections.start(len(self.seeds))
    self.epoch, self.position = 1, 0
    self._cold = True  # nothing is compiled

  @property
  def done(self) -> int:
    """Steps behind it."""
    return (self.epoch - 1) * self.steps + self.position

  @property
  def total(self) -> int:
    """Steps of the whole run, if no seed stops early."""
    return self.config.train.epochs * self.steps

  def events(self) -> Iterator[Called | Epoch]:
    """What happens until the last epoch, or until every seed has stopped."""
    while self.epoch <= self.config.train.epochs and self.selection["active"].any():
      began, phase = time.monotonic(), self.recipe.phase(self.epoch)
      yield from self._train(phase)
      active = self.selection["active"]
      scores, reasons = self._validate(phase)
      values = self._losses(active) | scores
      values |= {"best/epoch": self.selection["epoch"]}
      values |= {"seconds": time.monotonic() - began}
      if not active.all():
        losses = [name for name in values if name.startswith("train/loss")]
        reasons |= dict.fromkeys(losses, "null: that seed stopped early")
      event = Epoch(self.epoch, values, reasons, self._cold)
      if self._cold:
        self._cold = False
        allocator.release_fragments()  # left by the programs of the validation
      self._start_next_epoch()
      yield event

  def predict(self, variables, samples: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Predictions (S, n, *O) of utterances `rows`, all in `samples`."""
    plan = self.samples.in_order(samples)
    found = self.feed.predictions(variables, plan)
    return self.samples.by_utterance(plan, found, rows)

  def bad_steps(self) -> np.ndarray:
    """(S,) the first step of each seed that was not finite, or -1."""
    return meshes.fetch(self.state.tally["bad_step"])

  def tree(self) -> dict[str, PyTree]:
    """All that a checkpoint has to hold beside `epoch` and `position`."""
    best = {"params": self.best[0], "stats": self.best[1]}
    return {"state": self.state, "best": best, "selection": self.selection}

  def template(self) -> dict[str, PyTree]:
    """The shapes of `tree`, and where its arrays belong."""
    sharding = self.programs.by_seed
    on_device = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)
    on_host = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype)
    tree = self.tree()
    device = {name: jax.tree.map(on_device, tree[name]) for name in ("state", "best")}
    return device | {"selection": jax.tree.map(on_host, tree["selection"])}

  def restore(self, tree: Mapping[str, PyTree], epoch: int, position: int) -> None:
    """Stands where `tree` was taken."""
    self.state, self.selection = tree["state"], tree["selection"]
    self.best = (tree["best"]["params"], tree["best"]["stats"])
    self.epoch, self.position = epoch, position

  def _train(self, phase: int) -> Iterator[Called]:
    """The steps that are left of the epoch."""
    parts = self.config.optim.accumulate
    plan = self.samples.epoch(self.rows["train"], self.seeds, self.epoch, parts)
    calls = self.feed.steps(
      self.state,
      plan,
      self.position,
      self.constants,
      phase=phase,
      capacity=self.capacity,
    )
    for self.state, position in calls:
      count, self.position = position - self.position, position
      yield Called(count, position == self.steps)

  def _validate(self, phase: int):
    """Scores of all seeds; the selection takes them in, where the task counts."""
    variables = (self.state.params, self.state.stats)
    found = self.predict(variables, self.rows["valid"], self.rows["scored"])
    scores, reasons = self.validation(found)
    if self.recipe.phases[phase].task:
      active = self.selection["active"]
      self.selection, kept = selections.observe(
        self.selection,
        scores[self.validation.monitor],
        self.epoch,
        self.validation.higher,
        self.config,
      )
      if phase + 1 < len(self.recipe.phases):
        self.selection["active"] = active  # what comes after this phase must train
      self.best = self.programs.keep_best(self.best, variables, kept)
    name = lambda values: {f"valid/{name}": value for name, value in values.items()}
    return name(scores), name(reasons)

  def _losses(self, active: np.ndarray) -> dict[str, np.ndarray]:
    """(S,) averages over the epoch: the task's as `train/loss`, each by its name."""
    tally = jax.tree.map(meshes.fetch, self.state.tally)
    weight = np.maximum(tally["weight"], 1e-12)
    names = {
      name: "train/loss" if name == "task" else f"train/loss/{name}"
      for name in self.recipe.model.card.weights
    }
    average = lambda x: np.where(active, x / weight, np.nan)
    return {names[name]: average(tally["losses"][name]) for name in names}

  def _start_next_epoch(self) -> None:
    """What the host decided goes to the device; a new epoch sums from zero."""
    before, self.epoch, self.position = self.epoch, self.epoch + 1, 0
    phases = [self.recipe.phase(epoch) for epoch in (before, self.epoch)]
    begins = phases[0] < phases[1] < len(self.recipe.phases)
    if begins:
      self.selection = selections.in_next_phase(self.selection)
    place = lambda x: meshes.place(self.programs.mesh, x, self.programs.by_seed.spec)
    zeros = lambda x: np.broadcast_to(np.asarray(x), (len(self.seeds),))
    self.state = self.state.replace(
      active=place(self.selection["active"]),
      lr_scale=place(self.selection["lr_scale"]),
      tally=place(jax.tree.map(zeros, fresh_tally(self.recipe))),
    )
    if begins:
      # The moments of what did not learn are zero, and Adam takes them for old ones: it
      # would begin with several times the learning rate.
      self.state = self.programs.forget_moments(self.state)
