"""Self-MM against its equations, over some epochs, and what it remembers."""

import functools
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import PER_SAMPLE, Batch, Spec
from mcr_jax.errors import UserError
from mcr_jax.runs import transfer
from mcr_jax.training import state as states
from mcr_jax.training import step as steps
from mcr_jax.training.recipe import Recipe
from tests.models.cases import Case
from tests.reference import self_mm as written
from tests.slopes import assert_gradient
from tests.training import tiny

D = {"text": 4, "audio": 3, "vision": 2}
SMALL = {"hidden": 5, "width": 3, "widths": {"text": 4}}
ROWS, T = 9, 2
# The rows of three batches of an epoch; -1 is one that no data has.
BATCHES = ([4, 0, 2], [8, 5, -1], [1, 7, 3])
EPOCHS = 3


def build(outputs=(2,), **fields):
  spec = Spec(
    dict.fromkeys(D, T), D, outputs, columns=("index",), samples=ROWS + 2, task=TASK
  )
  return models.build("self_mm", spec, **{**SMALL, **fields})


TASK = "regression"


@functools.cache
def data():
  """Vectors and masks of all rows; some lack a modality, one has none."""
  random = np.random.default_rng(0)
  x = {m: random.normal(size=(ROWS, T, d)) for m, d in D.items()}
  mask = {m: np.repeat(random.random((ROWS, 1)) < 0.8, T, 1) for m in D}
  for m in D:
    mask[m][4], mask[m][5] = m != "audio", False
  return x, mask, random.normal(size=(ROWS, 2))


def make_batch(rows, dtype=np.float64, junk=0.0):
  """Some rows; a row -1 has no weight, and junk stands wherever nothing is."""
  x, mask, label = data()
  real = np.array(rows) >= 0
  real_mask = {m: mask[m][rows] & real[:, None] for m in D}
  x = {m: np.where(real_mask[m][..., None], x[m][rows], junk).astype(dtype) for m in D}
  label = np.where(real[:, None], label[rows], junk).astype(dtype)
  more = {"index": np.array(rows, np.int32)}
  return jax.tree.map(jnp.asarray, Batch(x, real_mask, real.astype(dtype), label, more))


def draw(model, dtype=jnp.float64, seed=1):
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(model.init, jax.random.key(0), make_batch(BATCHES[0]))
  value = lambda s: jnp.asarray(0.8 * random.normal(size=s.shape), dtype)
  zeros = lambda s: jnp.zeros(s.shape, dtype)
  return {
    "params": jax.tree.map(value, shapes["params"]),
    PER_SAMPLE: jax.tree.map(zeros, shapes[PER_SAMPLE]),
  }


def sample(row):
  """What the reference takes: the vectors, without those that miss."""
  x, mask, _ = data()
  return {m: x[m][row][mask[m][row]].mean(0) if mask[m][row].any() else None for m in D}


def run(params, model, junk=0.0):
  """The losses and memories of all steps of some epochs in which nothing learns."""

  def value(params, memory, batch):
    output, updated = model.apply(
      {"params": params, PER_SAMPLE: memory}, batch, train=True, mutable=[PER_SAMPLE]
    )
    loss = jnp.where(batch.weight > 0, output.losses["unimodal"], 0).sum()
    return loss, (output, updated[PER_SAMPLE])

  learn = jax.jit(jax.value_and_grad(value, has_aux=True))
  memory, found = draw(model)[PER_SAMPLE], []
  for _ in range(EPOCHS):
    for rows in BATCHES:
      (_, (output, memory)), slope = learn(params, memory, make_batch(rows, junk=junk))
      found.append((output, slope, memory))
  return found


