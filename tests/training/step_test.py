"""One step: what counts, what moves, by how much, and what goes missing."""

import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mcr_jax import contract
from mcr_jax.errors import UserError
from mcr_jax.layers.dropout import Dropout
from mcr_jax.training import optim
from mcr_jax.training import state as states
from mcr_jax.training import step as steps
from mcr_jax.training.missing import drop_modalities
from tests.training import tiny

TOTAL = 20


class Small(contract.Model):
  """The sums of all steps, two layers, and dropout between them."""

  card = contract.Card("Small")

  dropout: Any = 0.0

  @nn.compact
  def __call__(self, batch, *, train=False):
    real = lambda m: batch.x[m] * batch.mask[m][..., None]
    x = jnp.concatenate([real(m).sum(1) for m in self.modalities], -1)
    x = nn.relu(nn.Dense(5, name="hidden")(x))
    x = Dropout(self.dropout)(x, train=train)
    return contract.Output(nn.Dense(1, name="output")(x))


LENGTHS = (("text", 4), ("audio", 7))
SPEC = contract.Spec(dict(LENGTHS))


def make_batch(rows=8, seed=0):
  random, batch = np.random.default_rng(seed), {"weight": np.ones(rows, np.float32)}
  for name, steps_ in LENGTHS:
    batch[name] = random.normal(size=(rows, steps_, 3)).astype(np.float32)
    batch[f"{name}_mask"] = random.random((rows, steps_)) < 0.8
    batch[f"{name}_mask"][:, 0] = True
  batch["label"] = random.normal(size=rows).astype(np.float32)
  return {name: jnp.asarray(array) for name, array in batch.items()}


def begin(hyper=None, dropout=0.0, **groups):
  """A state before its first step, and the function that takes one."""
  config = tiny.config("unread.npz", **groups)
  model = Small(SPEC, dropout)
  hyper = {name: jnp.float32(value) for name, value in (hyper or {}).items()}
  state = states.create(model, config, make_batch(), 3, hyper)
  update = functools.partial(steps.update, model, config, "l2", None, TOTAL)
  return state, jax.jit(update)


def moved(before, after):
  return jax.tree.map(lambda a, b: np.asarray(b) - np.asarray(a), before, after)


def assert_near(tree, other, **tolerance):
  tolerance = {"rtol": 1e-5, "atol": 1e-7} | tolerance
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), tree, other)


def test_rows_of_weight_0_do_not_count():
  state, update = begin()
  clean = make_batch()
  clean["weight"] = clean["weight"].at[5:].set(0)
  junk = {name: clean[name].at[5:].set(1e3) for name in ("text", "audio")}
  dirty = clean | junk | {"label": clean["label"].at[5:].set(jnp.nan)}
  fewer = {name: array[:5] for name, array in clean.items()}
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
  batch["weight"] = batch["weight"].at[6:].set(0)
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
  model = Small(SPEC)
  steps.check_hyper(model, ["optim.lr", "loss.gamma", "model.dropout"])
  for name in ("optim.b1", "model.width", "model.relu_dropout", "train.epochs"):
    with pytest.raises(UserError, match=rf"{name} cannot differ.*optim.lr"):
      steps.check_hyper(model, [name])


def test_decay_shrinks_kernels_and_leaves_biases():
  fields = {"name": "adamw", "weight_decay": 0.5, "lr": 0.1}
  state, update = begin(optim=fields)
  state = state.replace(params=jax.tree.map(jnp.ones_like, state.params))
  batch = make_batch()
  batch["weight"] *= 0  # no slope
  for layer in update(state, batch).params.values():
    np.testing.assert_allclose(layer["kernel"], 0.95, rtol=1e-6)
    np.testing.assert_array_equal(layer["bias"], 1)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_steps_are_those_of_adam_with_the_numbers_of_the_config(name):
  """`adam` decays through the slope, `adamw` beside it."""
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
    output = model.apply({"params": params}, contract.Batch.of(batch))
    return jnp.square(output.predictions[:, 0] - batch["label"]).mean()

  for seed in range(3):
    batch = make_batch(seed=seed)
    slope = jax.grad(loss)(params, batch)
    if name == "adam":
      for layer in slope:
        slope[layer]["kernel"] += 0.3 * params[layer]["kernel"]
    changes, opt = oracle.update(slope, opt, params)
    params = optax.apply_updates(params, changes)
    state = update(state, batch)
    assert_near(state.params, params, rtol=1e-4, atol=1e-6)


def test_a_slope_that_is_too_long_is_cut_to_the_clip():
  # So large an epsilon makes Adam's step the slope itself.
  slow, batch = {"eps": 1e6, "lr": 1e6}, make_batch()

  def change(clip):
    state, update = begin(optim=slow | {"clip": clip})
    return moved(state.params, update(state, batch).params)

  whole = change(0.0)
  norm = float(optax.tree.norm(whole))
  near = {"rtol": 1e-3, "atol": 1e-5 * norm}
  assert_near(change(norm / 4), jax.tree.map(lambda x: x / 4, whole), **near)
  assert_near(change(norm * 2), whole, **near)


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
  bad = batch | {"label": batch["label"].at[2].set(jnp.nan)}
  state = update(update(state, bad), batch)
  assert int(state.tally["bad_step"]) == 1


def test_a_slope_that_is_not_finite_is_noted_too():
  state, update = begin()
  batch = make_batch()
  huge = update(state, batch | {"text": 1e18 * batch["text"]})
  assert np.isfinite(huge.tally["task"]) and int(huge.tally["bad_step"]) == 0


def test_no_sample_loses_all_modalities():
  random = np.random.default_rng(0)
  present = random.random((4000, 3)) < 0.7
  batch = {
    f"{name}_mask": jnp.asarray(np.repeat(present[:, i, None], 2, 1))
    for i, name in enumerate(("audio", "text", "vision"))
  }
  for rate in (0.3, 1.0):
    found = drop_modalities(batch, rate, jnp.uint32(5))
    kept = np.stack([found[name].all(1) for name in sorted(batch)], 1)
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


def test_what_is_lost_hangs_on_the_place_in_the_batch_alone():
  masks = {"text_mask": jnp.ones((6, 4), bool), "audio_mask": jnp.ones((6, 2), bool)}
  longer = {name: jnp.ones((9, 7), bool) for name in reversed(masks)}
  one = drop_modalities(masks, 0.5, jnp.uint32(1))
  two = drop_modalities(longer, 0.5, jnp.uint32(1))
  other = drop_modalities(longer, 0.5, jnp.uint32(2))
  for name in masks:
    np.testing.assert_array_equal(one[name][:, 0], two[name][:6, 0])
  assert any((two[name] != other[name]).any() for name in masks)


def test_a_gathered_batch_is_cut_to_its_bounds():
  batch = make_batch(5)
  data = {name: x for name, x in batch.items() if name != "weight"}
  rows, places = jnp.array([3, 0, -1, 4]), np.array([3, 0, 0, 4])
  found = steps.gather(data, rows, {"text": 2, "audio": 7})
  np.testing.assert_array_equal(found["weight"], [1, 1, 0, 1])
  np.testing.assert_array_equal(found["text"], batch["text"][places, :2])
  np.testing.assert_array_equal(found["text_mask"], batch["text_mask"][places, :2])
  np.testing.assert_array_equal(found["audio"], batch["audio"][places])
  np.testing.assert_array_equal(found["label"], batch["label"][places])
