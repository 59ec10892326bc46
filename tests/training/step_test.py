"""One step: what counts, what moves, by how much, and what goes missing."""

import functools
import re
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcr_jax.contract import Batch, Card, Model, Output, Spec
from mcr_jax.errors import UserError
from mcr_jax.field import rate as dropout_rate
from mcr_jax.layers.dropout import Dropout
from mcr_jax.training import objective as objectives
from mcr_jax.training import optim
from mcr_jax.training import state as states
from mcr_jax.training import step as steps
from mcr_jax.training.missing import drop_modalities
from mcr_jax.training.recipe import Recipe
from mcr_jax.training.step import Constants
from tests.training import tiny

TOTAL = 20


class Small(Model):
  """The sums of all steps, two layers, and dropout between them."""

  card = Card("small")
  dropout: Any = dropout_rate()

  @nn.compact
  def __call__(self, batch, *, train=False):
    real = lambda m: batch.x[m] * batch.mask[m][..., None]
    x = jnp.concatenate([real(m).sum(1) for m in self.modalities], -1)
    x = nn.relu(nn.Dense(5, name="hidden")(x))
    x = Dropout(self.dropout)(x, train=train)
    return Output(nn.Dense(1, name="output")(x))


class Rich(Small):
  """The same with losses of its own, a head a modality, noise and a count of steps."""

  card = Card("rich", losses={"size": 0.5, "spread": 0.25}, auxiliary="heads")

  @nn.compact
  def __call__(self, batch, *, train=False):
    output = super().__call__(batch, train=train)
    calls = self.variable("memory", "calls", jnp.zeros, ())
    heads = {"text": nn.Dense(1, name="text")(batch.x["text"][:, 0])}
    if not train:
      return output
    calls.value += 1
    noise = jax.random.normal(self.make_rng("noise"), ())
    size = jnp.square(output.predictions[:, 0])
    return Output(
      output.predictions,
      {"size": size, "spread": jnp.abs(size).max()},
      heads,
      {"noise": noise},
    )


class Silent(Small):
  """What states a loss that it does not always have."""

  card = Card("silent", losses={"size": 1.0})


LENGTHS = {"text": 4, "audio": 7}
SPEC = Spec(LENGTHS, dict.fromkeys(LENGTHS, 3))


def make_batch(rows=8, seed=0):
  random, x, mask = np.random.default_rng(seed), {}, {}
  for name, length in LENGTHS.items():
    x[name] = random.normal(size=(rows, length, 3)).astype(np.float32)
    mask[name] = random.random((rows, length)) < 0.8
    mask[name][:, 0] = True
  label = random.normal(size=rows).astype(np.float32)
  return jax.tree.map(jnp.asarray, Batch(x, mask, np.ones(rows, np.float32), label))


def begin(hyper=None, dropout=0.0, kind=Small, phase=0, weights=None, **groups):
  """A state before its first step, and the function that takes one."""
  config = tiny.config("unread.npz", **groups)
  weights = kind.card.weights | (weights or {})
  config = config.copy_and_resolve_references().unlock()
  config.loss.name, config.loss.weights = "l2", weights
  recipe = Recipe.of(kind(SPEC, dropout), config)
  hyper = {name: jnp.float32(value) for name, value in (hyper or {}).items()}
  state = states.create(recipe, make_batch(), 3, hyper)
  constants = Constants(jnp.int32(TOTAL))
  return state, jax.jit(functools.partial(steps.update, recipe, phase, constants))


def moved(before, after):
  return jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), before, after)


def assert_near(tree, other, **tolerance):
  tolerance = {"rtol": 1e-5, "atol": 1e-7} | tolerance
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), tree, other)


def test_rows_of_weight_0_do_not_count():
  state, update = begin()
  batch = make_batch()
  clean = batch.replace(weight=batch.weight.at[5:].set(0))
  junk = {name: x.at[5:].set(1e3) for name, x in clean.x.items()}
  dirty = clean.replace(x=junk, label=clean.label.at[5:].set(jnp.nan))
  fewer = jax.tree.map(lambda x: x[:5], clean)
  expected = update(state, clean)
  assert_near(update(state, dirty).params, expected.params)
  assert_near(update(state, fewer).params, expected.params)
  assert float(expected.tally["weight"]) == 5 and int(expected.tally["bad_step"]) == -1


