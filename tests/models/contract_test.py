"""Every model keeps the promises of the contract, and has the size that it should."""

import functools

import jax
import pytest
from jax import export

from mcr_jax import conformance, flops, models
from tests.models.cases import all_cases

CASES = all_cases()


@functools.cache
def subject(name):
  return conformance.Subject(models.load(name), **CASES[name].fields)


@pytest.mark.parametrize("name", models.names())
def test_a_model_keeps_every_promise(name):
  broken = {what: wrong for what, wrong in conformance.results(subject(name)) if wrong}
  assert not broken


@pytest.mark.parametrize("name", models.names())
def test_a_model_has_the_parameters_of_its_formula(name):
  one = subject(name)
  fewest, most = one.kind.card.modalities
  for count in {fewest, 3 if most is None else most}:
    params = one.trace(count).variables["params"]
    model = one.build(one.spec_of(count))
    assert flops.parameters(params) == CASES[name].parameters(model)
  model = one.build(one.spec_of(one.count, (3, 2)))
  params = one.trace(outputs=(3, 2)).variables["params"]
  assert flops.parameters(params) == CASES[name].parameters(model)


@pytest.mark.parametrize("name", models.names())
def test_a_model_computes_a_batch_of_any_size(name, any_size):
  """As a program does that is exported; shapes are all that its Python may ask for."""
  one = subject(name)
  (count,) = export.symbolic_shape("count")
  wide = lambda s: jax.ShapeDtypeStruct((count, *s.shape[1:]), s.dtype)
  batch = jax.tree.map(wide, one.spec.example())
  found = jax.eval_shape(one.model.apply, one.trace().variables, batch)
  assert found.predictions.shape[0] == count


def test_every_model_states_itself():
  for name in models.names():
    card = models.load(name).card
    assert card.kind in ("exact", "reconstruction", "baseline"), name
    assert card.reads in ("sequences", "vectors"), name
    assert card.unit in ("utterance", "dialogue"), name
    assert bool(card.paper) == (card.kind != "baseline") and card.title, name


def test_every_field_of_a_model_has_a_domain_and_a_sentence():
  for name in models.names():
    for field, domain in models.domains(name).items():
      assert domain.doc, f"{name}.{field}"
      domain.check(f"{name}.{field}", models.fields(name)[field])
