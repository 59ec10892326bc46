"""The CTC aligner against all labellings of the frames, and the models that take it."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import conformance, flops, models
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.layers.align import CTCAligner
from mcr_jax.ops import ctc
from tests.reference import ctc as written
from tests.slopes import assert_gradient

D, T, Q = 3, 5, 4
# Holes in both; fewer frames than words; no frames; no words; only padding; all.
FRAMES = np.array(
  [
    [1, 0, 1, 1, 1],
    [0, 1, 0, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 1, 1, 0, 0],
    [0, 0, 0, 0, 0],
    [1, 1, 1, 1, 1],
  ],
  bool,
)
WORDS = np.array(
  [[0, 1, 0, 1], [1, 1, 1, 0], [1, 1, 0, 0], [0] * 4, [0] * 4, [1, 1, 0, 1]], bool
)
FITS = np.array([1, 0, 0, 0, 0, 1], bool)


def arrays(dtype=np.float64):
  x = np.random.default_rng(0).normal(size=(*FRAMES.shape, D)).astype(dtype)
  return jnp.asarray(x), jnp.asarray(FRAMES), jnp.asarray(WORDS)


def draw(aligner, *args):
  random = np.random.default_rng(1)
  shapes = jax.eval_shape(
    functools.partial(aligner.init, train=True), jax.random.key(0), *args
  )
  value = lambda s: jnp.asarray(random.normal(size=s.shape), args[0].dtype)
  return jax.tree.map(value, shapes)


def total(aligner, random):
  """A number that depends on everything the aligner makes, as function of both."""
  weight = jnp.asarray(random.normal(size=(len(FRAMES), Q, D)))

  def run(variables, x):
    aligned, real, weights, loss = aligner.apply(
      variables, x, jnp.asarray(FRAMES), jnp.asarray(WORDS), train=True
    )
    return (weight * aligned).sum() + loss.sum(), (aligned, real, weights, loss)

  return weight, jax.jit(jax.value_and_grad(run, has_aux=True))


@pytest.mark.parametrize(
  "logits, normalize", [("linear", True), ("lstm", False)], ids=["ours", "code"]
)
def test_the_aligner_equals_its_equations_and_so_does_its_gradient(logits, normalize):
  with jax.enable_x64(True):
    aligner = CTCAligner(6, 2, logits, normalize)
    x, frames, words = arrays()
    junk = jnp.where(frames[..., None], x, jnp.nan)
    variables = draw(aligner, x, frames, words)
    weight, run = total(aligner, np.random.default_rng(2))
    (_, (aligned, real, weights, loss)), gradient = run(variables, junk)

    def reference(variables):
      params, parts = jax.tree.map(np.asarray, variables["params"]), []
      for b in range(len(x)):
        fields = dict(logits=logits, normalize=normalize)
        rows = np.asarray(x[b][frames[b]])
        parts.append(written.align(params, rows, int(words[b].sum()), **fields))
      return parts

    expected = reference(variables)
    for b, (rows, value) in enumerate(expected):
      np.testing.assert_allclose(loss[b], value, rtol=1e-10, atol=1e-10)
      there = WORDS[b] & FRAMES[b].any()
      np.testing.assert_array_equal(real[b], there)
      close = functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-10)
      if there.any():
        close(aligned[b][there], rows)
        close(np.asarray(weights[b] @ x[b])[there], rows)
      assert not np.any(aligned[b][~there]) and not np.any(weights[b][~there])
    np.testing.assert_array_equal(loss > 0, FITS)
    if normalize:
      np.testing.assert_allclose(weights.sum(-1)[real], 1.0, rtol=1e-12)

    def number(variables):
      found = 0.0
      for b, (rows, value) in enumerate(reference(variables)):
        there = WORDS[b] & FRAMES[b].any()
        found += value + (np.asarray(weight)[b][there] * rows).sum()
      return found

    assert_gradient(number, variables, gradient)


def test_labellings_are_all_there_are_and_those_of_the_words_are_the_loss():
  with jax.enable_x64(True):
    scores = np.random.default_rng(4).normal(size=(4, 3))
    every = sum(p for _, p in written.labellings(scores))
    np.testing.assert_allclose(every, 1.0, rtol=1e-12)
    all_of = lambda size: jnp.ones((1, size), bool)
    found = jax.jit(ctc.loss)(jnp.asarray(scores[None]), all_of(4), all_of(2))
    np.testing.assert_allclose(found[0], written.loss(scores), rtol=1e-12)


def test_a_word_reads_the_frame_that_names_it():
  x, frames, words = arrays(np.float32)
  # Frame i names word i, and the last frame none.
  logits = 50.0 * jnp.eye(T, Q + 1, k=1).at[-1, 0].set(1.0)[None].repeat(len(x), 0)
  everywhere = (jnp.ones_like(frames), jnp.ones_like(words))
  for normalize in (True, False):
    align = jax.jit(functools.partial(ctc.align, normalize=normalize))
    aligned, _, _ = align(logits, x, *everywhere)
    np.testing.assert_allclose(aligned, x[:, :Q], rtol=1e-5)


def test_the_loss_falls_where_only_the_aligner_learns():
  x, frames, words = arrays(np.float32)
  aligner = CTCAligner(Q, 4)
  variables = jax.tree.map(lambda v: 0.5 * v, draw(aligner, x, frames, words))

  @jax.jit
  def step(variables):
    run = lambda v: aligner.apply(v, x, frames, words, train=True)[-1].sum()
    loss, gradient = jax.value_and_grad(run)(variables)
    return jax.tree.map(lambda v, g: v - 0.3 * g, variables, gradient), loss

  losses = []
  for _ in range(400):
    variables, loss = step(variables)
    losses.append(loss)
  assert losses[-1] < 0.2 * losses[0]


def test_the_form_of_the_code_has_its_number_of_parameters():
  for width, expected in ((74, 46_716), (35, 38_760)):
    aligner = CTCAligner(50, logits="lstm")
    x, mask = jax.ShapeDtypeStruct((1, 9, width), np.float32), np.ones((1, 9), bool)
    init = functools.partial(aligner.init, train=False)
    shapes = jax.eval_shape(init, jax.random.key(0), x, mask, mask)
    assert flops.parameters(shapes["params"]) == expected


def test_more_words_than_the_aligner_knows_are_refused():
  spec = Spec({"text": 5, "audio": 7}, {"text": 2, "audio": 3})
  model = models.build("ef_lstm", spec, align="ctc", align_words=4)
  with pytest.raises(UserError, match="align_words=4 must be at least 5"):
    jax.eval_shape(model.init, jax.random.key(0), spec.example())


def test_a_model_that_aligns_its_sequences_keeps_every_promise():
  fields = dict(width=6, align="ctc", align_words=5, align_width=4)
  subject = conformance.Subject(models.load("ef_lstm"), **fields)
  assert not subject.aligned
  broken = {what: wrong for what, wrong in conformance.results(subject) if wrong}
  assert not broken


ON_ONE_GRID = [n for n in models.names() if "align_words" in models.fields(n)]


@pytest.mark.parametrize("name", ON_ONE_GRID)
def test_every_model_on_one_grid_takes_every_alignment(name):
  # Without one it is tried by the contract.
  names = ("text", "audio", "vision")
  for align in ("uniform", "ctc"):
    spec = Spec(dict(zip(names, (4, 7, 5), strict=True)), dict.fromkeys(names, 3))
    model = models.build(name, spec, align=align)
    rngs = dict.fromkeys(("params", "dropout", "noise"), jax.random.key(0))
    run = functools.partial(model.init_with_output, train=True)
    output, variables = jax.eval_shape(run, rngs, spec.example())
    assert output.predictions.shape == (2, 1)
    found = {name for name in variables["params"] if name.startswith("align_")}
    expected = {"align_audio", "align_vision"} if align == "ctc" else set()
    assert found == expected and ("ctc" in output.losses) == bool(expected)
    assert "ctc" in model.card.optional and model.card.weights["ctc"] == 1.0