@pytest.mark.parametrize("parts", [2, 4])
def test_accumulated_parts_are_the_whole_batch(parts):
  # A larger epsilon, because Adam makes whole steps of rounding noise.
  fields = {"eps": 1e-3}
  state, update = begin(optim=fields)
  batch = make_batch()
  batch = batch.replace(weight=batch.weight.at[6:].set(0))
  whole = update(state, batch)
  _, in_parts = begin(optim=fields | {"accumulate": parts})
  found = in_parts(state, batch)
  assert_near(found.params, whole.params)
  assert_near(found.tally, whole.tally)


def test_a_step_is_as_long_as_the_schedule_says():
  batch, steady = make_batch(), {"schedule": "constant"}
  state, update = begin(optim=steady)
  whole = moved(state.params, update(state, batch).params)
  _, warming = begin(optim=steady | {"warmup_steps": 4})
  part = moved(state.params, warming(state, batch).params)
  # Differences of parameters near 1 have few digits.
  assert_near(part, jax.tree.map(lambda x: x / 4, whole), atol=1e-6)
  part = moved(state.params, update(state.replace(lr_scale=0.1), batch).params)
  assert_near(part, jax.tree.map(lambda x: x / 10, whole), atol=1e-6)


def test_warm_up_is_linear_and_cosine_ends_at_zero():
  groups = {"schedule": "cosine", "warmup_steps": 4}
  config = tiny.config("unread.npz", optim=groups).optim
  factors = [float(optim.schedule(config, jnp.int32(i), 20)) for i in range(21)]
  for i in range(20):
    warm = min((i + 1) / 4, 1)
    assert factors[i] == pytest.approx(
      warm * 0.5 * (1 + np.cos(np.pi * max(i - 4, 0) / 16)), abs=1e-6
    )
  assert factors[20] == pytest.approx(0, abs=1e-6)
  config = tiny.config("unread.npz", optim={"warmup_steps": 0}).optim
  assert float(optim.schedule(config, jnp.int32(7), 20)) == 1


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_numbers_of_a_sweep_are_numbers_of_the_config(name):
  batch = make_batch()
  values = {
    "optim.lr": 0.003,
    "optim.weight_decay": 0.2,
    "data.modality_dropout": 0.4,
    "model.dropout": 0.3,
  }
  fields = {"name": name, "lr": 0.003, "weight_decay": 0.2}
  state, update = begin(optim=fields, data={"modality_dropout": 0.4}, dropout=0.3)
  plain, plain_update = begin(values, optim={"name": name}, dropout=0.1)
  for _ in range(2):
    state, plain = update(state, batch), plain_update(plain, batch)
  assert_near(plain.params, state.params)
  assert_near(plain.tally, state.tally)


def test_what_is_no_number_cannot_be_swept():
  recipe = Recipe.of(Rich(SPEC), tiny.config("unread.npz"))
  recipe.check_numbers(
    ["optim.lr", "loss.gamma", "loss.weights.size", "loss.weights.task"]
    + ["model.dropout", "loss.weights.heads"]
  )
  for name in ("optim.b1", "model.width", "loss.weights.width", "train.epochs"):
    with pytest.raises(UserError, match=re.escape(repr(name))):
      recipe.check_numbers([name])


