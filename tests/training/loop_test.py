"""Whole runs: what they compile, say, refuse, and leave behind."""

import collections
import logging
import os
import re
import resource
import runpy
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mcr_jax
from mcr_jax import cli
from mcr_jax import config as configs
from mcr_jax.errors import NonFiniteLoss, UserError
from mcr_jax.runs import trainer
from mcr_jax.runs.checkpoint import Checkpoints
from mcr_jax.runs.fit import fit
from mcr_jax.runs.progress import Progress
from mcr_jax.runs.trainer import Trainer
from mcr_jax.training.loop import Epoch
from tests import quick
from tests.training import tiny

ROOT = Path(mcr_jax.__file__).parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def file(folder):
  return tiny.write(folder)


@pytest.fixture(scope="module")
def finished(file, folder):
  config = tiny.config(file)
  fit(config, folder / "run", verbose=False)
  return config, folder / "run"


def test_patience_stops_no_run_before_its_last_phase(file, tmp_path):
  """With steps too small to change a number, every epoch but the first is a wait."""
  config = tiny.config(
    file,
    data={"buckets": 1},
    optim={"lr": 1e-12},
    train={"phases": ({"epochs": 3},), "epochs": 8, "patience": 2},
  )
  fit(config, tmp_path / "run", verbose=False)
  rows = tiny.epochs(tmp_path / "run")
  assert len(rows) == 3 + 2 and rows[-1]["best/epoch"] == [1, 1]


def test_the_optimiser_starts_anew_with_a_phase(file, tmp_path):
  phases = ({"epochs": 1, "trainable": ("output/.*",)}, {"epochs": 2})
  config = tiny.config(file, data={"buckets": 1}, train={"phases": phases})
  loop = Trainer(config, tmp_path / "run", verbose=False).loop
  moved = lambda: [bool(np.any(x)) for x in jax.tree.leaves(loop.state.opt)]
  epochs = [moved() for event in loop.events() if isinstance(event, Epoch)]
  assert [any(found) for found in epochs] == [False, True, True]


def test_each_bucket_compiles_one_program_to_train_and_one_to_predict(file, tmp_path):
  config = tiny.config(
    file, data={"buckets": 3}, optim={"schedule": "plateau"}, train={"patience": 2}
  )
  counts = collections.Counter()

  class Counter(logging.Handler):
    def emit(self, record):
      if found := re.match(r"Compiling jit\((\w+)\)", record.getMessage()):
        counts[found[1]] += 1

  handler, logger = Counter(), logging.getLogger("jax")
  logger.addHandler(handler)
  # A program that ran in this process before may have silenced it.
  level = logger.level
  logger.setLevel(logging.WARNING)
  jax.config.update("jax_log_compiles", True)
  try:
    trainer = Trainer(config, tmp_path / "run", verbose=False)
    trainer.start(resume=False)
    trainer.run()
    run = trainer.finish()
    buckets = len(set(trainer.loop.feed.buckets))
    assert buckets == 3
    used = [
      set(trainer.loop.samples.bucket[trainer.rows[s][0]]) for s in ("valid", "test")
    ]
    assert counts["_run"] <= buckets and counts["_predict_rows"] <= buckets
    assert counts["_predict_rows"] <= len(set.union(*used))
    # Copies of the best parameters, and the loss of a validation.
    assert all(n == 1 for name, n in counts.items() if name in ("_keep_best", "one"))
    first = dict(counts)
    assert sum(first.values()) < 16
    # A second prediction finds its programs.
    run.predict()
    before = sum(counts.values())
    run.predict()
    assert sum(counts.values()) == before
  finally:
    jax.config.update("jax_log_compiles", False)
    logger.setLevel(level)
    logger.removeHandler(handler)


def test_a_seed_does_not_feel_its_neighbours(file, finished, tmp_path):
  _, workdir = finished
  fit(tiny.config(file, seeds=(3,)), tmp_path / "alone", verbose=False)
  together = [
    {k: v[1:] if isinstance(v, list) else v for k, v in row.items()}
    for row in tiny.epochs(workdir)
  ]
  tiny.assert_close(tiny.epochs(tmp_path / "alone"), together, 1e-6)
  np.testing.assert_allclose(
    tiny.predictions(tmp_path / "alone"), tiny.predictions(workdir)[1:], rtol=1e-6
  )


