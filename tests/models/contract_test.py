"""Every model keeps the promises of the contract, and has the size that it should."""

import jax
import pytest

from mcr_jax import conformance, flops, models
from tests.models.cases import all_cases

CASES = all_cases()


def subject(name):
  case = CASES[name]
  kind = models.load(name)
  return conformance.Subject(kind, aligned=case.aligned, **case.fields)


@pytest.mark.parametrize("name", models.names())
def test_a_model_keeps_every_promise(name):
  broken = {what: wrong for what, wrong in conformance.results(subject(name)) if wrong}
  assert not broken


@pytest.mark.parametrize("name", models.names())
def test_a_model_has_the_parameters_of_its_formula(name):
  one = subject(name)
  fewest, most = one.kind.card.modalities
  for count in {fewest, 3 if most is None else most}:
    spec = one.spec_of(count, outputs=(2, 3))
    model = one.build(spec)
    variables = jax.eval_shape(model.init, jax.random.key(0), spec.example())
    assert flops.parameters(variables["params"]) == CASES[name].parameters(model)


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
