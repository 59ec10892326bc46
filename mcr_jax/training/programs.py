"""The compiled programs of a run: many steps, predictions, and keeping the best.

All seeds of a run share each program. On accelerators they are one batched
computation; on a CPU, where that gains nothing and costs memory, they run one after
another inside it, and a seed that stopped early costs nothing.
"""

import functools

import jax
import jax.numpy as jnp

from mcr_jax.errors import UserError
from mcr_jax.hosts import mesh as meshes
from mcr_jax.training import state as states
from mcr_jax.training import step as steps


class Programs:
  """Jitted functions over a leading seed axis, for one model on one mesh."""

  def __init__(
    self, model, config, mesh, *, loss="l1", total_steps=1, class_weights=None
  ):
    """Traces and compiles nothing until a program is called.

    Args:
      model: Linen module.
      config: of the run.
      mesh: (seed, data).
      loss: name of the loss, resolved.
      total_steps: of the whole run, for the schedule of the learning rate.
      class_weights: see `losses.per_example`.
    """
    self.model, self.config, self.mesh = model, config, mesh
    self.mapped = _mapped(config.train.seeds_by, mesh)
    self._update = functools.partial(
      steps.update, model, config, loss, class_weights, total_steps
    )
    self._seed_axis = "seed" if mesh.shape["seed"] > 1 else None
    self.by_seed = meshes.shard(mesh, self._seed_axis)
    everywhere = meshes.shard(mesh)
    keep = dict(donate_argnums=0, out_shardings=self.by_seed)
    self.run = jax.jit(self._run, static_argnames="bounds", **keep)
    self.step = jax.jit(self._one, **keep)
    self.predict_rows = jax.jit(
      self._predict_rows, static_argnames="bounds", out_shardings=everywhere
    )
    self.predict = jax.jit(self._predict, out_shardings=everywhere)
    self.copy = jax.jit(_copy, out_shardings=self.by_seed)
    self.keep_best = jax.jit(_keep_best, **keep)

  def create(self, batch, seeds, hyper):
    """The states of all seeds before the first step.

    Args:
      batch: one batch of arrays, for shapes.
      seeds: (S,) integers.
      hyper: name -> (S,) numbers.
    """

    def create(batch, seeds, hyper):
      one = lambda seed, numbers: states.create(
        self.model, self.config, batch, seed, numbers
      )
      return jax.vmap(one)(seeds, hyper)

    program = jax.jit(create, out_shardings=self.by_seed)
    return program(batch, jnp.asarray(seeds, jnp.uint32), hyper)

  def _over_seeds(self, function, *trees):
    """`function` of every seed's slice of `trees`."""
    if self.mapped:
      return jax.lax.map(lambda slices: function(*slices), trees)
    return jax.vmap(function, spmd_axis_name=self._seed_axis)(*trees)

  def _active(self, function):
    """A seed that stopped early stays as it is."""

    def guarded(state, *rest):
      if self.mapped:
        return jax.lax.cond(state.active, function, lambda s, *_: s, state, *rest)
      moved = function(state, *rest)
      return jax.tree.map(lambda a, b: jnp.where(state.active, a, b), moved, state)

    return guarded

  def _run(self, state, data, rows, start, count, bounds):
    def many(state, rows):
      step = lambda state, batch: self._update(state, self._spread(batch))
      return steps.run(step, state, data, rows, start, count, dict(bounds))

    return self._over_seeds(self._active(many), state, rows)

  def _one(self, state, batch):
    step = lambda state, batch: self._update(state, self._spread(batch))
    return self._over_seeds(self._active(step), state, batch)

  def _predict_rows(self, variables, data, rows, bounds):
    return self._predict(variables, steps.gather(data, rows, dict(bounds)))

  def _predict(self, variables, batch):
    batch = self._spread(batch)

    def one(params, stats):
      return steps.predict(self.model, params, stats, batch).predictions

    return self._over_seeds(one, *variables)

  def _spread(self, batch):
    """The rows of a batch of one seed lie along the data axis."""
    if self.mesh.shape["data"] == 1:
      return batch
    sharding = meshes.shard(self.mesh, "data")
    pin = lambda x: jax.lax.with_sharding_constraint(x, sharding)
    return jax.tree.map(pin, dict(batch))


def _copy(tree):
  return jax.tree.map(jnp.copy, tree)


def _keep_best(best, variables, improved):
  """Each seed's own best variables; `improved` is (S,)."""

  def choose(old, new):
    return jnp.where(improved.reshape(-1, *[1] * (old.ndim - 1)), new, old)

  return jax.tree.map(choose, best, variables)


def _mapped(choice: str, mesh) -> bool:
  if choice == "map" and mesh.shape["seed"] > 1:
    raise UserError(
      f"train.seeds_by='map' runs seeds one after another; mesh.seed="
      f"{mesh.shape['seed']} wants them side by side. Use 'vmap' or mesh.seed=1."
    )
  if choice == "auto":
    return mesh.shape["seed"] == 1 and mesh.devices.flat[0].platform == "cpu"
  return choice == "map"
