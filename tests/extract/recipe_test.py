"""What a recipe needs is told at once, and its weights are those that it names."""

import dataclasses

import pytest

from mcr_jax.errors import DamagedCheckpoint, UserError
from mcr_jax.extract import weights
from mcr_jax.extract.clip import Extractor
from mcr_jax.extract.places import Places
from mcr_jax.extract.recipe import Recipe

pytest.importorskip("av")
OF_SOUND = Recipe(text="none", vision="none")


def test_missing_weights_are_told_before_any_clip(tmp_path, monkeypatch):
  monkeypatch.setenv("MCR_JAX_MODELS", str(tmp_path))
  for recipe in (Recipe(vision="none"), Recipe(text="none"), Recipe(text="bert")):
    with pytest.raises(UserError):
      Extractor(recipe)
  assert Extractor(OF_SOUND).recipe == OF_SOUND


def test_weights_of_other_bytes_are_refused(tmp_path, monkeypatch):
  monkeypatch.setenv("MCR_JAX_MODELS", str(tmp_path))
  for path in weights.SOURCES["face"].files:
    file = tmp_path / "face" / path.rpartition("/")[2]
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"TFL3 of somebody else")
  with pytest.raises(DamagedCheckpoint):
    weights.folder("face")


def test_a_model_of_ones_own_is_all_of_its_files(tmp_path):
  bert = dataclasses.replace(OF_SOUND, text="bert")
  with pytest.raises(UserError):
    Extractor(bert, Places(str(tmp_path)))
  for name in ("config.json", "model.safetensors", "tokenizer.json"):
    (tmp_path / name).write_text("{}")
  one = Extractor(bert, Places(str(tmp_path))).recipe.text_weights
  (tmp_path / "tokenizer.json").write_text("{ }")
  extractor = Extractor(bert, Places(str(tmp_path)))
  assert extractor.recipe.text_weights != one
  with pytest.raises(DamagedCheckpoint):  # that is the fault of no clip
    _ = extractor.encoder


def test_a_recipe_of_other_weights_is_not_extracted_by(brought):
  whole = Extractor(Recipe(text="none")).recipe
  assert whole.vision_weights == weights.label("face")
  with pytest.raises(UserError):
    Extractor(dataclasses.replace(whole, vision_weights="0" * 64))
