"""Vectors of words from a model of the BERT family, computed in JAX.

The encoder of Devlin et al. (BERT, NAACL 2019), post-norm, from a folder as
`save_pretrained` leaves it: config.json, model.safetensors, tokenizer.json. Nothing in
it is code, and nothing is unpickled. A word is the mean of the last layer over its
pieces.
"""

import dataclasses
import functools
import importlib.util
import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from mcr_jax.errors import UserError
from mcr_jax.extract import weights as weights_files

KINDS = ("bert",)
ACTIVATIONS = {
  "gelu": functools.partial(jax.nn.gelu, approximate=False),
  "gelu_new": functools.partial(jax.nn.gelu, approximate=True),
  "relu": jax.nn.relu,
}
SHORTEST = 16  # what a sequence is padded to, at least: few programs for all lengths


@dataclasses.dataclass(frozen=True)
class Encoder:
  """A language model that makes words vectors.

  Attributes:
    weights: name -> array, names without a prefix.
    heads: of attention.
    layers: of the transformer.
    epsilon: of layer norms.
    activation: key of `ACTIVATIONS`.
    longest: pieces that have a position.
    tokenizer: of the `tokenizers` library.
  """

  weights: dict[str, jax.Array]
  heads: int
  layers: int
  epsilon: float
  activation: str
  longest: int
  tokenizer: object

  @property
  def width(self) -> int:
    """Features of a word."""
    return self.weights["embeddings.word_embeddings.weight"].shape[1]

  def words(self, words: Sequence[str]) -> np.ndarray:
    """(words, width) float32; long texts are read in pieces of what fits."""
    found = np.zeros((len(words), self.width), np.float32)
    for first, ids, owner in parts(self._coded, list(words), self.longest):
      states = np.asarray(self._run(ids))[: len(ids)]
      for word in np.unique(owner[owner >= 0]):
        found[first + word] = states[owner == word].mean(0)
    return found

  def _coded(self, words: list[str]):
    """Ids of the pieces of words, and the word of each piece or None."""
    coded = self.tokenizer.encode(words, is_pretokenized=True)
    return coded.ids, coded.word_ids

  def _run(self, ids: np.ndarray) -> jax.Array:
    size = max(SHORTEST, 1 << math.ceil(math.log2(len(ids))))
    size = min(size, self.longest)
    padded = np.zeros(size, np.int32)
    padded[: len(ids)] = ids
    shape = self.heads, self.layers, self.epsilon, self.activation
    return _encode(self.weights, padded, np.arange(size) < len(ids), shape)


def load(folder: str | Path) -> Encoder:
  """The language model of a folder.

  Raises:
    UserError: a file is missing, or it is no model of the BERT family.
  """
  folder = Path(folder).expanduser()
  for name in ("tokenizers", "safetensors"):
    if importlib.util.find_spec(name) is None:
      raise UserError(f'Vectors of words need {name}: pip install "mcr_jax[extract]".')
  weights_files.require(folder)
  config = _config(folder / "config.json")
  weights = jax.device_put(_weights(folder / "model.safetensors"))
  tokenizer = tokenizer_of(folder)
  encoder = Encoder(
    weights,
    config["num_attention_heads"],
    config["num_hidden_layers"],
    config["layer_norm_eps"],
    config["hidden_act"],
    min(config["max_position_embeddings"], 512),
    tokenizer,
  )
  _check(folder, encoder, config)
  return encoder