@pytest.mark.parametrize("seeds_by", ["map", "vmap"])
def test_a_seed_that_stopped_early_is_frozen(file, tmp_path, seeds_by):
  """One that would go on changing: the other's loss falls until the end."""
  config = tiny.config(
    file, seeds=(1, 3), train={"epochs": 6, "patience": 1, "seeds_by": seeds_by}
  )
  # Seed 3 of the pair learns so fast that it soon gets worse.
  numbers = {"optim.lr": np.array([0.002, 0.5])}
  trainer = Trainer(config, tmp_path / "run", numbers=numbers, verbose=False)
  trainer.start(resume=False)
  trainer.run()
  trainer.finish()
  rows = tiny.epochs(tmp_path / "run")
  losses = np.array([row["train/loss"] for row in rows], float)
  stopped = int(np.isfinite(losses[:, 1]).sum())
  assert np.isfinite(losses[:, 0]).all() and stopped < len(losses)
  assert rows[-1]["reasons"]["train/loss"].endswith("stopped early")
  valid = np.array([row["valid/loss"] for row in rows])
  assert (valid[stopped - 1 :, 1] == valid[stopped - 1, 1]).all()
  assert (np.diff(valid[:, 0]) != 0).all()
  assert int(trainer.loop.state.step[1]) == stopped * trainer.loop.steps
  # The best epoch is the best value of those it saw, and is what is kept.
  best = np.argmin(valid[:, 1])
  assert rows[-1]["best/epoch"][1] == best + 1
  predictions = tiny.predictions(tmp_path / "run", "valid")
  labels = trainer.labels[trainer.rows["valid"][1]]
  kept = np.abs(predictions[1, :, 0] - labels).mean()
  assert kept == pytest.approx(valid[best, 1], rel=1e-5)


def test_a_run_ends_when_all_seeds_have_stopped(file, tmp_path):
  config = tiny.config(
    file, optim={"lr": 1.0}, train={"epochs": 50, "patience": 1, "steps_per_call": 0}
  )
  fit(config, tmp_path / "run", verbose=False)
  assert len(tiny.epochs(tmp_path / "run")) < 20


def test_a_quiet_run_says_nothing(file, tmp_path, capfd):
  config = tiny.config(file, train={"epochs": 1})
  fit(config, tmp_path / "run", verbose=False)
  fit(config, tmp_path / "run", verbose=False)
  assert capfd.readouterr() == ("", "")


def test_a_run_says_one_line_an_epoch_and_a_table_a_split(file, tmp_path, capsys):
  config = tiny.config(file, train={"epochs": 2, "monitor": "corr"})
  fit(config, tmp_path / "run")
  lines = capsys.readouterr().out.splitlines()
  epochs = [line for line in lines if line.startswith("epoch ")]
  assert len(epochs) == 2 and all(len(line) < 160 for line in epochs)
  for part in ("epoch 1/2", "train/loss", "valid/mae", "valid/corr", "best epoch 1 1"):
    assert part in epochs[0]
  assert any(line.startswith("test: 11 samples, 2 seeds") for line in lines)
  assert any(line.startswith("concat: ") and "4 steps of 8" in line for line in lines)
  (note,) = (line for line in lines if line.startswith("note:"))
  assert "evals.metrics=" in note


