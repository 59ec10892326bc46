"""A run on features of clips that was written, not trained: words and sound."""

import json

import numpy as np

from mcr_jax import config as configs
from mcr_jax.contract import Spec
from mcr_jax.data.normalize import Normalizer
from mcr_jax.extract import audio, recipe, weights
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.writer import Writer, describe
from tests.pages.made import parameters
from tests.training import tiny

SEEDS = (1, 3)
LENGTHS = {"text": 8, "audio": 40}
WIDTHS = {"text": 384, "audio": len(audio.NAMES)}


def run(folder):
  """Its workdir."""
  model = {"name": "mcr", "width": 4, "heads": 2, "num_layers": 2}
  config = tiny.config(folder / "data.npz", model, seeds=SEEDS)
  spec = Spec(LENGTHS, WIDTHS, scheme="regression", samples=1)
  own = recipe.Recipe(vision="none", text_weights=weights.label("minilm"))
  writer = Writer(folder / "run")
  writer.write_text("config.json", configs.to_json(config))
  data = {"source": "data.npz", "digest": "", "notes": []}
  data["extract"] = json.loads(own.to_json())
  facts = {"data": data, "format": 2, "seeds": list(SEEDS), "finished": True}
  writer.write_facts(describe() | facts | {"shape": spec.to_json()})
  mean = {m: np.zeros(n) for m, n in WIDTHS.items()}
  std = {m: np.full(n, 5.0) for m, n in WIDTHS.items()}
  Normalizer(mean, std).save(folder / "run" / "normalization.npz")
  Checkpoints(folder / "run").save_best(2, {"params": parameters(config, spec)}, {})
  return folder / "run"