def test_the_model_its_losses_and_its_labels_equal_their_equations():
  with jax.enable_x64(True):
    model = build()
    params = draw(model)["params"]
    found = run(params, model)
    dirty = run(params, model, junk=np.nan)
  params, label = jax.tree.map(np.asarray, params), data()[2]
  memory = written.Memory(bound=3.0)
  close = functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-11)
  last = EPOCHS * len(BATCHES) - 1
  for step, (output, slope, after) in enumerate(found):
    rows, known = BATCHES[step % len(BATCHES)], []

    def number(params, rows=rows):
      total = 0.0
      for row in rows:
        if row >= 0:
          says, _ = written.network(params, sample(row), D)
          here = [m for m, x in sample(row).items() if x is not None]
          total += written.unimodal(says, memory, row, label[row], here)
      return total

    for b, row in enumerate(rows):
      if row < 0:
        continue
      says, features = written.network(params, sample(row), D)
      here = [m for m, x in sample(row).items() if x is not None]
      close(output.predictions[b], says[written.FUSED])
      loss = written.unimodal(says, memory, row, label[row], here)
      close(output.losses["unimodal"][b], loss)
      known.append((row, {m: features[m] for m in (written.FUSED, *here)}))
    if step == last:
      assert number(params) > 0.1
      assert_gradient(number, params, slope)
    rows = [row for row, _ in known]
    memory.learn(rows, label[rows], [own for _, own in known])
    held = jax.tree.map(np.asarray, after["memory"])
    for (m, row), expected in memory.labels.items():
      close(held[f"labels_{m}"][row], expected, err_msg=f"{m} {row}")
      close(held[f"features_{m}"][row], memory.features[m, row])
    seen = sum(int(held[f"seen_{m}"].sum()) for m in (written.FUSED, *D))
    assert seen == sum(memory.seen.values())
  changed = [
    np.abs(y - label[row]).max() for (m, row), y in memory.labels.items() if m in D
  ]
  assert np.count_nonzero(np.array(changed) > 0.1) > 5
  for (_, _, one), (_, _, two) in zip(found, dirty, strict=True):
    jax.tree.map(np.testing.assert_array_equal, one, two)


def test_a_prediction_reads_no_memory_and_changes_none():
  model = build()
  variables = draw(model, jnp.float32)
  batch = make_batch(BATCHES[0], np.float32)
  predict = jax.jit(lambda v: model.apply(v, batch).predictions)
  other = {**variables, PER_SAMPLE: jax.tree.map(jnp.ones_like, variables[PER_SAMPLE])}
  np.testing.assert_array_equal(predict(variables), predict(other))


def test_only_numbers_can_be_made_into_labels(monkeypatch):
  monkeypatch.setitem(globals(), "TASK", "multiclass")
  model = build((3,))
  with pytest.raises(UserError, match="multiclass"):
    jax.eval_shape(model.init, jax.random.key(0), make_batch(BATCHES[0], np.float32))


def test_an_lstm_reads_all_modalities_but_the_main_one():
  model = build(encoder="lstm", encoder_width=2, main="audio")
  params = jax.eval_shape(model.init, jax.random.key(0), make_batch(BATCHES[0]))
  encoders = {name for name in params["params"] if name.startswith("encoder")}
  assert encoders == {"encoder_text", "encoder_vision"}


def test_a_training_counts_the_epochs_of_every_sample():
  """Also where a batch is taken in parts."""
  config = tiny.config(
    "unread.npz", {"name": "self_mm"}, optim={"accumulate": 2}, train={"batch_size": 4}
  )
  model = build()
  recipe = Recipe.of(model, config)
  batch = make_batch([*BATCHES[0], 8], np.float32)
  state = states.create(recipe, batch, 3, {})
  constants = steps.Constants(jnp.int32(6))
  update = jax.jit(functools.partial(steps.update, recipe, 0, constants))
  for _ in range(3):
    state = update(state, batch)
  seen = np.zeros(ROWS + 2)
  seen[[*BATCHES[0], 8]] = 3
  memory = state.stats[PER_SAMPLE]["memory"]
  np.testing.assert_array_equal(memory["seen_fused"], seen)
  assert state.tally["losses"]["unimodal"] > 0


def test_no_run_starts_from_what_is_known_of_other_samples():
  sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
  leaf = lambda value, *shape: jax.device_put(jnp.full((1, *shape), value), sharding)
  tree = lambda value, rows: (
    {"output": leaf(value, 2)},
    {PER_SAMPLE: {"seen": leaf(value, rows)}},
  )
  params, stats = tree(0.0, 5)
  state = states.State(params, stats, None, None, np.zeros(1), {}, None, None, {})
  spec = build().spec
  before = types.SimpleNamespace(
    seeds=(0,), workdir="before", spec=spec, variables=tree(1.0, 7)
  )
  found = transfer.start_from(before, state, spec, "output")
  assert found.params["output"].all()
  assert found.stats[PER_SAMPLE]["seen"].shape == (1, 5)
  assert not found.stats[PER_SAMPLE]["seen"].any()


def dense(i, j):
  return (i + 1) * j


def count(model):
  outputs, h = math.prod(model.outputs), model.hidden
  total = dense(sum(model.spec.widths.values()), h) + dense(h, h) + dense(h, outputs)
  for m, d in model.spec.widths.items():
    w = model.widths.get(m, model.width)
    total += dense(d, w) + dense(w, w) + dense(w, outputs)
  return total


CASES = {"self_mm": Case(count, {"hidden": 5, "width": 3})}
