"""DialogueRNN against its equations, and what they say of turns and speakers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import models
from mcr_jax.contract import Spec
from mcr_jax.ops import history
from tests.models import dialogues
from tests.models.cases import Case
from tests.reference.dialogue_rnn import dialogue_rnn as written
from tests.slopes import assert_gradient

SMALL = {"global_width": 3, "party_width": 4, "emotion_width": 2, "hidden": 5}


def build(**fields):
  return dialogues.build("dialogue_rnn", **{**SMALL, **fields})


def gru(inputs, width):
  return 3 * width * (inputs + width) + 4 * width


def count(model):
  size = sum(model.spec.widths.values())
  g, q, e = model.global_width, model.party_width, model.emotion_width
  direction = gru(size + q, g) + gru(size + g, q) + gru(q, e) + size * g
  direction += model.listener * gru(size + q, q)
  says = (1 + model.bidirectional) * e
  match = model.attention * (says + 1) * says
  head = (says + 1) * model.hidden + (model.hidden + 1) * math.prod(model.outputs)
  return (1 + model.bidirectional) * direction + match + head


CASES = {"dialogue_rnn": Case(count, SMALL)}
PLAIN = {"bidirectional": False, "attention": False}


@pytest.mark.parametrize(
  "fields", [{}, {**PLAIN, "listener": True, "outputs": (2, 2)}], ids=["all", "plain"]
)
def test_the_model_equals_its_equations(fields):
  with jax.enable_x64(True):
    model = build(**fields)
    batch = dialogues.make_batch(model)
    params = dialogues.draw(model, batch)["params"]
    weigh = np.random.default_rng(5).normal(
      size=(*dialogues.SPEAKER.shape, *model.outputs)
    )
    weigh[dialogues.SPEAKER < 0] = 0
    options = {n: getattr(model, n) for n in ("listener", "bidirectional", "attention")}

    def run(params):
      output = model.apply({"params": params}, batch)
      return (weigh * output.predictions).sum(), output

    (_, output), gradient = jax.jit(jax.value_and_grad(run, has_aux=True))(params)
    params = jax.tree.map(np.asarray, params)

    def number(params):
      total = 0.0
      for b, turns in enumerate(dialogues.TURNS):
        found, _ = written(params, *dialogues.dialogue(batch, b), **options)
        total += (weigh[b, :turns].reshape(turns, -1) * found).sum()
      return total

    assert_gradient(number, params, gradient)
    for b, turns in enumerate(dialogues.TURNS):
      expected, out = written(params, *dialogues.dialogue(batch, b), **options)
      found = output.predictions[b, :turns].reshape(turns, -1)
      np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)
      found = output.intermediates["attention"]
      for t in range(turns):
        for name, rows in out.items():
          row = found[name][b, t]
          where = {"forward": slice(0, t), "backward": slice(t + 1, turns)}
          here = row[where.get(name, slice(0, turns))]
          np.testing.assert_allclose(here, rows[t], rtol=1e-10, atol=1e-12)
          np.testing.assert_allclose(row.sum(), 1 if len(here) else 0, atol=1e-12)


def test_it_keeps_what_holds_of_dialogues():
  dialogues.check(build())


def test_one_direction_without_attention_ignores_the_turns_to_come():
  with jax.enable_x64(True):
    model = build(**PLAIN)
    batch = dialogues.make_batch(model)
    variables = dialogues.draw(model, batch)

    @jax.jit
    def reads(text):
      one = batch.replace(x={**batch.x, "text": text})
      # Of every turn, whether it hangs on every other one.
      run = lambda text: model.apply(variables, one.replace(x={**one.x, "text": text}))
      slopes = jax.jacobian(lambda x: run(x).predictions[0].sum(-1))(text)
      return jnp.abs(slopes[:, 0]).sum(-1) > 0

    found = np.asarray(reads(batch.x["text"]))
    here = np.asarray(batch.mask["text"][0])
    np.testing.assert_array_equal(found, np.tri(dialogues.U, dtype=bool) & here)


def test_a_loop_that_reads_its_past_has_the_gradient_of_the_plain_loop():
  with jax.enable_x64(True):
    random = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(random.normal(size=shape))
    matrices = {"a": draw(3, 3), "b": draw(3, 3)}
    x, given = draw(5, 2, 3), jnp.asarray([True, True, False, True, True])

    def step(state, x, given, t, multiply, past):
      seen = jnp.arange(5)[:, None, None] < t
      state = jnp.tanh(x + multiply("a", state)) * given
      read = jnp.where(seen, jnp.sin(past), 0).sum(0)
      return state, state + multiply("b", read)

    def plain(x, matrices):
      past, state = [], jnp.zeros((2, 3))
      for t in range(5):
        state = jnp.tanh(x[t] + state @ matrices["a"]) * given[t]
        read = sum((jnp.sin(row) for row in past), jnp.zeros((2, 3)))
        past.append(state + read @ matrices["b"])
      return jnp.stack(past)

    def looped(x, matrices):
      zeros = jnp.zeros((2, 3)), jnp.zeros((5, 2, 3))
      return history.scan(step, x, given, matrices, *zeros)

    weigh = draw(5, 2, 3)
    value = lambda run: lambda *at: (weigh * run(*at)).sum()
    both = [jax.value_and_grad(value(f), (0, 1))(x, matrices) for f in (plain, looped)]
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-12), *both
    )


def test_dropout_of_states_is_carried_and_padding_does_not_move_it():
  model = build(state_dropout=0.5, **PLAIN)
  with jax.enable_x64(True):
    batch = dialogues.make_batch(model)
    variables = dialogues.draw(model, batch)
    rngs = {"dropout": jax.random.key(0)}
    run = jax.jit(lambda batch: model.apply(variables, batch, train=True, rngs=rngs))
    e = np.asarray(run(batch).intermediates["emotion"])
    real = np.asarray(batch.more["turn"])
    # An element that dropped is zero; what carries nothing on would be zero before it.
    assert 0.3 < (e[real] == 0).mean() < 0.7
    longer = jax.tree.map(
      lambda y: jnp.pad(y, ((0, 0), (0, 3)) + ((0, 0),) * (y.ndim - 2)), batch
    )
    again = np.asarray(run(longer).intermediates["emotion"])[:, : dialogues.U]
    np.testing.assert_allclose(again[real], e[real], rtol=1e-9)


@pytest.mark.parametrize(
  "widths, published",
  [((150, 150, 100, 200), 2_666_607)],
)
def test_published_settings_have_the_published_number_of_parameters(widths, published):
  spec = Spec(
    {"text": 1, "audio": 1},
    {"text": 600, "audio": 300},
    (7,),
    unit="dialogue",
    turns=3,
    columns=("turn", "speaker"),
  )
  names = ("global_width", "party_width", "emotion_width", "hidden")
  model = models.build("dialogue_rnn", spec, **dict(zip(names, widths, strict=True)))
  params = jax.eval_shape(model.init, jax.random.key(0), spec.example())["params"]
  total = sum(leaf.size for leaf in jax.tree.leaves(params))
  # A second bias of the gates r and z of every cell, which we do not have.
  twice = 2 * 2 * sum(widths[:3])
  assert total == count(model) == published - twice
