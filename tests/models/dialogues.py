"""What must hold of every model of dialogues, and dialogues to try it with.

A test of such a model calls `check`; the contract tests hold what is true of all.
"""

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax import models
from mcr_jax.contract import Batch, Spec

D = {"text": 4, "audio": 3}
TURNS = np.array([6, 1, 4])
U = 6
# Of every turn, numbered by first appearance as data does; -1 where there is no turn.
SPEAKER = np.array(
  [[0, 1, 0, 0, 2, 1], [0, -1, -1, -1, -1, -1], [0, 0, 1, 0, -1, -1]], np.int32
)


def build(name, outputs=(3,), modalities=tuple(D), **fields):
  """A model of such dialogues."""
  spec = Spec(
    dict.fromkeys(modalities, 1),
    {m: D[m] for m in modalities},
    outputs,
    "multiclass" if len(outputs) == 1 else "multitask",
    unit="dialogue",
    turns=U,
    columns=("turn", "speaker", "index"),
    samples=int(TURNS.sum()),
  )
  return models.build(name, spec, **fields)


def make_batch(model, seed=0):
  """Dialogues of 6, 1 and 4 turns; some turns lack a modality, one lacks all."""
  random = np.random.default_rng(seed)
  turn = np.arange(U) < TURNS[:, None]
  mask = {m: turn & (random.random(turn.shape) < 0.8) for m in model.modalities}
  for m in mask:
    mask[m][0, 2], mask[m][1, 0] = False, True
  x = {m: random.normal(size=(*turn.shape, D[m])) for m in model.modalities}
  index = np.where(turn, np.cumsum(turn).reshape(turn.shape) - 1, -1).astype(np.int32)
  more = {"turn": turn, "speaker": SPEAKER, "index": index}
  return jax.tree.map(jnp.asarray, Batch(x, mask, turn.astype(float), None, more))


def draw(model, batch, seed=1, scale=0.6):
  """Variables that are nowhere zero."""
  random = np.random.default_rng(seed)
  shapes = jax.eval_shape(model.init, jax.random.key(0), batch)
  return jax.tree.map(
    lambda s: jnp.asarray(scale * random.normal(size=s.shape), jnp.float64), shapes
  )


def dialogue(batch, b):
  """(vectors, masks, speakers) of the turns of dialogue b alone."""
  of = lambda tree: {m: np.asarray(tree[m][b, : TURNS[b]]) for m in D if m in tree}
  return of(batch.x), of(batch.mask), SPEAKER[b, : TURNS[b]]


def check(model, *, hears_speakers=True):
  """Padding, NaN, batch mates, names and the order of dialogues change nothing."""
  with jax.enable_x64(True):
    batch = make_batch(model)
    _check(model, batch, draw(model, batch), hears_speakers)


def _check(model, batch, variables, hears_speakers):
  real = np.asarray(batch.more["turn"])

  @jax.jit
  def learn(batch):
    def value(variables):
      found = model.apply(variables, batch).predictions
      where = batch.more["turn"].reshape(*batch.weight.shape, *[1] * (found.ndim - 2))
      return jnp.where(where, found, 0).sum(), found

    (_, found), gradient = jax.value_and_grad(value, has_aux=True)(variables)
    return found, gradient

  def same(found, expected, what):
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9, err_msg=what)

  predict = jax.jit(lambda batch: model.apply(variables, batch).predictions)
  run = lambda batch: learn(batch)[0]
  clean, gradient = learn(batch)
  dirty, dirty_gradient = learn(
    batch.replace(
      x={m: jnp.where(batch.mask[m][..., None], x, jnp.nan) for m, x in batch.x.items()}
    )
  )
  same(dirty[real], clean[real], "NaN where nothing is")
  jax.tree.map(lambda a, b: same(a, b, "NaN in a gradient"), dirty_gradient, gradient)

  pad = lambda y: jnp.pad(y, ((0, 0), (0, 7)) + ((0, 0),) * (y.ndim - 2))
  longer = jax.tree.map(pad, batch)
  more = longer.more | {"speaker": longer.more["speaker"].at[:, U:].set(-1)}
  longer = predict(jax.tree.map(lambda y: y[2:], longer.replace(more=more)))
  same(longer[0, : TURNS[2]], clean[2, : TURNS[2]], "alone, with padding")

  rows = lambda keep, y: keep.reshape(-1, *[1] * (y.ndim - 1))
  only = jnp.arange(len(TURNS)) == 1
  _, gradient = learn(
    jax.tree.map(lambda y: jnp.where(rows(only, y), y, 0).astype(y.dtype), batch)
  )
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  one = jax.eval_shape(predict, jax.tree.map(lambda y: y[1:2, :1], batch))
  assert one.shape == (1, 1, *model.outputs), "a dialogue of one turn"

  order = np.array([2, 0, 1])
  turned = run(jax.tree.map(lambda y: y[order], batch))
  same(turned[real[order]], clean[order][real[order]], "the order of dialogues")
  other = jax.tree.map(lambda y: jnp.roll(y, 1, 0), batch)
  for b in (0, 2):
    own = jnp.arange(len(TURNS)) == b
    pick = lambda y, o, own=own: jnp.where(rows(own, y), y, o)
    mixed = run(jax.tree.map(pick, batch, other))
    same(mixed[b][real[b]], clean[b][real[b]], "other dialogues of the batch")

  speaker = batch.more["speaker"]
  named = lambda names: batch.replace(more=batch.more | {"speaker": names})
  swapped = jnp.where(speaker == 0, 1, jnp.where(speaker == 1, 0, speaker))
  same(run(named(swapped))[real], clean[real], "the names of two speakers")
  one = run(named(jnp.where(real, 0, -1)))
  changed = np.abs(one - clean)[real].max() > 1e-6
  assert changed == hears_speakers, "one speaker in place of several"
