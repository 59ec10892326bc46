"""Models of transformers from a folder: what is computed, and what is never opened."""

import json

import numpy as np
import pytest

from mcr_jax.errors import UserError
from mcr_jax.extract import hub
from mcr_jax.extract.clip import Extractor
from mcr_jax.extract.places import Places, find
from mcr_jax.extract.recipe import Recipe
from tests.extract import made

RATE = 16_000
SMALL = dict(
  hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=37
)
WAVE = dict(
  conv_dim=(16, 16),
  conv_kernel=(10, 8),
  conv_stride=(20, 16),
  num_conv_pos_embeddings=16,
  num_conv_pos_embedding_groups=2,
)


def folder_of(path, kind="wav2vec2", **more):
  """A folder that looks like a model, of which nothing can be computed."""
  path.mkdir(exist_ok=True)
  (path / "config.json").write_text(json.dumps({"model_type": kind} | more))
  (path / "model.safetensors").write_bytes(b"x")
  return path


def test_what_is_no_folder_is_told_so_in_a_line(tmp_path, monkeypatch):
  monkeypatch.setattr(hub, "check_installed", lambda: None)
  for name in ("facebook/wav2vec2-large", tmp_path / "none"):
    with pytest.raises(UserError, match="nothing is downloaded"):
      hub.label_of(hub.Path(name), "audio")
  with pytest.raises(UserError, match="--vision-model"):
    recipe = Recipe(text="none", audio="none", vision="hub")
    find(recipe, Places(), recognise=False)


def test_only_numbers_are_opened(tmp_path):
  path = folder_of(tmp_path / "m")
  one = hub.label_of(path, "audio")
  (path / "preprocessor_config.json").write_text("{}")
  assert hub.label_of(path, "audio") != one
  (path / "model.safetensors").rename(path / "pytorch_model.bin")
  with pytest.raises(UserError, match="model.safetensors"):
    hub.label_of(path, "audio")


@pytest.mark.parametrize(
  "config",
  [
    {"model_type": "gpt2"},
    {"model_type": ["wav2vec2"]},
    {"auto_map": {"AutoModel": "code.Model"}},
    {"quantization_config": {"quant_method": "bitsandbytes"}},
    [],
  ],
)
def test_configs_of_others_are_refused(tmp_path, config):
  path = folder_of(tmp_path / "m")
  known = {"model_type": "wav2vec2"}
  (path / "config.json").write_text(
    json.dumps(known | config if isinstance(config, dict) else config)
  )
  with pytest.raises(UserError):
    hub.label_of(path, "audio")


@pytest.mark.parametrize("part", ["../x.safetensors", "/x.safetensors", "x.bin", 3])
def test_an_index_leads_to_no_other_folder(tmp_path, part):
  path = folder_of(tmp_path / "m")
  (tmp_path / "x.safetensors").write_bytes(b"x")
  index = path / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": {"a": part}}))
  with pytest.raises(UserError):
    hub.label_of(path, "audio")
  index.write_text(json.dumps({"weight_map": {"a": "model.safetensors"}}))
  hub.label_of(path, "audio")


@pytest.fixture
def transformers():
  pytest.importorskip("torch", reason="needs the extra hub")
  found = pytest.importorskip("transformers", reason="needs the extra hub")
  import torch

  torch.manual_seed(0)
  return found


def saved(path, model, config):
  model.eval().save_pretrained(path)
  assert (path / "model.safetensors").is_file(), config
  return path


@pytest.mark.parametrize("kind", ["wav2vec2", "hubert"])
def test_sound_is_what_transformers_makes_of_it(
  tmp_path, transformers, offline, monkeypatch, kind
):
  import torch

  from mcr_jax.extract import learned

  name = {"wav2vec2": "Wav2Vec2", "hubert": "Hubert"}[kind]
  config = getattr(transformers, f"{name}Config")(
    **SMALL, **WAVE, do_stable_layer_norm=False
  )
  model = getattr(transformers, f"{name}Model")(config)
  sound = made.tone(1.0) + np.random.default_rng(0).normal(size=RATE) * 0.01
  found, times = learned.Sound(saved(tmp_path / "m", model, config))(sound, 50.0, 1.0)
  even = (sound - sound.mean()) / np.sqrt(sound.var() + 1e-7)
  with torch.inference_mode():
    wave = torch.from_numpy(even.astype(np.float32))
    states = model(wave[None]).last_hidden_state[0].numpy()
  assert found.shape == (50, 32) and len(times) == 50
  np.testing.assert_allclose(found[: len(states)], states, atol=1e-5)
  # Read in parts, every state is still one, in its place.
  monkeypatch.setattr(learned, "SECONDS", 0.4)
  monkeypatch.setattr(learned, "MARGIN", 0.1)
  parts, _ = learned.Sound(tmp_path / "m")(sound, 50.0, 1.0)
  assert parts.shape == found.shape
  np.testing.assert_allclose(parts[:10], found[:10], atol=0.2)