def test_decay_shrinks_kernels_and_leaves_biases():
  fields = {"name": "adamw", "weight_decay": 0.5, "lr": 0.1}
  state, update = begin(optim=fields)
  state = state.replace(params=jax.tree.map(jnp.ones_like, state.params))
  batch = make_batch()
  batch = batch.replace(weight=0 * batch.weight)  # no gradient
  for layer in update(state, batch).params.values():
    np.testing.assert_allclose(layer["kernel"], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(layer["bias"], 1)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_steps_are_those_of_adam_with_the_numbers_of_the_config(name):
  """`adam` decays through the gradient, `adamw` beside it."""
  numbers = {"b1": 0.7, "b2": 0.9, "eps": 0.1}
  fields = {"name": name, "lr": 0.05, "weight_decay": 0.3, "clip": 0.0, **numbers}
  state, update = begin(optim=fields)
  params, model = state.params, Small(SPEC)
  kernels = {layer: {"kernel": True, "bias": False} for layer in params}
  oracle = optax.adam(0.05, **numbers)
  if name == "adamw":
    oracle = optax.adamw(0.05, **numbers, weight_decay=0.3, mask=kernels)
  opt = oracle.init(params)

  def loss(params, batch):
    errors = model.apply({"params": params}, batch).predictions[:, 0] - batch.label
    return jnp.square(errors).mean()

  for seed in range(3):
    batch = make_batch(seed=seed)
    gradient = jax.grad(loss)(params, batch)
    if name == "adam":
      for layer in gradient:
        gradient[layer]["kernel"] += 0.3 * params[layer]["kernel"]
    changes, opt = oracle.update(gradient, opt, params)
    params = optax.apply_updates(params, changes)
    state = update(state, batch)
    assert_near(state.params, params, rtol=1e-4, atol=1e-6)


def test_a_gradient_that_is_too_long_is_cut_to_the_clip():
  # So large an epsilon makes Adam's step the gradient itself.
  slow, batch = {"eps": 1e6, "lr": 1e6}, make_batch()

  def change(clip, by="norm"):
    state, update = begin(optim=slow | {"clip": clip, "clip_by": by})
    return moved(state.params, update(state, batch).params)

  whole = change(0.0)
  norm = float(optax.tree.norm(whole))
  near = {"rtol": 1e-3, "atol": 1e-5 * norm}
  assert_near(change(norm / 4), jax.tree.map(lambda x: x / 4, whole), **near)
  assert_near(change(norm * 2), whole, **near)
  largest = max(np.abs(x).max() for x in jax.tree.leaves(whole))
  cut = jax.tree.map(lambda x: np.clip(x, -largest / 4, largest / 4), whole)
  assert_near(change(float(largest / 4), "value"), cut, **near)


def test_training_the_head_moves_the_head_alone():
  fields = {"name": "adamw", "weight_decay": 0.5}
  state, update = begin(optim=fields, train={"only": "head"})
  change = moved(state.params, update(state, make_batch()).params)
  assert np.abs(change["output"]["kernel"]).min() > 0
  jax.tree.map(
    lambda x: np.testing.assert_array_equal(x, 0),
    {name: layer for name, layer in change.items() if name != "output"},
  )


def test_the_first_step_that_is_not_finite_is_noted():
  state, update = begin()
  batch = make_batch()
  state = update(state, batch)
  assert int(state.tally["bad_step"]) == -1
  bad = batch.replace(label=batch.label.at[2].set(jnp.nan))
  state = update(update(state, bad), batch)
  assert int(state.tally["bad_step"]) == 1


def test_a_gradient_that_is_not_finite_is_noted_too():
  state, update = begin()
  batch = make_batch()
  huge = batch.replace(x=batch.x | {"text": 1e18 * batch.x["text"]})
  huge = update(state, huge)
  assert np.isfinite(huge.tally["losses"]["task"]) and int(huge.tally["bad_step"]) == 0


def bare(masks):
  """A batch of masks alone."""
  rows = len(next(iter(masks.values())))
  return Batch({m: None for m in masks}, masks, jnp.ones(rows))


def test_no_sample_loses_all_modalities():
  random = np.random.default_rng(0)
  present = random.random((4000, 3)) < 0.7
  names = ("audio", "text", "vision")
  batch = bare(
    {m: jnp.asarray(np.repeat(present[:, i, None], 2, 1)) for i, m in enumerate(names)}
  )
  for rate in (0.3, 1.0):
    found = drop_modalities(batch, rate, jnp.uint32(5))
    kept = np.stack([found.mask[m].all(1) for m in names], 1)
    assert not (kept & ~present).any()
    np.testing.assert_array_equal(kept.any(1), present.any(1))
    if rate == 1:
      assert (kept.sum(1) <= 1).all()
      # No modality is the favourite.
      full = kept[present.all(1)].mean(0)
      np.testing.assert_allclose(full, 1 / 3, atol=0.04)
    else:
      # Of three, at least one is lost but in 0.7 ** 3 of the cases.
      whole = (kept == present)[present.all(1)].all(1).mean()
      assert whole == pytest.approx(0.7**3, abs=0.04)


def test_what_is_lost_depends_on_the_place_in_the_batch_alone():
  masks = {"text": jnp.ones((6, 4), bool), "audio": jnp.ones((6, 2), bool)}
  longer = {name: jnp.ones((9, 7), bool) for name in reversed(masks)}
  one = drop_modalities(bare(masks), 0.5, jnp.uint32(1)).mask
  two = drop_modalities(bare(longer), 0.5, jnp.uint32(1)).mask
  other = drop_modalities(bare(longer), 0.5, jnp.uint32(2)).mask
  for name in masks:
    np.testing.assert_array_equal(one[name][:, 0], two[name][:6, 0])
  assert any((two[name] != other[name]).any() for name in masks)


def test_every_turn_of_a_dialogue_loses_its_own():
  masks = {m: jnp.ones((40, 30), bool) for m in ("text", "audio")}
  batch = bare(masks).replace(weight=jnp.ones((40, 30)))
  found = drop_modalities(batch, 0.4, jnp.uint32(3)).mask
  lost = ~np.asarray(found["text"])
  assert 0.15 < lost.mean() < 0.45 and 0 < lost[:, 0].mean() < 1
  assert 0 < lost[0].mean() < 1
  assert (found["text"] | found["audio"]).all()


def test_losses_are_mixed_by_their_weights_and_summed_one_by_one():
  """Against the mean written out, from the gradient of a plain step."""
  batch = make_batch()
  batch = batch.replace(weight=batch.weight.at[6:].set(0))
  numbers = {"eps": 1e6, "lr": 1e6, "clip": 0.0}  # Adam's step is the gradient
  weights = {"task": 2.0, "size": 0.3, "spread": 0.7, "heads": 0.9}
  state, update = begin(kind=Rich, optim=numbers, weights=weights)
  model = Rich(SPEC)

  def parts(params):
    output, _ = model.apply(
      {"params": params, **state.stats},
      batch,
      train=True,
      rngs={"noise": jax.random.key(0)},
      mutable=["memory"],
    )
    error = lambda y: jnp.square(y[:6, 0] - batch.label[:6]).mean()
    size = jnp.square(output.predictions[:, 0])
    return {
      "task": error(output.predictions),
      "size": size[:6].mean(),
      "spread": size.max(),
      "heads": error(output.auxiliary["text"]),
    }

  mixed = lambda params: sum(weights[k] * v for k, v in parts(params).items())
  found = update(state, batch)
  expected = jax.tree.map(lambda g: -g, jax.grad(mixed)(state.params))
  assert_near(moved(state.params, found.params), expected, rtol=1e-3, atol=1e-4)
  sums = {k: v / found.tally["weight"] for k, v in found.tally["losses"].items()}
  assert_near(sums, parts(state.params))
  assert float(found.stats["memory"]["calls"]) == 1


def test_a_head_learns_from_the_labels_of_its_modality():
  batch = make_batch()
  other = batch.replace(more={"label_text": batch.label + 1})
  state, update = begin(kind=Rich)
  one, two = (update(state, b).tally["losses"] for b in (batch, other))
  assert one["task"] == two["task"] and one["heads"] != two["heads"]


def test_the_head_of_a_missing_modality_does_not_count():
  batch = make_batch()
  lacks = batch.mask["text"].at[0].set(False)
  batch = batch.replace(mask={**batch.mask, "text": lacks})
  state, update = begin(kind=Rich)
  other = batch.replace(more={"label_text": batch.label.at[0].set(99.0)})
  one, two = (update(state, b) for b in (batch, other))
  assert_near(one.tally, two.tally)
  assert_near(one.params, two.params)
  there = batch.replace(mask={**batch.mask, "text": lacks.at[0].set(True)})
  assert update(state, there).tally["losses"]["heads"] != one.tally["losses"]["heads"]


def test_a_phase_trains_its_parameters_with_its_losses():
  phases = ({"epochs": 1, "trainable": ("text/.*",), "task": False},)
  groups = {"kind": Rich, "train": {"phases": phases, "epochs": 3}}
  batch = make_batch()
  state, update = begin(**groups)
  first = update(state, batch)
  change = moved(state.params, first.params)
  assert np.abs(change["text"]["kernel"]).min() > 0
  assert not np.abs(change["output"]["kernel"]).any()
  other = batch.replace(label=batch.label + 100, more={"label_text": batch.label})
  same = update(state, batch.replace(more={"label_text": batch.label}))
  # The task loss is summed, and moves nothing.
  assert_near(update(state, other).params, same.params)
  assert update(state, other).tally["losses"]["task"] > first.tally["losses"]["task"]
  _, last = begin(phase=1, **groups)
  change = moved(first.params, last(first, batch).params)
  assert all(np.abs(x["kernel"]).max() > 0 for x in change.values())


def test_a_multiplier_scales_the_steps_of_what_it_names():
  batch = make_batch()
  state, update = begin()
  whole = moved(state.params, update(state, batch).params)
  rules = (("hidden/kernel", 0.25), ("hidden/.*", 0.0))
  _, update = begin(optim={"multipliers": rules})
  part = moved(state.params, update(state, batch).params)
  assert_near(part["output"], whole["output"])
  assert_near(part["hidden"]["kernel"], whole["hidden"]["kernel"] / 4, atol=1e-6)
  assert not part["hidden"]["bias"].any()


def test_a_phase_that_trains_nothing_is_refused():
  phases = ({"epochs": 1, "trainable": ("absent/.*",)},)
  with pytest.raises(UserError, match=re.escape("absent/.*")):
    state, update = begin(train={"phases": phases})
    update(state, make_batch())


@pytest.mark.parametrize(
  "groups",
  [
    {"train": {"phases": ({"epochs": 1, "trainable": ("absent/.*", ".*")},)}},
    {"optim": {"multipliers": (("absent/.*", 0.5),)}},
  ],
)
def test_a_pattern_that_no_parameter_matches_is_refused(groups):
  recipe = Recipe.of(Small(SPEC), tiny.config("unread.npz", **groups))
  with pytest.raises(UserError, match=re.escape("absent/.*")):
    recipe.check_patterns({"hidden": {"kernel": 0}})
  recipe.check_patterns({"absent": {"kernel": 0}})


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (lambda o: o.predictions, "Output"),
    (lambda o: o.replace(predictions=o.predictions[:, 0]), "predictions"),
    (lambda o: o.replace(losses={"sise": 1.0}), "'sise'"),
    (lambda o: o.replace(losses={"size": np.zeros(99)}), "'size'.*99"),
    (lambda o: o.replace(auxiliary={"text": o.predictions[:1]}), "'text'"),
  ],
)
def test_an_output_that_is_not_of_the_contract_is_refused(change, words):
  batch = make_batch()
  output, model = Output(np.zeros((8, 1)), {"size": np.zeros(8)}), Rich(SPEC)
  objectives.check(model, output, batch)
  with pytest.raises(UserError, match=words):
    objectives.check(model, change(output), batch)


def test_a_phase_that_minimises_nothing_is_refused():
  groups = {"train": {"phases": ({"epochs": 1, "task": False},), "epochs": 2}}
  with pytest.raises(UserError, match="task=False"):
    begin(**groups)
  state, update = begin(kind=Silent, **groups)  # names losses, and makes none
  with pytest.raises(UserError, match="task=False"):
    update(state, make_batch())


def test_phases_longer_than_the_run_are_refused():
  with pytest.raises(UserError, match="5"):
    begin(train={"phases": ({"epochs": 5},), "epochs": 3})