def parts(
  coded: Callable[[list[str]], tuple[list[int], list[int | None]]],
  words: list[str],
  longest: int,
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
  """Pieces of a text: first word, ids with special ones, the word of each or -1.

  Args:
    coded: ids of words, and the word of each id.
    words: of the text.
    longest: ids that a model can read at once.
  """
  first = 0
  while first < len(words):
    count = len(words) - first
    while True:
      ids, owners = coded(words[first : first + count])
      if len(ids) <= longest:
        break
      # The word that is cut is left to the next piece, and all that follow.
      count = owners[longest - 1] or 0
      if count < 1:
        raise UserError(
          f"The word {words[first][:40]!r}... has more pieces than the "
          f"{longest} that the language model can read."
        )
    yield first, np.array(ids), np.array([-1 if w is None else w for w in owners])
    first += count


def tokenizer_of(folder: Path):
  """The tokenizer of a folder, which cuts and pads nothing."""
  from tokenizers import Tokenizer

  try:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
  except Exception as error:  # the library raises plain Exceptions
    raise UserError(f"{folder}/tokenizer.json cannot be read: {error}.") from None
  tokenizer.no_truncation()
  tokenizer.no_padding()
  return tokenizer


def _config(path: Path) -> dict:
  try:
    config = json.loads(path.read_text(encoding="utf-8"))
    kinds = {
      "num_attention_heads": int,
      "num_hidden_layers": int,
      "layer_norm_eps": float,
      "hidden_act": str,
      "max_position_embeddings": int,
      "hidden_size": int,
    }
    found = {name: kind(config[name]) for name, kind in kinds.items()}
    model = str(config.get("model_type"))
  except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
    raise UserError(f"{path} is no config of a language model ({error!r}).") from None
  if model not in KINDS:
    raise UserError(
      f"{path}: a model of type {model!r}; what is computed here is {', '.join(KINDS)}."
    )
  if found["hidden_act"] not in ACTIVATIONS:
    raise UserError(
      f"{path}: hidden_act={found['hidden_act']!r} must be one of "
      f"{', '.join(ACTIVATIONS)}."
    )
  if min(found["num_attention_heads"], found["num_hidden_layers"]) < 1:
    raise UserError(f"{path} names no heads or no layers.")
  return found


def _weights(path: Path) -> dict[str, np.ndarray]:
  from safetensors import SafetensorError, safe_open

  found = {}
  try:
    with safe_open(path, framework="numpy") as file:
      for key in file.keys():  # noqa: SIM118
        name = key.removeprefix("bert.")
        if name.startswith(("embeddings.", "encoder.")) and "position_ids" not in name:
          found[name] = file.get_tensor(key).astype(np.float32)
  except (SafetensorError, ValueError, TypeError) as error:
    raise UserError(f"{path} cannot be read: {error}.") from None
  return found


def _check(folder, encoder, config) -> None:
  """Raises where the weights are not those that the config describes."""
  d, shapes = config["hidden_size"], {}
  if d % encoder.heads:
    raise UserError(f"{folder}: {encoder.heads} heads do not divide a width of {d}.")
  for name in ("word_embeddings", "position_embeddings", "token_type_embeddings"):
    shapes[f"embeddings.{name}.weight"] = (None, d)
  shapes["embeddings.LayerNorm.weight"] = shapes["embeddings.LayerNorm.bias"] = (d,)
  for i in range(encoder.layers):
    at = f"encoder.layer.{i}."
    for name in ("attention.self.query", "attention.self.key", "attention.self.value"):
      shapes |= {f"{at}{name}.weight": (d, d), f"{at}{name}.bias": (d,)}
    shapes |= {f"{at}attention.output.dense.weight": (d, d)}
    shapes |= {f"{at}intermediate.dense.weight": (None, d)}
    shapes |= {f"{at}output.dense.weight": (d, None)}
    for name in ("attention.output", "output"):
      shapes |= {f"{at}{name}.LayerNorm.{x}": (d,) for x in ("weight", "bias")}
      shapes |= {f"{at}{name}.dense.bias": (d,)}
  for name, wanted in shapes.items():
    x = encoder.weights.get(name)
    fits = x is not None and len(x.shape) == len(wanted)
    fits = fits and all(w in (None, n) for w, n in zip(wanted, x.shape, strict=True))
    if not fits:
      found = "not there" if x is None else f"of shape {x.shape}"
      raise UserError(f"{folder}: {name} is {found}; its config wants {wanted}.")
  positions = encoder.weights["embeddings.position_embeddings.weight"]
  pieces = encoder.weights["embeddings.word_embeddings.weight"]
  if len(positions) < encoder.longest or encoder.tokenizer.get_vocab_size() > len(
    pieces
  ):
    raise UserError(f"{folder}: the tokenizer or the config belongs to other weights.")


@functools.partial(jax.jit, static_argnames="shape")
def _encode(weights, ids, mask, shape):
  """(T, width), the last layer, of one sequence of ids (T,) with its mask."""
  heads, layers, epsilon, activation = shape

  def dense(name, x):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"][None]

  def norm(name, x):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    x = (x - mean) / jnp.sqrt(variance + epsilon)
    return x * weights[f"{name}.weight"][None] + weights[f"{name}.bias"][None]

  at = "embeddings."
  x = weights[at + "word_embeddings.weight"][ids]
  x = x + weights[at + "position_embeddings.weight"][: len(ids)]
  x = norm(at + "LayerNorm", x + weights[at + "token_type_embeddings.weight"][:1])
  for i in range(layers):
    at = f"encoder.layer.{i}."
    q, k, v = (
      dense(f"{at}attention.self.{name}", x).reshape(len(ids), heads, -1)
      for name in ("query", "key", "value")
    )
    scores = jnp.einsum("qhd,khd->hqk", q, k) / math.sqrt(q.shape[-1])
    scores = jnp.where(mask[None, None], scores, -jnp.inf)
    read = jnp.einsum("hqk,khd->qhd", jax.nn.softmax(scores), v).reshape(x.shape)
    x = norm(
      f"{at}attention.output.LayerNorm", x + dense(f"{at}attention.output.dense", read)
    )
    y = ACTIVATIONS[activation](dense(f"{at}intermediate.dense", x))
    x = norm(f"{at}output.LayerNorm", x + dense(f"{at}output.dense", y))
  return x
