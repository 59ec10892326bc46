"""BERT in JAX against the paper's equations in float64, on a small random model."""

import json

import numpy as np
import pytest
import scipy.special

from mcr_jax.errors import UserError
from mcr_jax.extract import text

D, HEADS, LAYERS, VOCABULARY, POSITIONS = 8, 2, 2, 40, 24
WORDS = "a b c d e f g h".split()


def model(folder, **changes):
  """A model of random weights, and these by name."""
  pytest.importorskip("safetensors")
  tokenizers = pytest.importorskip("tokenizers")
  from safetensors.numpy import save_file

  rng = np.random.default_rng(0)
  draw = lambda *shape: rng.normal(size=shape).astype(np.float32) * 0.3
  weights = {
    "embeddings.word_embeddings.weight": draw(VOCABULARY, D),
    "embeddings.position_embeddings.weight": draw(POSITIONS, D),
    "embeddings.token_type_embeddings.weight": draw(2, D),
    "embeddings.LayerNorm.weight": 1 + draw(D),
    "embeddings.LayerNorm.bias": draw(D),
  }
  for i in range(LAYERS):
    at = f"encoder.layer.{i}."
    for name, shape in (
      ("attention.self.query", (D, D)),
      ("attention.self.key", (D, D)),
      ("attention.self.value", (D, D)),
      ("attention.output.dense", (D, D)),
      ("intermediate.dense", (12, D)),
      ("output.dense", (D, 12)),
    ):
      weights |= {
        f"{at}{name}.weight": draw(*shape),
        f"{at}{name}.bias": draw(shape[0]),
      }
    for name in ("attention.output", "output"):
      weights[f"{at}{name}.LayerNorm.weight"] = 1 + draw(D)
      weights[f"{at}{name}.LayerNorm.bias"] = draw(D)
  folder.mkdir(exist_ok=True)
  saved = {f"bert.{k}": v for k, v in weights.items()}
  save_file(saved, folder / "model.safetensors")
  config = {
    "model_type": "bert",
    "num_attention_heads": HEADS,
    "num_hidden_layers": LAYERS,
    "layer_norm_eps": 1e-12,
    "hidden_act": "gelu",
    "max_position_embeddings": POSITIONS,
    "hidden_size": D,
  }
  (folder / "config.json").write_text(json.dumps(config | changes))
  pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, "##x", "##y"]
  vocabulary = {piece: i for i, piece in enumerate(pieces)}
  made = tokenizers.Tokenizer(
    tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]")
  )
  made.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
  made.post_processor = tokenizers.processors.TemplateProcessing(
    "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
  )
  made.save(str(folder / "tokenizer.json"))
  return weights


def reference(weights, ids):
  """(T, D) in float64, a step at a time as the paper has it."""
  w = {k: v.astype(np.float64) for k, v in weights.items()}

  def norm(x, name):
    x = (x - x.mean()) / np.sqrt(x.var() + 1e-12)
    return x * w[f"{name}.weight"] + w[f"{name}.bias"]

  dense = lambda x, name: w[f"{name}.weight"] @ x + w[f"{name}.bias"]
  x = [
    norm(
      w["embeddings.word_embeddings.weight"][i]
      + w["embeddings.position_embeddings.weight"][t]
      + w["embeddings.token_type_embeddings.weight"][0],
      "embeddings.LayerNorm",
    )
    for t, i in enumerate(ids)
  ]
  size = D // HEADS
  for layer in range(LAYERS):
    at = f"encoder.layer.{layer}."
    q, k, v = (
      [dense(row, f"{at}attention.self.{n}") for row in x]
      for n in ("query", "key", "value")
    )
    new = []
    for t, row in enumerate(x):
      read = []
      for head in range(HEADS):
        part = slice(head * size, (head + 1) * size)
        scores = np.array([q[t][part] @ key[part] for key in k]) / np.sqrt(size)
        odds = scipy.special.softmax(scores)
        read.append(sum(o * value[part] for o, value in zip(odds, v, strict=True)))
      y = row + dense(np.concatenate(read), f"{at}attention.output.dense")
      y = norm(y, f"{at}attention.output.LayerNorm")
      z = dense(y, f"{at}intermediate.dense")
      z = z * scipy.special.ndtr(z)
      new.append(norm(y + dense(z, f"{at}output.dense"), f"{at}output.LayerNorm"))
    x = new
  return np.array(x)


def test_words_are_the_means_of_their_pieces(tmp_path):
  weights = model(tmp_path / "m")
  found = text.load(tmp_path / "m").words(["a", "bxy", "c"])
  states = reference(weights, [2, 4, 5, 12, 13, 6, 3])
  wanted = [states[1], states[2:5].mean(0), states[5]]
  np.testing.assert_allclose(found, wanted, atol=2e-5)


def test_long_texts_are_read_in_parts_of_what_fits(tmp_path):
  model(tmp_path / "m")
  encoder = text.load(tmp_path / "m")
  words = WORDS * 7
  found = encoder.words(words)
  room = POSITIONS - 2
  np.testing.assert_allclose(found[:room], encoder.words(words[:room]), atol=1e-6)
  np.testing.assert_allclose(found[-12:], encoder.words(words[-12:]), atol=1e-6)
  with pytest.raises(UserError):
    encoder.words(["a" + "x" * 60])


@pytest.mark.parametrize(
  "changes",
  [
    {"model_type": "gpt2"},
    {"num_attention_heads": 3},
    {"num_hidden_layers": 3},
    {"hidden_act": "swish"},
    {"hidden_size": "wide"},
    {"max_position_embeddings": 500},
  ],
)
def test_what_the_weights_are_not_is_refused(tmp_path, changes):
  model(tmp_path / "m", **changes)
  with pytest.raises(UserError):
    text.load(tmp_path / "m")


def test_missing_and_damaged_files_are_refused(tmp_path):
  with pytest.raises(UserError):
    text.load(tmp_path)
  model(tmp_path / "m")
  (tmp_path / "m" / "model.safetensors").write_bytes(b"\xff" * 64)
  with pytest.raises(UserError):
    text.load(tmp_path / "m")


def test_minilm_tells_alike_from_unlike(brought):
  encoder = text.load(brought("minilm"))
  mean = lambda line: encoder.words(line.split()).mean(0)
  unit = lambda x: x / np.linalg.norm(x)
  one, same, other = (
    unit(mean(x))
    for x in ("I loved this movie", "The film was great", "Stocks fell on Monday")
  )
  assert one @ same > 0.3 + one @ other
