"""MFN against its equations, and what the paper says of its parts."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Batch, Spec
from mcr_jax.errors import UserError
from mcr_jax.ops import alignment
from tests.models.cases import Case
from tests.models.recurrent_cases import assert_equals_its_equations, draw, make_batch
from tests.reference.mfn import mfn as written

THREE = ("text", "audio", "vision")
D = {"text": 5, "audio": 3, "vision": 2}
SMALL = {"width": 3, "widths": {"text": 4}, "memory": 6} | {
  f"{name}_width": size
  for name, size in zip(
    ("attention", "proposal", "retain", "update", "output"),
    (2, 3, 4, 5, 7),
    strict=True,
  )
}
T = 5


def build(modalities=THREE, lengths=None, outputs=(1,), **fields):
  lengths = lengths or dict.fromkeys(modalities, T)
  spec = Spec(lengths, {m: D[m] for m in modalities}, outputs)
  fields = {**SMALL, **fields}
  fields["widths"] = {m: w for m, w in fields["widths"].items() if m in modalities}
  return models.build("mfn", spec, **fields)


@pytest.mark.parametrize(
  "fields", [{}, {"modalities": ("audio",), "outputs": (4, 2)}], ids=["three", "one"]
)
def test_the_model_equals_its_equations(fields):
  model = build(**fields)
  assert_equals_its_equations(
    model, functools.partial(written, modalities=model.modalities)
  )


@functools.cache
def small():
  """A model with its intermediates for one batch."""
  model = build()
  batch = make_batch(model)
  variables = draw(model, batch)
  return model, variables, batch, jax.jit(model.apply)(variables, batch)


def test_attention_sums_to_one_gates_are_open_and_the_memory_grows_by_one_a_step():
  out = small()[-1].intermediates
  np.testing.assert_allclose(out["attention"].sum(-1), 1.0, rtol=1e-5)
  for gate in (out["retain"], out["update"]):
    assert (gate > 0).all() and (gate < 1).all()
  memory = out["memory"]
  assert (np.abs(memory) <= np.arange(1, T + 1)[None, :, None]).all() and memory.any()
  real = np.any(list(small()[2].mask.values()), 0)[:, 1:, None]
  added = np.where(real, memory[:, 1:] - out["retain"][:, 1:] * memory[:, :-1], 0)
  assert (np.abs(added) <= out["update"][:, 1:] + 1e-6).all()


def test_a_longer_grid_of_nothing_changes_nothing():
  model, variables, batch, output = small()
  longer = Batch(
    {
      m: jnp.pad(x, ((0, 0), (0, 3), (0, 0)), constant_values=np.nan)
      for m, x in batch.x.items()
    },
    {m: jnp.pad(mask, ((0, 0), (0, 3))) for m, mask in batch.mask.items()},
    batch.weight,
  )
  again = jax.jit(model.apply)(variables, longer)
  np.testing.assert_allclose(again.predictions, output.predictions, rtol=1e-5)
  np.testing.assert_allclose(
    again.intermediates["memory"][:, -1], output.intermediates["memory"][:, -1]
  )


def test_without_updates_the_memory_stays_empty_and_cells_say_nothing():
  model, variables, batch, _ = small()
  params = jax.tree.map(jnp.asarray, variables["params"])
  shut = jnp.full_like(params["update"]["output_bias"], -jnp.inf)
  kernel = jnp.zeros_like(params["update"]["output_kernel"])
  params["update"] |= {"output_bias": shut, "output_kernel": kernel}
  run = jax.jit(lambda p: model.apply({"params": p}, batch))
  output = run(params)
  assert not output.intermediates["memory"].any()
  # What only the memory reads.
  for name in ("attention", "proposal", "retain"):
    params = {**params, name: jax.tree.map(lambda x: 2 * x + 1, params[name])}
  np.testing.assert_array_equal(run(params).predictions, output.predictions)
  params["lstm_audio"] = jax.tree.map(lambda x: 2 * x, params["lstm_audio"])
  assert (run(params).predictions != output.predictions).any()


def lstm(d, h):
  return 4 * h * (d + h + 1)


def mlp(i, j, k):
  return (i + 1) * j + (j + 1) * k


def count(model):
  widths = [model.widths.get(m, model.width) for m in model.modalities]
  inputs = [model.spec.widths[m] for m in model.modalities]
  both, memory = 2 * sum(widths), model.memory
  read = mlp(both, model.attention_width, both)
  propose = mlp(both, model.proposal_width, memory)
  gates = (model.retain_width, model.update_width)
  keep = sum(mlp(both + memory, size, memory) for size in gates)
  outputs = math.prod(model.outputs)
  last = mlp(sum(widths) + memory, model.output_width, outputs)
  return sum(map(lstm, inputs, widths)) + read + propose + keep + last


CASES = {"mfn": Case(count, SMALL)}
SETTINGS = {
  "mosi": ((256, 32, 256), 400, (32, 64, 256, 32, 128), (300, 74, 35), 1_715_441),
  "mosei": ((128, 32, 128), 128, (128, 128, 256, 256, 128), (300, 74, 35), 1_036_097),
  "authors": ((88, 48, 16), 128, (128, 64, 256, 64, 64), (300, 5, 20), 453_585),
}


@pytest.mark.parametrize("widths, memory, hidden, inputs, published", SETTINGS.values())
def test_published_settings_have_the_published_number_of_parameters(
  widths, memory, hidden, inputs, published
):
  spec = Spec(dict.fromkeys(THREE, 2), dict(zip(THREE, inputs, strict=True)))
  names = ("attention", "proposal", "retain", "update", "output")
  model = models.build(
    "mfn",
    spec,
    widths=dict(zip(THREE, widths, strict=True)),
    memory=memory,
    **{f"{n}_width": size for n, size in zip(names, hidden, strict=True)},
  )
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  assert total == count(model) == published


def test_sequences_of_different_lengths_need_an_alignment():
  lengths = {"text": 3, "audio": 7, "vision": 3}
  model = build(lengths=lengths)
  batch = make_batch(model)
  with pytest.raises(UserError, match="these have text 3, audio 7, vision 3 steps"):
    jax.eval_shape(model.init, jax.random.key(0), batch)


def test_uniform_alignment_reads_the_frames_of_a_word():
  lengths = {"text": 3, "audio": 7, "vision": 2}
  model = build(lengths=lengths, align="uniform")
  batch = make_batch(model)
  aligned = build(lengths=dict.fromkeys(THREE, 3))
  variables = draw(model, batch)
  x, mask = {"text": batch.x["text"]}, {"text": batch.mask["text"]}
  for m in ("audio", "vision"):
    x[m], mask[m] = alignment.uniform(batch.x[m], batch.mask[m], batch.mask["text"])
  np.testing.assert_array_equal(
    jax.jit(model.apply)(variables, batch).predictions,
    jax.jit(aligned.apply)(variables, Batch(x, mask, batch.weight)).predictions,
  )


def test_dropout_acts_only_while_training_and_a_step_not_at_all():
  rates = dict.fromkeys(
    (f"{n}_dropout" for n in ("attention", "proposal", "retain", "update", "output")),
    0.5,
  )
  model = build(**rates)
  batch = make_batch(model)
  variables = draw(model, batch)

  @functools.partial(jax.jit, static_argnums=0)
  def run(train, seed, batch=batch):
    rngs = {"dropout": jax.random.key(seed)}
    return model.apply(variables, batch, train=train, rngs=rngs).intermediates

  same = jax.tree.map(np.array_equal, run(False, 0), run(False, 1))
  assert all(jax.tree.leaves(same))
  for name, value in run(True, 0).items():
    assert (value != run(True, 1)[name]).any(), name
