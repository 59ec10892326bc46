"""What a run depends on: the columns of dialogues, and labels by modality for heads."""

import dataclasses

import pytest

from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.errors import UserError
from mcr_jax.models import tfn
from mcr_jax.runs import inputs


@pytest.mark.parametrize(
  "name, columns", [("tfn", ()), ("bc_lstm", ("turn", "speaker"))]
)
def test_a_run_depends_on_the_columns_of_its_unit(name, columns):
  assert inputs.columns_of(configs.complete({"model": {"name": name}})) == columns


def test_a_relative_path_of_data_holds_in_other_folders(tmp_path, monkeypatch):
  config = configs.complete({"data": {"path": "x.npz", "vectors": "glove.txt"}})
  monkeypatch.chdir(tmp_path)
  facts = {"data": inputs.places_of(config)}
  (tmp_path / "other").mkdir()
  monkeypatch.chdir(tmp_path / "other")
  # Where it is no longer there, what was typed may still be right: both moved.
  assert inputs.with_data_of(config, facts) is config
  (tmp_path / "x.npz").touch()
  found = inputs.with_data_of(config, facts).data
  assert (found.path, found.vectors) == (str(tmp_path / "x.npz"), "glove.txt")
  (tmp_path / "glove.txt").touch()
  found = inputs.with_data_of(config, facts).data
  assert found.vectors == str(tmp_path / "glove.txt")
  assert inputs.with_data_of(config, {"data": {}}) is config


def test_settings_of_modalities_that_the_data_lacks_are_left():
  rates = {"attention_dropouts": {"vision": 0.0, "audio": 0.1}}
  given = {"model": {"name": "mult", **rates}, "data": {"absent": "leave"}}
  spec = Spec(lengths={"text": 3, "audio": 4}, widths={"text": 2, "audio": 2})
  model = inputs.build_model(configs.complete(given), spec)
  assert dict(model.attention_dropouts) == {"audio": 0.1}
  given["data"]["absent"] = "error"
  with pytest.raises(UserError, match="'vision'"):
    inputs.build_model(configs.complete(given), spec)


def test_an_order_leaves_out_modalities_that_the_data_lacks():
  given = {
    "model": {"name": "mctn", "order": ("vision", "audio", "text")},
    "data": {"absent": "leave"},
  }
  build = lambda *names: inputs.build_model(
    configs.complete(given),
    Spec(lengths=dict.fromkeys(names, 3), widths=dict.fromkeys(names, 2)),
  )
  assert build("text", "audio").order == ("audio", "text")
  # Nothing that is left would say all of them.
  with pytest.raises(UserError, match="'vision'"):
    build("gaze")
  given["data"]["absent"] = "error"
  with pytest.raises(UserError, match="'vision'"):
    build("text", "audio")


def test_synthetic_data_has_no_place():
  for path in ("synthetic", "synthetic:mosi"):
    config = configs.complete({"data": {"path": path}})
    assert inputs.places_of(config) == {"place": ""}


def test_a_model_with_heads_depends_on_labels_by_modality(monkeypatch):
  card = dataclasses.replace(tfn.Model.card, auxiliary="unimodal")
  monkeypatch.setattr(tfn.Model, "card", card)
  found = inputs.columns_of(configs.complete({"model": {"name": "tfn"}}))
  assert found == ("label_text", "label_audio", "label_vision")
