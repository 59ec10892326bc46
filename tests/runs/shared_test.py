"""Runs that differ in their data alone have one set of compiled programs."""

import pytest

from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.hosts import mesh as meshes
from mcr_jax.runs.shared import Shared

SPEC = Spec({"text": 1, "audio": 1}, {"text": 3, "audio": 2}, samples=9)


def config(path="a.npz", **model):
  return configs.complete(
    {"data": {"path": path}, "model": {"name": "concat", **model}}
  )


@pytest.mark.parametrize(
  "other, spec, same",
  [
    (config("b.npz"), SPEC, True),
    (config(width=7), SPEC, False),
    (config(), Spec(SPEC.lengths, SPEC.widths, samples=8), False),
  ],
)
def test_programs_are_those_of_the_run_before_if_it_had_the_same(other, spec, same):
  shared, mesh = Shared(), meshes.make(1, 1)
  first = shared.of(config(), SPEC, mesh)
  assert (shared.of(other, spec, mesh) is first) == same
  assert shared.of(other, spec, mesh) is shared.of(other, spec, mesh)
