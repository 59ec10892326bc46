"""How long runs take here: a short measurement, and counts of what they do.

A training step is priced by its matrix products and by the equations that its loops
over time run one after another, three times a forward pass each, and by the parameters
that its update goes through. What each of these costs is measured on small programs.
Early stopping and short sequences make a run cheaper than this.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from mcr_jax import flops
from mcr_jax.contract import Spec
from mcr_jax.papers.jobs import Job
from mcr_jax.runs import inputs, progress
from mcr_jax.sweeps.points import Point

BACKWARD = 3  # a step of training, in forward passes
REPEATS = 5
MANY = 1 << 22  # parameters
SMALL = dict(batch=32, steps=50, width=64)


@dataclasses.dataclass(frozen=True)
class Machine:
  """What this machine needs.

  Attributes:
    operation: seconds of one floating-point operation of a small product.
    equation: seconds of one equation inside a loop over time.
    parameter: seconds of the update of one parameter by Adam.
  """

  operation: float
  equation: float
  parameter: float


@dataclasses.dataclass(frozen=True)
class Work:
  """What a forward pass does.

  Attributes:
    operations: of products, a sample.
    equations: that loops over time run one after another, a batch.
    parameters: of the model.
  """

  operations: float
  equations: int
  parameters: int = 0

  def seconds(self, machine: Machine, batch: int) -> float:
    """Of one batch."""
    products = self.operations * batch * machine.operation
    return products + self.equations * machine.equation


@functools.cache
def measure() -> Machine:
  """Times three small programs; some seconds, most of it compiling."""
  batch, steps, width = SMALL.values()
  x = jnp.ones((batch, steps, width))
  w = jnp.full((width, 4 * width), 1e-2)

  def products(w, x):
    for _ in range(4):
      x = jax.nn.relu(x @ w) @ w.T
      x = x - x.mean(-1, keepdims=True)
    return x.sum()

  def loop(w, x):
    def cell(carry, x):
      i, f, o, g = jnp.split((x + carry[0]) @ w, 4, axis=-1)
      c = jax.nn.sigmoid(f) * carry[1] + jax.nn.sigmoid(i) * jnp.tanh(g)
      return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    zeros = jnp.zeros((batch, width))
    (h, _), _ = jax.lax.scan(cell, (zeros, zeros), x.swapaxes(0, 1))
    return h.sum()

  found = []
  for function in (products, loop):
    jaxpr = jax.make_jaxpr(function)(w, x).jaxpr
    seconds = _time(jax.jit(jax.value_and_grad(function)), w, x) / BACKWARD
    found.append((seconds, flops.count(function, w, x).flops, _equations(jaxpr)))
  (wide, many, _), (long, few, equations) = found
  operation = wide / many
  rest = max(long - few * operation, 0.1 * long)
  return Machine(operation, rest / equations, _update())


def work_of(config: ConfigDict, spec: Spec) -> Work:
  """What a forward pass of a config's model does, traced on shapes alone."""
  model = inputs.build_model(config, spec)
  if hasattr(model, "attention"):
    model = model.clone(attention="literal")
  batch = spec.example(2)
  variables = jax.eval_shape(model.init, jax.random.key(0), batch)
  forward = lambda v, b: model.apply(v, b).predictions
  jaxpr = jax.make_jaxpr(forward)(variables, batch).jaxpr
  operations = flops.count(forward, variables, batch).flops / 2
  count = flops.parameters(variables["params"])
  return Work(operations, _equations(jaxpr), count)


def training(
  config: ConfigDict, work: Work, samples: Mapping[str, int], machine: Machine
) -> float:
  """Seconds of a whole training of all seeds, without what is compiled.

  Args:
    config: of the run.
    work: of its model.
    samples: by split; samples of the model, such as dialogues.
    machine: measured.
  """
  train = config.train
  steps = -(-samples["train"] // train.batch_size)
  epoch = BACKWARD * steps * work.seconds(machine, train.batch_size)
  epoch += steps * work.parameters * machine.parameter
  size = train.eval_batch_size or train.batch_size
  epoch += -(-samples["valid"] // size) * work.seconds(machine, size)
  return len(config.seeds) * train.epochs * epoch


def of_jobs(jobs: Sequence[Job], draws: int = 0) -> dict[str, float]:
  """Key -> seconds of the training of every job that trains, without compiling.

  Args:
    jobs: of a plan.
    draws: of a search, each with one seed, before the training with all.
  """
  machine, found = measure(), {}
  for job in (job for job in jobs if job.config is not None):
    work = work_of(job.config, job.spec)
    seconds = training(job.config, work, job.samples, machine)
    found[job.key] = seconds * (1 + draws / len(job.config.seeds))
  return found


def heading(weights: Mapping[str, float]) -> Callable[[Sequence[Sequence[Point]]], str]:
  """Says before each program how long what is left will take, by what was needed.

  Args:
    weights: key of a job -> how much there is to do, in any unit.
  """
  began, first = time.monotonic(), {}

  def said(parts: Sequence[Sequence[Point]]) -> str:
    left = sum(weights.get(point.name, 1.0) for part in parts for point in part)
    first.setdefault("left", left)
    if (behind := first["left"] - left) <= 0:
      later = "the time that is left is known after the first program"
      return later if len(parts) > 1 else ""
    seconds = (time.monotonic() - began) / behind * left
    return f"about {progress.duration(seconds)} left for all of these"

  return said


def _update() -> float:
  """Seconds of a parameter's update, of matrices that no cache holds."""
  params = [jnp.ones((MANY // 4,)) for _ in range(4)]
  adam = optax.adam(1e-3)

  def step(params, state, gradients):
    updates, state = adam.update(gradients, state)
    return optax.apply_updates(params, updates), state

  return _time(jax.jit(step), params, adam.init(params), params) / MANY


def _time(program: Callable, *arguments: Any) -> float:
  """Seconds of the fastest of some calls."""
  jax.block_until_ready(program(*arguments))
  found = []
  for _ in range(REPEATS):
    began = time.perf_counter()
    jax.block_until_ready(program(*arguments))
    found.append(time.perf_counter() - began)
  return float(np.min(found))


def _equations(jaxpr, times: int = 0) -> int:
  """Equations that loops run one after another; those outside of loops count none."""
  count = times * len(jaxpr.eqns)
  for eqn in jaxpr.eqns:
    inside = times
    if eqn.primitive.name == "scan":
      inside = max(times, 1) * eqn.params["length"]
    for value in eqn.params.values():
      for part in value if isinstance(value, tuple | list) else (value,):
        inner = getattr(part, "jaxpr", part)
        if hasattr(inner, "eqns"):
          count += _equations(inner, inside)
  return count
