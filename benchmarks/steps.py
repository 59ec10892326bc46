"""A training step as the trainer compiles it, with all that it takes as arguments."""

import dataclasses
import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

from benchmarks import shapes
from mcr_jax import config, flops
from mcr_jax.contract import Batch, Model, Spec
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs import inputs
from mcr_jax.training.programs import Programs
from mcr_jax.training.recipe import Recipe
from mcr_jax.training.step import Constants

REAL = {"text": 16, "vision": 80, "audio": 64}
MCR = dict(name="mcr", width=40, heads=10, num_layers=3)
MULT = dict(name="mult", width=30, heads=5, layers=5)
# name: (fields, longest, batch size); without lengths, utterance vectors
CASES = {
  "mcr aligned full": (MCR, shapes.ALIGNED, 64),
  "mcr unaligned real": (MCR | {"remat": True}, REAL, 16),
  "mcr unaligned full": (MCR | {"remat": True}, shapes.UNALIGNED, 16),
  "mcr unaligned full 64": (MCR | {"remat": True}, shapes.UNALIGNED, 64),
  "mult aligned full": (MULT, shapes.ALIGNED, 64),
  "mult unaligned real": (MULT, REAL, 16),
  "mia_net 18": (dict(name="mia_net"), None, 18),
  "mia_net 512": (dict(name="mia_net"), None, 512),
}
CONSTANTS = Constants(np.int32(1000))


class Work(NamedTuple):
  """What a step has to do, whoever computes it.

  Attributes:
    weights: numbers of parameters of a seed.
    flops: of matrix products and convolutions, forward and backward.
    bytes: parameters, moments and gradients and the inputs, each moved once.
    exponentials: of every softmax.
  """

  weights: int
  flops: float
  bytes: float
  exponentials: float

  def bounds(self, most) -> dict[str, float]:
    """Seconds that each alone takes on a machine of some `peaks.Peaks`."""
    names = ("flops", "bytes", "exponentials")
    return {name: getattr(self, name) / getattr(most, name) for name in names}


@dataclasses.dataclass
class Step:
  """A model that is trained, at its first step.

  Attributes:
    programs: of its recipe.
    state: of all seeds.
    batch: of one seed, on the host.
  """

  programs: Programs
  state: Any
  batch: Batch

  @classmethod
  def of(cls, fields, batch: Batch, *, seeds: int = 1, mesh=None) -> "Step":
    """A step on random features, of a learning rate of 1e-3 and without clipping.

    Args:
      fields: of config.model.
      batch: of one seed, on the host.
      seeds: how many.
      mesh: one device where not given.
    """
    programs, arguments = _created(fields, batch, seeds, mesh)
    return cls(programs, programs.create(*arguments), batch)

  @classmethod
  def case(cls, name: str, *, seeds: int = 1, mesh=None) -> "Step":
    """One of `CASES`."""
    fields, longest, size = CASES[name]
    return cls.of(fields, batch_of(longest, size), seeds=seeds, mesh=mesh)

  @property
  def model(self) -> Model:
    """That is trained."""
    return self.programs.recipe.model

  @property
  def variables(self) -> dict[str, Any]:
    """Of the first seed, as the model takes them."""
    params, stats = jax.tree.map(lambda x: x[0], (self.state.params, self.state.stats))
    return {"params": params, **stats}

  @functools.cached_property
  def placed(self) -> Batch:
    """The batch on the devices, the same for every seed."""
    return self.place(self.batch)

  def place(self, batch: Batch) -> Batch:
    """Another batch on the devices."""
    mesh = self.programs.mesh
    spread = lambda x: np.broadcast_to(x, (len(self.state.step), *x.shape))
    spec = P("seed" if mesh.shape["seed"] > 1 else None, "data")
    return meshes.place(mesh, jax.tree.map(spread, batch), spec)

  def lower(self) -> jax.stages.Lowered:
    """The traced program."""
    program = self.programs.step
    return program.lower(self.state, self.placed, CONSTANTS, phase=0)

  def take(self, program=None, batch: Batch | None = None) -> None:
    """One step, and waits for it.

    Args:
      program: compiled from `lower`; the trainer's own where not given.
      batch: on the devices.
    """
    self.send(program, batch)
    jax.block_until_ready(self.state)

  def send(self, program=None, batch: Batch | None = None) -> None:
    """As `take`, without waiting."""
    program = program or functools.partial(self.programs.step, phase=0)
    self.state = program(self.state, batch or self.placed, CONSTANTS)

  def work(self) -> Work:
    """What the step of all seeds has to do."""
    seeds, counts = len(self.state.step), count(self.model, self.variables, self.batch)
    return counts._replace(
      flops=seeds * counts.flops,
      bytes=seeds * counts.bytes,
      exponentials=seeds * counts.exponentials,
    )


def described(fields, batch: Batch, *, seeds: int, mesh) -> tuple[Programs, Any]:
  """The programs of `Step.of` and the shapes of its state, computing nothing."""
  programs, arguments = _created(fields, batch, seeds, mesh)
  place = lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=programs.by_seed)
  state = jax.eval_shape(programs.create, *arguments)
  return programs, jax.tree.map(place, state)


def _created(fields, batch, seeds, mesh):
  """The programs of a config, and of what they create a state."""
  settings = config.complete(
    {"seeds": tuple(range(seeds)), "model": fields, "optim": {"clip": 0.0}}
  )
  model = inputs.build_model(settings, spec_of(batch))
  recipe = Recipe.of(model, settings)
  programs = Programs(recipe, mesh or meshes.make(1, 1))
  numbers = recipe.numbers() | {"optim.lr": 1e-3}
  numbers = {k: np.full(seeds, v, np.float32) for k, v in numbers.items()}
  few = jax.tree.map(lambda x: x[:2], batch)
  return programs, (few, np.arange(seeds, dtype=np.uint32), numbers)


def spec_of(batch: Batch) -> Spec:
  """The spec of data that has the shapes of a batch."""
  lengths = {m: x.shape[1] for m, x in batch.x.items()}
  return Spec(lengths, {m: x.shape[2] for m, x in batch.x.items()})


def batch_of(longest: dict[str, int] | None, size: int) -> Batch:
  """Every step of it is real; utterance vectors where there are no lengths."""
  made = shapes.vectors(size) if longest is None else shapes.batch(size, longest)
  return Batch.of(made)


def count(model: Model, variables, batch: Batch) -> Work:
  """What a step of one seed has to do."""
  weights = flops.parameters(variables["params"])
  read = sum(x.size for x in batch.x.values())
  lengths = {m: x.shape[1] for m, x in batch.x.items()}
  return Work(
    weights,
    flops.count_training(model, variables, batch).flops,
    4 * (7 * weights + read),
    exponentials(model, len(batch.weight), lengths),
  )


def exponentials(model: Model, size: int, steps: dict[str, int]) -> int:
  """Of a training step: each softmax once forward and once in the backward pass."""
  total, names = sum(steps.values()), list(steps)
  cross = sum(steps[t] * (total - steps[t]) for t in names)
  itself = sum(n * n for n in steps.values())
  kind = type(model).__module__.rsplit(".", 1)[-1]
  if kind == "mcr":
    layer = model.cmu_heads * cross + model.heads * (cross + itself)
    return 2 * size * (model.num_layers * layer + model.heads * total**2)
  if kind == "mult":
    own = max(3, model.layers)
    return 2 * size * model.heads * (model.layers * cross + own * itself)
  # Softmax of a d_a x d_m similarity for each auxiliary.
  return 2 * size * 1024 * (768 + 256)
