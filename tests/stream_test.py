"""Training on streamed batches is training: the same metrics, epoch for epoch."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from mcr_jax.contract import Batch
from mcr_jax.data import batches, schedule
from mcr_jax.runs.fit import fit
from mcr_jax.runs.trainer import Trainer
from mcr_jax.training.feed import Resident, Stream
from mcr_jax.training.programs import normalised
from tests.training import tiny


def config_of(folder, placement, mesh=(1, 1), pipeline="auto"):
  path = folder / "regression.npz"
  return tiny.config(
    path if path.exists() else tiny.write(folder),
    data={"path": str(path), "placement": placement, "pipeline": pipeline}
    | {"buckets": 2},
    mesh=dict(zip(("seed", "data"), mesh, strict=True)),
    train={"epochs": 2, "batch_size": 8},
  )


@pytest.mark.parametrize(
  ("mesh", "pipeline"), [((1, 1), "tf.data"), ((2, 2), "threads")]
)
def test_streamed_and_resident_training_give_the_same_metrics(tmp_path, mesh, pipeline):
  scores = {}
  for placement in ("device", "stream"):
    config = config_of(tmp_path, placement, mesh, pipeline)
    run = fit(config, tmp_path / placement, verbose=False)
    file = run.workdir / "eval" / "test.json"
    metrics = json.loads(file.read_text())["metrics"]
    scores[placement] = {name: x["seeds"] for name, x in metrics.items()}
  resident, streamed = tmp_path / "device", tmp_path / "stream"
  rows = tiny.epochs(resident)
  assert len(rows) == 2 and rows[0]["train/loss"][0] != rows[0]["train/loss"][1]
  tiny.assert_close(tiny.epochs(streamed), rows, 1e-5)
  tiny.assert_close([scores["stream"]], [scores["device"]], 1e-5)
  np.testing.assert_allclose(
    tiny.predictions(streamed), tiny.predictions(resident), rtol=1e-4, atol=1e-6
  )


def test_the_stream_goes_on_in_the_middle_of_an_epoch(tmp_path):
  trainer = Trainer(config_of(tmp_path, "stream"), tmp_path / "run", verbose=False)
  loop = trainer.loop
  assert isinstance(loop.feed, Stream)
  plan = loop.samples.epoch(loop.rows["train"], (1, 3), 1, 1)
  assert len(plan) == 4 and (plan.rows == schedule.FILLER).any()
  positions = []

  def run(state, plan, start):
    calls = list(loop.feed.steps(state, plan, start, loop.constants))
    positions.extend(position for _, position in calls)
    return calls[-1][0]

  begin = lambda: loop.programs.copy(loop.state)
  whole = run(begin(), plan, 0)
  first = dataclasses.replace(plan, bucket=plan.bucket[:3], rows=plan.rows[:, :3])
  rest = run(run(begin(), first, 0), plan, 3)
  assert positions == [1, 2, 3, 4, 1, 2, 3, 4]
  jax.tree.map(np.testing.assert_array_equal, whole.params, rest.params)


def test_large_data_stream_by_themselves(tmp_path, monkeypatch):
  make = lambda: Trainer(config_of(tmp_path, "auto"), tmp_path / "run", verbose=False)
  assert isinstance(make().loop.feed, Resident)
  monkeypatch.setattr("mcr_jax.training.feed._budget", lambda mesh: 10_000)
  assert isinstance(make().loop.feed, Stream)


def test_the_device_gives_the_scores_of_the_host(tmp_path):
  trainer = Trainer(config_of(tmp_path, "stream"), tmp_path / "run", verbose=False)
  feed, rows = trainer.loop.feed, trainer.loop.rows["train"][:8]
  random = np.random.default_rng(0)
  raw = Batch(**batches.assemble(feed.source, rows, feed.buckets[-1]))
  for name, values in raw.x.items():
    values += random.normal(0, 100, values.shape).astype(np.float32)
    values[~raw.mask[name]] = np.nan
  normalizer = trainer.normalizer
  program = jax.jit(normalised, static_argnames="clip")
  found = program(raw, feed._scale, clip=normalizer.clip)
  for name, values in raw.x.items():
    right = normalizer.apply(name, values, raw.mask[name])
    np.testing.assert_allclose(found.x[name], right, rtol=3e-7)
    assert np.abs(right).max() == normalizer.clip
