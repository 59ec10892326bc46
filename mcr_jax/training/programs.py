"""The compiled programs of a run: many steps, predictions, and keeping the best.

All seeds of a run share each program. On accelerators they are one batched
computation; on a CPU, where that gains nothing and costs memory, they run one after
another inside it, and a seed that stopped early costs nothing.
"""

import functools

import jax
import jax.numpy as jnp

from mcr_jax.contract import Batch
from mcr_jax.data.batches import assemble
from mcr_jax.data.normalize import standard_scores
from mcr_jax.errors import UserError
from mcr_jax.hosts import mesh as meshes
from mcr_jax.ops.classes import mask_classes
from mcr_jax.training import state as states
from mcr_jax.training import step as steps
from mcr_jax.training.recipe import Recipe


class Programs:
  """Jitted functions over a leading seed axis, for one recipe on one mesh.

  Nothing is traced or compiled until a program is called; runs of the same recipe on
  data of the same shape, such as folds, share what is compiled.
  """

  def __init__(self, recipe: Recipe, mesh):
    """`mesh` is (seed, data)."""
    self.recipe, self.mesh = recipe, mesh
    self.mapped = _mapped(recipe.config.train.seeds_by, mesh)
    self._seed_axis = "seed" if mesh.shape["seed"] > 1 else None
    self.by_seed = meshes.shard(mesh, self._seed_axis)
    everywhere = meshes.shard(mesh)
    jit = functools.partial(jax.jit, compiler_options=compiler_options(mesh))
    keep = dict(donate_argnums=0, out_shardings=self.by_seed)
    self.create = jit(self._create, out_shardings=self.by_seed)
    self.run = jit(self._run, static_argnames=("phase", "bounds"), **keep)
    self.step = jit(self._step, static_argnames="phase", **keep)
    self.step_raw = jit(self._step_raw, static_argnames=("phase", "clip"), **keep)
    self.predict_rows = jit(
      self._predict_rows, static_argnames="bounds", out_shardings=everywhere
    )
    self.predict = jit(self._predict, out_shardings=everywhere)
    self.predict_raw = jit(
      self._predict_raw, static_argnames="clip", out_shardings=everywhere
    )
    self.task_loss = jit(self._task_loss)
    self.copy = jit(_copy, out_shardings=self.by_seed)
    self.keep_best = jit(_keep_best, **keep)
    self.forget_moments = jit(_forget_moments, **keep)

  def _create(self, batch: Batch, seeds, hyper):
    """The states of all seeds (S,) before their first step; hyper: name -> (S,)."""
    one = functools.partial(states.create, self.recipe, batch)
    return jax.vmap(one)(seeds, hyper)

  def _run(self, state, source, rows, start, count, constants, *, phase, bounds):
    """`count` steps from position `start` of rows (S, NB, B); see `step.many`."""
    one = self._update(phase, constants)
    many = lambda state, rows: steps.many(
      one, state, source, rows, start, count, bounds, flat=not self.mapped
    )
    return self._over_seeds(self._active(many), state, rows)

  def _step(self, state, batch, constants, *, phase):
    """One step on a batch with a leading seed axis."""
    one = self._update(phase, constants)
    return self._over_seeds(self._active(one), state, batch)

  def _step_raw(self, state, batch, scale, constants, *, phase, clip):
    """As `_step`, on features that are not normalised yet."""
    return self._step(state, normalised(batch, scale, clip), constants, phase=phase)

  def _predict_rows(self, variables, source, rows, *, bounds):
    return self._predict(variables, Batch(**assemble(source, rows, bounds)))

  def _predict(self, variables, batch):
    """Predictions (S, B, ...) of (params, other collections), without dropout."""
    batch = self._spread(batch)
    model, classes = self.recipe.model, self.recipe.model.spec.classes
    # Predictions are of samples that the model may not remember, whoever they are.
    if "index" in batch.more:
      index = jnp.full_like(batch.more["index"], -1)
      batch = batch.replace(more=batch.more | {"index": index})

    def one(params, stats):
      output = model.apply({"params": params, **stats}, batch, train=False)
      found = output.predictions
      return mask_classes(found, classes) if classes else found

    return self._over_seeds(one, *variables)

  def _predict_raw(self, variables, batch, scale, *, clip):
    """As `_predict`, on features that are not normalised yet."""
    return self._predict(variables, normalised(batch, scale, clip))

  def _task_loss(self, predictions, labels):
    """(S,) mean losses of predictions (S, N, *O), all classes alike."""
    loss = self.recipe.task_loss(None)
    one = lambda values: loss(values, labels, jnp.ones(len(labels))).mean()
    return jax.vmap(one)(predictions)

  def _update(self, phase, constants):
    """(state, batch) of one seed to its next state."""
    update = functools.partial(steps.update, self.recipe, phase, constants)
    flat = not self.mapped
    return lambda state, batch: update(state, self._spread(batch), flat=flat)

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

  def _spread(self, batch: Batch) -> Batch:
    """The rows of a batch of one seed lie along the data axis."""
    if self.mesh.shape["data"] == 1:
      return batch
    sharding = meshes.shard(self.mesh, "data")
    pin = lambda x: jax.lax.with_sharding_constraint(x, sharding)
    return jax.tree.map(pin, batch)


def compiler_options(mesh) -> dict | None:
  """What XLA is told beside its flags.

  On a GPU its search for kernels that hold a softmax or a norm at once (Triton) takes
  ten times as long as all other passes over a step together, and finds a twentieth of
  the launches.
  """
  if mesh.devices.flat[0].platform != "gpu":
    return None
  return {"xla_disable_hlo_passes": "triton-softmax-rewriter"}


def normalised(batch: Batch, scale, clip: float) -> Batch:
  """A batch in standard scores; `scale` is modality -> (mean, std)."""
  scores = {
    m: standard_scores(x, batch.mask[m], *scale[m], clip) for m, x in batch.x.items()
  }
  return batch.replace(x=scores)


def _copy(tree):
  return jax.tree.map(jnp.copy, tree)


def _forget_moments(state):
  """The state with an optimiser that has seen no gradient: zeros, in every part."""
  return state.replace(opt=jax.tree.map(jnp.zeros_like, state.opt))


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