def test_what_a_long_run_costs_is_told_early_and_once(
  file, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(trainer, "TELLING", 0.0)
  monkeypatch.setattr(Progress, "seconds_left", lambda self: 90.0)
  config = tiny.config(file, train={"epochs": 2, "patience": 7})
  fit(config, tmp_path / "run")
  lines = capsys.readouterr().out.splitlines()
  (cost,) = (i for i, line in enumerate(lines) if line.startswith("about 1 min 30 s"))
  assert cost < next(i for i, line in enumerate(lines) if line.startswith("epoch 1/2"))
  assert "train.patience=7" in lines[cost]


def test_a_loss_that_is_not_finite_names_seed_epoch_and_step(file, tmp_path):
  config = tiny.config(file, train={"checkpoint_seconds": 0.0})
  numbers = {"optim.lr": np.array([0.01, 1e30])}
  trainer = Trainer(config, tmp_path / "run", numbers=numbers, verbose=False)
  trainer.start(resume=False)
  with pytest.raises(NonFiniteLoss) as error:
    trainer.run()
  assert "seed 3 in epoch 1, step 2" in str(error.value)
  assert "seed 1" not in str(error.value) and error.value.exit_code == 3
  # What was saved last is the state before.
  last = Checkpoints(tmp_path / "run").restore_last()
  assert last.step == 1 and last.meta == {"epoch": 1, "position": 1}
  assert all(np.isfinite(x).all() for x in jax.tree.leaves(last.tree["state"]))


@pytest.mark.parametrize(
  ("groups", "message"),
  [
    ({"train": {"monitor": "maee"}}, r"train.monitor='maee'.*mae"),
    ({"optim": {"accumulate": 3}}, r"accumulate=3 must divide train.batch_size=8"),
    ({"loss": {"name": "cross_entropy"}}, "does not fit regression"),
    ({"data": {"modalities": ("text", "gaze")}}, "no 'gaze'"),
    ({"data": {"lengths": {"text": 2}}}, "longest allowed is 2"),
    ({"data": {"task": "multiclass"}}, "data.task='multiclass' needs labels"),
    ({"mesh": {"data": 64}}, "does not fit"),
    ({"train": {"init_from": "nowhere"}}, "nowhere holds no run"),
    ({"evals": {"metrics": "binary"}}, "need labels"),
    ({"loss": {"class_weights": "balanced"}}, "regression"),
  ],
)
def test_a_mistake_is_told_before_a_folder_is_made(file, tmp_path, groups, message):
  with pytest.raises(UserError, match=message):
    fit(tiny.config(file, **groups), tmp_path / "run", verbose=False)
  assert not (tmp_path / "run").exists()


def test_features_that_are_not_finite_are_an_error(tmp_path):
  data = tiny.dataset()
  data.modalities["audio"].values[3, 1] = np.nan
  path = tiny.write(tmp_path, modalities=data.modalities)
  with pytest.raises(UserError, match="audio holds 1 values that are not finite"):
    fit(tiny.config(path), tmp_path / "run", verbose=False)
  config = tiny.config(path, data={"nonfinite": "zero"}, train={"epochs": 1})
  fit(config, tmp_path / "run", verbose=False)
  assert "replaced by 0" in (tmp_path / "run" / "run.json").read_text()


@pytest.mark.parametrize("task", ["multiclass", "binary"])
def test_classes_train_with_weights_and_their_own_metrics(tmp_path, task):
  monitor = {"multiclass": "macro_f1", "binary": "mean_f1"}[task]
  config = tiny.config(
    tiny.write(tmp_path, task),
    loss={"class_weights": "balanced"},
    train={"epochs": 2, "monitor": monitor},
  )
  run = fit(config, tmp_path / "run", verbose=False)
  assert run.spec.class_names == ("low", "mid", "high")
  assert f"valid/{monitor}" in tiny.epochs(tmp_path / "run")[-1]


def test_whole_numbers_may_be_regressed(tmp_path):
  path = tiny.write(tmp_path, "multiclass")
  config = tiny.config(path, data={"task": "regression"}, train={"epochs": 1})
  run = fit(config, tmp_path / "run", verbose=False)
  assert run.spec.task == "regression" and run.spec.outputs == (1,)
  assert run.evaluate("test").metrics["mae"].mean >= 0


def end(monkeypatch, capfd, *arguments: str) -> tuple[int, str]:
  """Exit code and last line of the training program, run in this process."""
  monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
  monkeypatch.setattr(cli, "prepare", lambda *_: None)  # settings of a whole process
  capfd.readouterr()
  with pytest.raises(SystemExit) as ended:
    runpy.run_module("mcr_jax.train", run_name="__main__")
  output = capfd.readouterr()
  assert "Traceback" not in output.err
  return ended.value.code, (output.err or output.out).strip().splitlines()[-1]


@pytest.fixture
def program(file, tmp_path, monkeypatch, capfd):
  """Runs the training program on a config file of one epoch."""
  config = tmp_path / "config.py"
  config.write_text(
    "import ml_collections as mlc\n"
    "def get_config(arg=''):\n"
    f"  return mlc.ConfigDict({configs.plain(tiny.config(file))!r})\n"
  )
  return lambda *more: end(monkeypatch, capfd, "--config", config, *more)


def test_the_same_command_again_is_done_and_another_config_is_not(program, tmp_path):
  run = ("--workdir", tmp_path / "run", "--config.train.epochs=1")
  assert program(*run)[0] == 0
  code, line = program(*run)
  assert code == 0 and line.endswith("is finished already: nothing to do.")
  code, line = program(*run, "--config.optim.lr=0.5")
  assert code == 2 and "optim.lr: 0.01 -> 0.5" in line
  tiny.unfinish(tmp_path / "run")
  code, line = program(*run)
  assert code == 2 and "--resume" in line
  assert program(*run, "--resume")[0] == 0
  # A damaged checkpoint, last of all.
  tiny.unfinish(tmp_path / "run")
  digests = tmp_path / "run" / "digests.json"
  last = tiny.newest_digests(tmp_path / "run")["last"]
  digests.write_text(digests.read_text().replace(last, last[::-1]))
  code, line = program(*run, "--resume")
  assert code == 4 and "not those that were written" in line


def test_a_loss_that_is_not_finite_ends_with_code_3(program, tmp_path):
  code, line = program("--workdir", tmp_path / "run", "--config.optim.lr=1e30")
  assert code == 3 and "seed 1 in epoch 1, step 2; seed 3 in epoch 1, step 2" in line


def test_folders_that_cannot_be_written_end_with_code_2(program, tmp_path):
  (tmp_path / "file").write_text("")
  code, line = program("--workdir", tmp_path / "file" / "run")
  assert (
    code == 2 and f"{tmp_path / 'file'} is a file, where a folder is needed" in line
  )
  code, line = program("--workdir", "/proc/run")
  assert code == 2 and "/proc/run" in line


def test_a_full_disk_ends_with_code_2_and_can_be_resumed(program, tmp_path):
  run = ("--workdir", tmp_path / "run", "--config.train.epochs=1")
  before = resource.getrlimit(resource.RLIMIT_FSIZE)
  for room in (500, 6000):  # bytes: too few for run.json; for a checkpoint
    try:
      resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
      code, line = program(*run)
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert code == 2, line
  assert "larger than is allowed" in line
  assert program(*run, "--resume")[0] == 0


def test_the_main_job_runs_where_tensorflow_is_not_installed(tmp_path):
  """The README's config, made small."""
  code = (
    "import runpy, sys; sys.modules['tensorflow'] = None\n"
    "runpy.run_module('mcr_jax.train', run_name='__main__')"
  )
  arguments = [
    f"--config={ROOT / 'configs' / 'mcr_synthetic.py'}",
    f"--workdir={tmp_path / 'run'}",
    "--config.data.modalities=text,audio",
    "--config.model.width=8",
    "--config.model.heads=2",
    "--config.model.num_layers=1",
    "--config.seeds=0",
    "--config.train.epochs=1",
  ]
  done = subprocess.run(
    [sys.executable, "-c", code, *arguments],
    env=os.environ | {"XLA_FLAGS": quick.flags(), "PYTHONPATH": str(ROOT)},
    cwd=tmp_path,
    capture_output=True,
    text=True,
    timeout=500,
  )
  assert done.returncode == 0, done.stderr
  assert not done.stderr
  names = {path.name for path in (tmp_path / "run").iterdir()}
  assert names == {
    "config.json",
    "run.json",
    "normalization.npz",
    "metrics.jsonl",
    "events",
    "checkpoints",
    "digests.json",
    "eval",
  }


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_larger_than_the_data_is_all_of_it(tmp_path, accumulate):
  file = tiny.write(tmp_path)
  runs = []
  for size in (10**6, 96):
    fields = {"epochs": 2, "batch_size": size, "eval_batch_size": size}
    config = tiny.config(file, optim={"accumulate": accumulate}, train=fields)
    runs.append(fit(config, tmp_path / f"run-{size}", verbose=False))
  tiny.assert_close(*(tiny.epochs(run.workdir) for run in runs))
