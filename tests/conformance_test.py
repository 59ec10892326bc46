"""A model that keeps every promise, and for each promise a model that breaks it."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import pytest

from mcr_jax import conformance, contract
from mcr_jax.conformance import numbers, shapes
from mcr_jax.contract import Card, Output
from mcr_jax.field import field, rate
from mcr_jax.layers.dropout import Dropout, Rate
from mcr_jax.ops import pooling


class Good(contract.Model):
  """The means of all modalities, a hidden layer and a penalty, in parts to replace."""

  card = Card("Good", losses={"penalty": 0.1}, modalities=(1, 4))

  width: int = field(8, low=1)
  dropout: Rate = rate()
  dtype: str = field("", choices=contract.DTYPES)

  @nn.compact
  def __call__(self, batch, *, train=False):
    x = jnp.concatenate([self.vector(batch, m) for m in self.order(batch)], -1)
    x = self.cast(x)
    x = nn.relu(nn.Dense(self.width, dtype=x.dtype, name="hidden")(x))
    x = self.drop(self.between(x), train)
    y = nn.Dense(self.outputs[-1], dtype=x.dtype, name=self.last())(x)
    y = self.shaped(y.astype(jnp.promote_types(y.dtype, jnp.float32)))
    losses = {"penalty": self.penalty(x)} if train else {}
    return Output(y, losses, intermediates={"x": x})

  def vector(self, batch, m):
    return pooling.mean(batch.x[m], batch.mask[m])

  def order(self, batch):
    return self.modalities

  def cast(self, x):
    return x.astype(self.dtype) if self.dtype else x

  def between(self, x):
    return x

  def drop(self, x, train):
    return Dropout(self.dropout)(x, train=train)

  def last(self):
    return "output"

  def shaped(self, y):
    more = (1,) * (len(self.outputs) - 1)
    y = y.reshape(len(y), *more, -1)
    return jnp.broadcast_to(y, (len(y), *self.outputs))

  def penalty(self, x):
    return jnp.square(x).mean(-1)


def faulty(**methods):
  return type("Faulty", (Good,), methods)


def real(batch, m):
  return jnp.where(batch.mask[m][..., None], batch.x[m], 0)


def idle(self, x):
  self.param("idle", nn.initializers.normal(), (3,))
  return x


@jax.custom_batching.custom_vmap
def leaking(x):
  return x


@leaking.def_vmap
def _of_all_seeds(size, batched, x):
  return x + 0 * x.sum(0, keepdims=True), True


class Unmarked(Good):
  dropout: Rate = field(0.0)


FAULTS = {
  shapes.predictions_are_shaped: faulty(shaped=lambda self, y: y),
  shapes.head_is_what_outputs_decide: faulty(last=lambda self: "final"),
  shapes.modalities_are_counted: faulty(
    order=lambda self, batch: (self.modalities[0], self.modalities[1])
  ),
  shapes.losses_are_declared: faulty(card=Card("Faulty", modalities=(1, 4))),
  shapes.order_is_that_of_the_spec: faulty(order=lambda self, batch: tuple(batch.x)),
  shapes.low_precision_is_computed_in: faulty(cast=lambda self, x: x),
  shapes.rates_are_marked: Unmarked,
  numbers.decay_leaves_out_what_is_added: faulty(
    card=Card("Faulty", losses={"penalty": 0.1}, undecayed="none")
  ),
  numbers.every_parameter_is_used: faulty(between=idle),
  numbers.padding_is_not_read: faulty(vector=lambda self, batch, m: batch.x[m].mean(1)),
  numbers.padding_may_be_of_any_length: faulty(
    vector=lambda self, batch, m: real(batch, m).mean(1)
  ),
  numbers.samples_are_alone: faulty(between=lambda self, x: x - x.mean(0)[None]),
  numbers.modalities_may_miss: faulty(
    vector=lambda self, batch, m: (
      real(batch, m).sum(1) / batch.mask[m].sum(1, keepdims=True)
    )
  ),
  numbers.rows_of_no_weight_do_not_count: faulty(
    penalty=lambda self, x: jnp.square(x).mean()
  ),
  shapes.dropout_falls_in_training: faulty(drop=lambda self, x, train: x),
  numbers.seeds_are_independent: faulty(between=lambda self, x: leaking(x)),
  numbers.a_batch_is_learnt: faulty(between=lambda self, x: 0 * x),
}


def test_a_good_model_keeps_every_promise():
  found = dict(conformance.results(conformance.Subject(Good)))
  assert len(found) == len(conformance.CHECKS) == len(FAULTS)
  assert not any(found.values()), found


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
def test_a_promise_can_be_broken(check):
  with jax.enable_x64(True), pytest.raises(conformance.Broken) as told:
    check(conformance.Subject(FAULTS[check]))
  assert str(told.value).endswith(".")


def test_a_model_that_fails_breaks_the_promise_with_its_own_words():
  def fail(self, x):
    raise ValueError("no way\nat all")

  found = dict(conformance.results(conformance.Subject(faulty(between=fail))))
  assert list(found.values()).count("ValueError: no way") > 10
