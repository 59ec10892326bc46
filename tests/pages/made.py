"""A run that was written, not trained, and whose names would break a page.

Its parameters and predictions are random numbers: to train it would take half a minute.
"""

import dataclasses
import json
from pathlib import Path

import jax
import numpy as np

from mcr_jax import config as configs
from mcr_jax import evaluators
from mcr_jax.contract import Spec
from mcr_jax.data import npz
from mcr_jax.data.load import lengths_of
from mcr_jax.data.normalize import Normalizer
from mcr_jax.runs import inputs
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.writer import Writer, describe
from tests.training import tiny

EVIL = "<script>alert(1)</script>"
LAYERS = 2
SEEDS = (1, 3)


def dataset():
  """Text with words and times, audio with times; ids of the test split are markup."""
  data = tiny.dataset()
  modalities = {}
  for name in ("text", "audio"):
    x = data.modalities[name]
    starts = np.arange(len(x.mask)) * 0.1
    words = None
    if name == "text":
      within = np.arange(len(x.mask)) - np.repeat(x.offsets[:-1], x.lengths)
      words = np.array([f"w{i}" if i else EVIL for i in within])
    times = np.stack([starts, starts + 0.1], -1)
    modalities[name] = dataclasses.replace(x, words=words, times=times)
  ids = data.ids.astype("U40")
  ids[data.indices("test")] = [f"{EVIL}{i}" for i in range(tiny.COUNTS["test"])]
  return dataclasses.replace(data, ids=ids, modalities=modalities)


def run(folder: Path) -> Path:
  """Its workdir, with all that training leaves, and a study of robustness."""
  data, workdir = dataset(), folder / "run"
  npz.write(folder / "data.npz", data)
  model = {"name": "mcr", "width": 4, "heads": 2, "num_layers": LAYERS}
  config = tiny.config(folder / "data.npz", model, seeds=SEEDS)
  widths = {m: x.width for m, x in data.modalities.items()}
  spec = Spec(lengths_of(data), widths, scheme="regression", samples=len(data))
  writer = Writer(workdir)
  writer.write_text("config.json", configs.to_json(config))
  facts = {"data": {"source": "data.npz", "digest": "", "notes": []}, "format": 2}
  facts |= {"seeds": list(SEEDS), "shape": spec.to_json(), "finished": True}
  writer.write_facts(describe() | facts)
  Normalizer.fit(data).save(workdir / "normalization.npz")
  Checkpoints(workdir).save_best(2, {"params": parameters(config, spec)}, {})
  history = [
    {"epoch": e, "train/loss": [2 / e, 3 / e], "valid/loss": [2.0, None]}
    for e in (1, 2, 3)
  ]
  lines = "".join(f"{json.dumps(row)}\n" for row in history)
  (workdir / "metrics.jsonl").write_text(lines)
  evaluate(workdir, data.select(data.indices("test")))
  curve = {"mean": [1.0, 1.5], "std": [0.1, None], "seeds": [[1, 1], [1.5, 1.5]]}
  study = {"split": "test", "kind": "drop", "levels": [0, 0.5]}
  study["metrics"] = {"mae": {"audio": curve, "all": curve}}
  path = workdir / "eval" / "robustness_drop_test.json"
  path.write_text(json.dumps(study))
  return workdir


def parameters(config, spec: Spec):
  """Random ones of all seeds, drawn by shape: to initialise would compile."""
  model = inputs.build_model(config, spec)
  shapes = jax.eval_shape(lambda b: model.init(jax.random.key(0), b), spec.example())
  random = np.random.default_rng(0)
  draw = lambda x: random.normal(0, 0.5, (len(SEEDS), *x.shape)).astype(x.dtype)
  return jax.tree.map(draw, shapes["params"])


def evaluate(workdir: Path, part) -> None:
  """Predictions that err by their position: the last sample is the worst."""
  wrong = np.arange(len(part)) / 10
  predictions = np.stack([part.labels + wrong, part.labels + wrong])[..., None]
  scheme = "sentiment" if np.abs(part.labels).max() <= 3 else "regression"
  results = evaluators.summarise(scheme, predictions, part.labels, seeds=SEEDS)
  evaluators.write(workdir, "test", results, part.ids, part.labels, predictions)


def table(folder: Path, run: Path) -> Path:
  """The folder of a table whose only finished run is this one."""
  (folder / "runs").mkdir(parents=True)
  (folder / "runs" / "one").symlink_to(run)
  column = {"id": "mae", "metric": "mae", "title": "MAE", "group": "MOSI"}
  column |= {"corpus": "mosi", "better": "lower", "decimals": 3}
  column |= {"definition": "How far off."}
  none = {"published": 0.9, "mean": None, "std": None, "seeds": [], "difference": None}
  ours = {"published": 0.8, "mean": 0.85, "std": 0.01, "seeds": [0.84, 0.86]}
  ours |= {"difference": 0.05, "best": True, "dagger": True, "holm": False}
  rows = [
    {"name": "MCR", "kind": "exact", "status": "done", "runs": {"mosi": "one"}},
    {
      "name": EVIL,
      "kind": "reconstruction",
      "status": "missing",
      "runs": {"mosi": "two"},
    },
  ]
  rows[0]["cells"], rows[1]["cells"] = {"mae": ours}, {"mae": none}
  runs = {
    key: {"folder": f"runs/{key}", "config": "mcr_mosi"} for key in ("one", "two")
  }
  comparison = {"section": 0, "column": "mae", "best": "MCR", "other": EVIL}
  content = {
    "kind": "table",
    "name": "mcr-table2",
    "title": "Comparison",
    "paper": "MCR",
    "source": "Table 2",
    "synthetic": "Synthetic data.",
    "command": "python -m mcr_jax.reproduce mcr-table2",
    "data": {"mosi": {"path": "x.npz", "digest": "ab"}},
    "columns": [column],
    "sections": [{"title": "Aligned", "rows": rows}],
    "comparisons": [comparison | {"difference": -0.1, "p_seeds": None}],
    "runs": runs,
  }
  (folder / "table.json").write_text(json.dumps(content))
  return folder
