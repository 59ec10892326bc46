"""bc-LSTM against its equations, and what a batch of dialogues must not change."""

import math

import jax
import numpy as np

from tests.models import dialogues
from tests.models.cases import Case
from tests.reference import recurrent


def count(model):
  lstm = lambda d, h: 4 * h * (d + h + 1)
  h, outputs = model.width, math.prod(model.outputs)
  first = 2 * lstm(sum(model.spec.widths.values()), h)
  rest = 2 * (model.layers - 1) * lstm(2 * h, h)
  return first + rest + (2 * h + 1) * model.hidden + (model.hidden + 1) * outputs


CASES = {"bc_lstm": Case(count, {"width": 3, "layers": 2, "hidden": 4})}


def build():
  return dialogues.build("bc_lstm", outputs=(2, 3), width=3, layers=2, hidden=4)


def written(params, vectors, masks, speaker):
  """The predictions of the turns of a dialogue, whoever speaks."""
  x = np.concatenate([np.where(masks[m][:, None], vectors[m], 0) for m in vectors], 1)
  context, _ = recurrent.rnn(params["context"], x, "lstm", 2, True)
  dense = lambda name, x: x @ params[name]["kernel"] + params[name]["bias"]
  return dense("output", np.maximum(dense("hidden", context), 0)).reshape(-1, 2, 3)


def test_the_model_equals_its_equations():
  with jax.enable_x64(True):
    model = build()
    batch = dialogues.make_batch(model)
    variables = dialogues.draw(model, batch)
    predictions = jax.jit(model.apply)(variables, batch).predictions
    assert predictions.shape == (3, dialogues.U, 2, 3)
    params = jax.tree.map(np.asarray, variables["params"])
    for b, turns in enumerate(dialogues.TURNS):
      expected = written(params, *dialogues.dialogue(batch, b))
      np.testing.assert_allclose(predictions[b, :turns], expected, rtol=1e-10)


def test_it_keeps_what_holds_of_dialogues():
  dialogues.check(build(), hears_speakers=False)


def test_a_turn_hears_those_before_and_after_it():
  with jax.enable_x64(True):
    model = build()
    batch = dialogues.make_batch(model)
    variables = dialogues.draw(model, batch)
    run = jax.jit(
      lambda text: (
        model.apply(variables, batch.replace(x={**batch.x, "text": text})).predictions
      )
    )
    here = int(np.flatnonzero(np.asarray(batch.mask["text"][0]))[1])
    change = run(batch.x["text"].at[0, here].add(1.0)) - run(batch.x["text"])
  assert change[0].any((-1, -2)).all() and not change[1:].any()
