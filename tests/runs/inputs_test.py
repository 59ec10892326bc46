"""What a run depends on: the columns of dialogues, and labels by modality for heads."""

import dataclasses

import pytest

from mcr_jax import config as configs
from mcr_jax.models import tfn
from mcr_jax.runs import inputs


@pytest.mark.parametrize(
  "name, columns", [("tfn", ()), ("bc_lstm", ("turn", "speaker"))]
)
def test_a_run_depends_on_the_columns_of_its_unit(name, columns):
  assert inputs.columns_of(configs.complete({"model": {"name": name}})) == columns


def test_a_model_with_heads_depends_on_labels_by_modality(monkeypatch):
  card = dataclasses.replace(tfn.Model.card, auxiliary="unimodal")
  monkeypatch.setattr(tfn.Model, "card", card)
  found = inputs.columns_of(configs.complete({"model": {"name": "tfn"}}))
  assert found == ("label_text", "label_audio", "label_vision")