def test_pictures_are_what_transformers_makes_of_them(tmp_path, transformers, offline):
  import torch

  from mcr_jax.extract import learned

  vision = SMALL | dict(image_size=32, patch_size=8)
  words = SMALL | dict(vocab_size=40, projection_dim=8)
  config = transformers.CLIPConfig(
    vision_config=vision, text_config=words, projection_dim=8
  )
  whole = transformers.CLIPModel(config)
  see = learned.Pictures(saved(tmp_path / "m", whole, config))
  frame = np.random.default_rng(0).integers(0, 255, (32, 48, 3), dtype=np.uint8)
  found = see.look([frame, frame[:, ::-1]])
  middle = frame[:, 8:40].transpose(2, 0, 1) / 255.0
  x = (middle - see._mean) / see._deviation
  with torch.inference_mode():
    pixels = torch.from_numpy(x.astype(np.float32))[None]
    wanted = whole.vision_model(pixel_values=pixels).pooler_output.numpy()
  assert found.shape == (2, 32) == (2, len(see.names))
  np.testing.assert_allclose(found[:1], wanted, atol=1e-5)
  fresh = np.array([True, False])
  values, present = see.measure([found], fresh, 10.0)
  assert present.tolist() == [True, False] and not values[1].any()


def tokens(path, kind):
  """A tokenizer whose pieces are letters: a space is one, or none."""
  tokenizers = pytest.importorskip("tokenizers")
  models, pre = tokenizers.models, tokenizers.pre_tokenizers
  special = ["<s>", "<pad>", "</s>", "<unk>"]
  if kind == "roberta":
    letters = sorted(pre.ByteLevel.alphabet())[:90] + ["Ġ"]
    vocabulary = {x: i for i, x in enumerate([*special, *letters])}
    made = tokenizers.Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    made.pre_tokenizer = pre.ByteLevel(add_prefix_space=False)
  else:
    pieces = [*special, *"abcdefgh", *(f"##{x}" for x in "abcdefgh")]
    vocabulary = {x: i for i, x in enumerate(pieces)}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="<unk>"))
    made.pre_tokenizer = pre.Whitespace()
  made.post_processor = tokenizers.processors.TemplateProcessing(
    "<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
  )
  made.save(str(path / "tokenizer.json"))
  return made


@pytest.mark.parametrize("kind", ["roberta", "bert"])
def test_words_are_the_means_of_their_pieces(tmp_path, transformers, offline, kind):
  import torch

  from mcr_jax.extract import learned

  name = {"roberta": "Roberta", "bert": "Bert"}[kind]
  config = getattr(transformers, f"{name}Config")(
    **SMALL, vocab_size=100, max_position_embeddings=20, pad_token_id=1
  )
  model = getattr(transformers, f"{name}ForMaskedLM")(config)
  path = saved(tmp_path / "m", model, config)
  coded = tokens(path, kind)
  vectors = learned.Words(path)
  found = vectors.words(["ab", "c", "def"])
  ids = torch.tensor([coded.encode("ab c def").ids])
  with torch.inference_mode():
    states = model.base_model(ids).last_hidden_state[0].numpy()
  # RoBERTa's letters have the spaces among them.
  places = [(1, 3), (3, 5), (5, 9)] if kind == "roberta" else [(1, 3), (3, 4), (4, 7)]
  wanted = [states[a:b].mean(0) for a, b in places]
  np.testing.assert_allclose(found, wanted, atol=1e-5)
  many = vectors.words(["ab", "c", "def"] * 9)
  np.testing.assert_allclose(many[0], vectors.words(["ab"] + ["c", "def"] * 3)[0], 1)
  assert many.shape == (27, 32) and np.isfinite(many).all() and many.any(1).all()
  with pytest.raises(UserError, match="pieces"):
    vectors.words(["abcdefgh" * 3])


def test_other_weights_than_those_of_the_config_are_refused(tmp_path, transformers):
  config = transformers.BertConfig(**SMALL, vocab_size=40)
  path = saved(tmp_path / "m", transformers.BertModel(config), config)
  described = json.loads((path / "config.json").read_text())
  for change in (
    {"num_hidden_layers": 3},
    {"hidden_size": 48},
    {"hidden_size": "wide"},
    {"hidden_act": "nobody"},
    {"num_attention_heads": 5},
  ):
    (path / "config.json").write_text(json.dumps(described | change))
    with pytest.raises(UserError):
      hub.load(path, "text")
  harmless = {
    "_attn_implementation": "kernels-community/flash-attn",
    "_name_or_path": "/x",
  }
  (path / "config.json").write_text(json.dumps(described | harmless))
  hub.load(path, "text")
  (path / "model.safetensors").write_bytes(b"\x80\x04.")
  with pytest.raises(UserError):
    hub.load(path, "text")


def test_a_clip_by_models_of_ones_own_and_no_path_of_a_recipe(
  tmp_path, transformers, offline
):
  pytest.importorskip("av")
  config = transformers.Wav2Vec2Config(**SMALL, **WAVE, do_stable_layer_norm=False)
  path = saved(tmp_path / "m", transformers.Wav2Vec2Model(config), config)
  clip = tmp_path / "a.mkv"
  clip.write_bytes(made.clip(made.tone()))
  recipe = Recipe(text="none", audio="hub", vision="none")
  extractor = Extractor(recipe, Places(audio=str(path)))
  found = extractor(clip).features["audio"]
  assert found.values.shape == (20, 32) and found.names[0] == "wav2vec2_0000"
  assert str(tmp_path) not in extractor.recipe.to_json()
  with pytest.raises(UserError, match="--audio-model"):
    Extractor(extractor.recipe)
  (path / "preprocessor_config.json").write_text('{"do_normalize": false}')
  with pytest.raises(UserError, match="differ"):
    Extractor(extractor.recipe, Places(audio=str(path)))
