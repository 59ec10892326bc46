"""Runs of seconds: a small ragged data set in a file, and configs that train on it."""

import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from mcr_jax import config as configs
from mcr_jax.data import npz
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.runs.writer import Writer, read

WIDTHS = {"text": 5, "audio": 3, "vision": 2}
LONGEST = {"text": 5, "audio": 17, "vision": 11}
COUNTS = {"train": 29, "valid": 13, "test": 11}
CONCAT = {"name": "concat", "width": 8, "dropout": 0.2}
MCR = {
  "name": "mcr",
  "width": 8,
  "heads": 2,
  "num_layers": 2,
  "attention_dropout": 0.2,
  "relu_dropout": 0.1,
  "residual_dropout": 0.1,
  "embed_dropout": 0.1,
}


def dataset(
  task: str = "regression", seed: int = 0, longest: dict = LONGEST, **changes
) -> Dataset:
  """Sequences with holes; the last sample of each split misses its audio."""
  random = np.random.default_rng(seed)
  count = sum(COUNTS.values())
  splits = np.repeat(list(COUNTS), list(COUNTS.values()))
  signal = random.normal(size=count)
  modalities = {}
  for name, width in WIDTHS.items():
    lengths = (1 + random.random(count) ** 3 * longest[name]).astype(int)
    lengths[0] = longest[name]
    if name == "audio":
      lengths[np.cumsum(list(COUNTS.values())) - 1] = 0
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = random.normal(size=(offsets[-1], width))
    values[:, 0] += np.repeat(signal, lengths)
    mask = random.random(offsets[-1]) < 0.9
    mask[offsets[1:][lengths > 0] - 1] = True
    modalities[name] = Modality(values.astype(np.float32), offsets, mask)
  order = np.argsort(np.argsort(signal))
  labels, names = signal.astype(np.float32), ()
  if task != "regression":
    labels, names = (3 * order // count).astype(np.int32), ("low", "mid", "high")
  if task == "binary":
    labels = (labels[:, None] == np.arange(3)).astype(np.int32)
  fields = dict(modalities=modalities, splits=splits, labels=labels, class_names=names)
  return Dataset(np.arange(count).astype(str), **{**fields, **changes})


def write(folder: Path, task: str = "regression", **more) -> Path:
  """The file of a data set."""
  path = folder / f"{task}.npz"
  npz.write(path, dataset(task, **more))
  return path


def config(path: Path, model: dict = CONCAT, **groups) -> ConfigDict:
  """Two seeds, three epochs of four batches, the last of them short, on one device."""
  given = {
    "seeds": (1, 3),
    "mesh": {"seed": 1, "data": 1},
    "data": {"path": str(path), "buckets": 2},
    "model": model,
    "optim": {"lr": 0.01},
    "train": {"epochs": 3, "batch_size": 8, "steps_per_call": 1},
  }
  for group, fields in groups.items():
    given[group] = fields if group == "seeds" else {**given.get(group, {}), **fields}
  return configs.complete(given)


def epochs(workdir: Path) -> list[dict]:
  """metrics.jsonl without the times."""
  return [
    {k: v for k, v in row.items() if k != "seconds"}
    for row in read(workdir / "metrics.jsonl")
  ]


def unfinish(workdir: Path) -> None:
  """As if the run had been stopped after its last checkpoint."""
  facts = json.loads((workdir / "run.json").read_text())
  Writer(workdir).write_facts(facts | {"finished": False})


def predictions(workdir: Path, split: str = "test") -> np.ndarray:
  """(S, N, *outputs) that training left behind."""
  with np.load(workdir / "eval" / f"{split}.npz") as arrays:
    return arrays["predictions"]


def newest_digests(workdir: Path) -> dict[str, str]:
  """The digests over every bit of the newest checkpoints."""
  found = json.loads((workdir / "digests.json").read_text())
  return {kind: found[kind][max(found[kind], key=int)] for kind in ("best", "last")}


def assert_close(rows: list[dict], others: list[dict], tolerance: float = 1e-5) -> None:
  """Every value of every epoch, nulls at the same places."""
  assert len(rows) == len(others)
  for row, other in zip(rows, others, strict=True):
    assert row.keys() == other.keys()
    for name in row.keys() - {"reasons"}:
      one, two = np.array(row[name], float), np.array(other[name], float)
      np.testing.assert_allclose(one, two, rtol=tolerance, err_msg=name)
