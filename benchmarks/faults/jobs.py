"""The four programs that write, on the smallest data that has everything in it."""

import json
import pathlib
import pickle
import shutil
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.faults import subject
from mcr_jax.data import npz
from mcr_jax.data.schema import Dataset, Modality

# A checkpoint after every second step: two epochs of four have everything twice.
CONFIG = """
import ml_collections as mlc
def get_config():
  c = mlc.ConfigDict()
  c.seeds, c.mesh = (1, 3), dict(seed=1, data=1)
  c.data = dict(path={data!r}, buckets=2, modality_dropout=0.2)
  c.model = dict(name="concat", width=4, dropout=0.2)
  c.optim = dict(lr=0.01, schedule="plateau", plateau_patience=1)
  c.train = dict(epochs=2, batch_size=8, steps_per_call=2, checkpoint_seconds=0.001)
  return c
"""
SWEEP = """
def get_sweep():
  return [{"name": "slow", "optim.lr": 0.01}, {"name": "fast", "optim.lr": 0.02}]
"""


class Job(NamedTuple):
  """A program on its data.

  Attributes:
    name: of it.
    module: that has its `main`.
    arguments: of a first call, from the folder that it writes into.
    again: of the call that goes on after a fault.
    ready: makes that folder, as it is before the first call.
  """

  name: str
  module: str
  arguments: Callable[[pathlib.Path], list[str]]
  again: Callable[[pathlib.Path], list[str]]
  ready: Callable[[pathlib.Path], object]

  def start(
    self, folder: pathlib.Path, *, again: bool = False, before=lambda: None
  ) -> subject.Program:
    """Starts the program on a folder; what it says goes elsewhere: that may be full."""
    given = self.again(folder) if again else self.arguments(folder)
    logs = folder.parent.with_name(f"{folder.parent.name}.said")
    return subject.Program(self.module, given, logs, before)


def write_data(folder: pathlib.Path) -> pathlib.Path:
  """53 ragged samples of two modalities, 29 of them to train on."""
  random = np.random.default_rng(0)
  splits = np.repeat(["train", "valid", "test"], [29, 13, 11])
  signal, modalities = random.normal(size=len(splits)), {}
  for name, width, longest in (("text", 5, 5), ("audio", 3, 9)):
    lengths = 1 + random.integers(longest, size=len(splits))
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    values = random.normal(size=(offsets[-1], width)).astype(np.float32)
    values[:, 0] += np.repeat(signal, lengths)
    modalities[name] = Modality(values, offsets, np.ones(len(values), bool))
  ids = np.array([f"sample_{i}" for i in range(len(splits))])
  path = folder / "data.npz"
  labels = signal.astype(np.float32)
  npz.write(path, Dataset(ids, modalities, splits=splits, labels=labels))
  return path


def make(folder: pathlib.Path) -> dict[str, Job]:
  """The jobs by name, with their shared files in `folder`; the run is trained once."""
  data, config, points = write_data(folder), folder / "config.py", folder / "sweep.py"
  config.write_text(CONFIG.format(data=str(data)))
  points.write_text(SWEEP)
  run, pickled = folder / "run", folder / "data.pkl"
  _write_pickle(pickled)
  new = lambda place: shutil.rmtree(place, ignore_errors=True)
  train = lambda place: ["--config", str(config), "--workdir", str(place)]
  sweep = lambda place: [*train(place), "--sweep", str(points)]
  evaluate = lambda place: ["--workdir", str(place), "--split", "valid"]
  convert = lambda place: ["convert", str(pickled), str(place / "out.npz")]
  resume = lambda arguments: lambda place: [*arguments(place), "--resume"]

  def trained(place):
    new(place)
    shutil.copytree(run, place)
    shutil.rmtree(place / "eval")

  jobs = (
    Job("train", "mcr_jax.train", train, resume(train), new),
    Job("sweep", "mcr_jax.sweep", sweep, resume(sweep), new),
    Job("evaluate", "mcr_jax.evaluate", evaluate, evaluate, trained),
    Job("convert", "mcr_jax.data.__main__", convert, convert, subject.empty),
  )
  subject.whole(jobs[0].start(run).ended())
  return {job.name: job for job in jobs}


def undisturbed(job: Job, folder: pathlib.Path) -> tuple[dict, float]:
  """What a job leaves where nothing happens, and how long it takes once compiled."""
  for name in ("compiling", "whole"):
    job.ready(folder / name)
    seconds = subject.whole(job.start(folder / name).ended()).seconds
  return subject.results(folder / "whole"), seconds


def _write_pickle(path: pathlib.Path) -> None:
  """Aligned features as MMSA has them."""
  random, content = np.random.default_rng(1), {}
  for split, count in (("train", 300), ("valid", 40), ("test", 60)):
    content[split] = {
      "id": [f"{split}${i}" for i in range(count)],
      "text": random.normal(size=(count, 10, 6)).astype(np.float32),
      "audio": random.normal(size=(count, 10, 4)).astype(np.float32),
      "vision": random.normal(size=(count, 10, 3)).astype(np.float32),
      "raw_text": np.array(["a word"] * count),
      "regression_labels": random.normal(size=count).astype(np.float32),
    }
  path.write_bytes(pickle.dumps(content))


def settings(folder: pathlib.Path) -> dict:
  """What run.json of a folder says."""
  return json.loads((folder / "run.json").read_text())
