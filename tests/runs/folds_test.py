"""Cross-validation: one command trains all folds, and pools their test parts."""

import collections
import contextlib
import dataclasses
import logging
import re
import shutil
import signal

import jax
import numpy as np
import pytest

from mcr_jax import compare, evaluate, evaluators
from mcr_jax import config as configs
from mcr_jax.data import folds as assignments
from mcr_jax.data import npz
from mcr_jax.data.load import load
from mcr_jax.errors import Interrupted, NonFiniteLoss, UserError
from mcr_jax.runs import folds
from mcr_jax.runs.fit import fit
from mcr_jax.runs.run import load_run
from mcr_jax.runs.trainer import Trainer
from mcr_jax.sweeps import points
from tests.training import tiny
from tests.training.dialogue_test import MODEL as DIALOGUE_MODEL
from tests.training.dialogue_test import dialogues

N = sum(tiny.COUNTS.values())


def config(file, **groups):
  data = {"folds": 3, "buckets": 1} | groups.pop("data", {})
  train = {"epochs": 2} | groups.pop("train", {})
  return tiny.config(file, data=data, train=train, **groups)


@contextlib.contextmanager
def compilations():
  """name -> how often a program of this name is compiled inside."""
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
    yield counts
  finally:
    jax.config.update("jax_log_compiles", False)
    logger.setLevel(level)
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("folds")


@pytest.fixture(scope="module")
def file(folder):
  return tiny.write(folder)


@pytest.fixture(scope="module")
def finished(file, folder):
  found = fit(config(file), folder / "run", verbose=False)
  return found, dict(np.load(folder / "run" / "eval" / "test.npz"))


@pytest.fixture
def again(finished, tmp_path):
  """A copy of the finished folds, as if they had been stopped before the end."""
  shutil.copytree(finished[0].workdir, tmp_path / "run")
  tiny.unfinish(tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "eval")
  return tmp_path / "run"


def test_every_sample_is_tested_once_and_scored_as_of_one_split(finished, file):
  found, saved = finished
  data = load({"path": file})
  np.testing.assert_array_equal(saved["ids"], data.ids)
  np.testing.assert_array_equal(saved["labels"], data.labels)
  assert saved["predictions"].shape == (2, N, 1) and found.results.seeds == (1, 3)
  splits = assignments.assign(data, 3)
  for number, own in enumerate(splits):
    tested = own == "test"
    part = evaluators.read(folds.folder(found.workdir, number), "test")
    np.testing.assert_array_equal(part.ids, data.ids[tested])
    np.testing.assert_array_equal(part.predictions, saved["predictions"][:, tested])
    assert found.by_fold[number] == part.results
  errors = np.abs(saved["predictions"][..., 0] - data.labels).mean(1)
  np.testing.assert_allclose(found.results.metrics["mae"].seeds, errors, rtol=1e-6)
  each = [fold.metrics["mae"].mean for fold in found.by_fold]
  assert found.spread["mae"] == pytest.approx((np.mean(each), np.std(each, ddof=1)))
  # Read again, without training.
  assert fit(config(file), found.workdir, verbose=False) == found


def test_a_fold_is_the_run_that_its_number_alone_would_be(finished, file, tmp_path):
  found, _ = finished
  run = fit(config(file, data={"fold": 1}), tmp_path / "one", verbose=False)
  tiny.assert_close(
    tiny.epochs(tmp_path / "one"), tiny.epochs(folds.folder(found.workdir, 1))
  )
  other = found.run(1)
  assert configs.to_json(other.config) == configs.to_json(run.config)
  assert other.evaluate("valid").metrics["mae"].seeds == pytest.approx(
    run.evaluate("valid").metrics["mae"].seeds, rel=1e-5
  )


def test_a_stop_between_two_folds_changes_nothing(finished, again, file):
  shutil.rmtree(folds.folder(again, 1))
  with pytest.raises(UserError, match="--resume"):
    fit(config(file), again, verbose=False)
  found = fit(config(file), again, resume=True, verbose=False)
  assert found.results == finished[0].results
  np.testing.assert_array_equal(tiny.predictions(again), finished[1]["predictions"])


def test_a_signal_inside_a_fold_names_all_of_them_and_changes_nothing(
  finished, file, tmp_path, monkeypatch
):
  plain = Trainer._after_epoch

  def stop(self, event):
    if self.config.data.fold == 1 and event.number == 1:
      self.signals.number = signal.SIGTERM
    plain(self, event)

  with monkeypatch.context() as patched:
    patched.setattr(Trainer, "_after_epoch", stop)
    with pytest.raises(Interrupted, match=f"fold 1.* {tmp_path}/run[.]$") as stopped:
      fit(config(file), tmp_path / "run", verbose=False)
  assert stopped.value.exit_code == 128 + signal.SIGTERM
  assert not folds.folder(tmp_path / "run", 2).exists()
  found = fit(config(file), tmp_path / "run", resume=True, verbose=False)
  assert found.results == finished[0].results
  np.testing.assert_array_equal(
    tiny.predictions(tmp_path / "run"), finished[1]["predictions"]
  )


def test_a_loss_that_is_not_finite_names_the_fold(file, tmp_path):
  with pytest.raises(NonFiniteLoss, match="Fold 0"):
    fit(config(file, optim={"lr": 1e30}), tmp_path / "run", verbose=False)


def test_other_data_is_refused_before_a_further_fold_is_trained(again, file, tmp_path):
  shutil.rmtree(folds.folder(again, 2))
  data = load({"path": file})
  # In the same place, with the same splits of the folds that are there.
  changed = dataclasses.replace(data, labels=data.labels + np.float32(0.5))
  kept = file.read_bytes()
  npz.write(file, changed)
  try:
    with pytest.raises(UserError, match="has changed since it began"):
      fit(config(file), again, resume=True, verbose=False)
  finally:
    file.write_bytes(kept)


@pytest.mark.parametrize("placement", ["device", "stream"])
def test_all_folds_compile_what_one_does(folder, tmp_path, placement):
  """With class weights and a schedule of their own length in each fold, too."""
  file = tiny.write(folder, "multiclass")
  given = config(
    file,
    data={"folds": 4, "fold_stratify": True, "placement": placement},
    loss={"class_weights": "balanced"},
    optim={"schedule": "cosine"},
    # So that some folds have a step more.
    train={"epochs": 1, "batch_size": 13},
  )
  with compilations() as counts:
    found = fit(given, tmp_path / "run", verbose=False)
  trained = [
    np.sum(own == "train") for own in assignments.assign(load(file), 4, stratify=True)
  ]
  assert {-(-count // 13) for count in trained} == {2, 3}
  names = {"device": ("_run", "_predict_rows"), "stream": ("_step_raw", "_predict_raw")}
  assert counts["_create"] == 1
  assert [counts[name] for name in names[placement]] == [1, 1]
  assert counts["_copy"] <= 1 and counts["_keep_best"] <= 1
  # Parts differ by one sample at most.
  assert counts["_task_loss"] <= 2
  assert found.results.samples == N
  # Nothing but the program is that of the first fold.
  alone = given.copy_and_resolve_references()
  alone.data.fold = 3
  fit(alone, tmp_path / "alone", verbose=False)
  tiny.assert_close(
    tiny.epochs(tmp_path / "alone"), tiny.epochs(folds.folder(tmp_path / "run", 3))
  )


def test_a_repeat_may_have_a_seed_of_its_own(file, tmp_path):
  repeated = {"fold_repeats": 2, "fold_shuffle": True, "fold_seeds": "own"}
  given = config(file, data=repeated, train={"epochs": 1})
  found = fit(given, tmp_path / "run", verbose=False)
  assert found.results.seeds == (1, 3) and len(found.by_fold) == 6
  data = load({"path": file})
  splits = assignments.assign(data, 3, repeats=2, shuffle=True)
  saved = tiny.predictions(tmp_path / "run")
  assert saved.shape == (2, N, 1)
  for number, own in enumerate(splits):
    run = found.run(number)
    assert run.seeds == ((1,), (3,))[number // 3]
    tested = np.flatnonzero(own == "test")
    np.testing.assert_allclose(
      run.predict(data)[0, tested], saved[number // 3, tested], rtol=1e-5, atol=1e-6
    )
  with pytest.raises(UserError, match="fold_seeds"):
    config(file, data=repeated, seeds=(1, 2, 3))
  # With all seeds in each repeat, members are numbered.
  every = given.copy_and_resolve_references()
  every.data.fold_seeds = "all"
  assert folds.config_of(every, 4).seeds == (1, 3)


def test_dialogues_stay_whole_and_their_turns_are_pooled(tmp_path):
  data = dialogues(splits=None)
  npz.write(tmp_path / "data.npz", data)
  given = tiny.config(
    tmp_path / "data.npz",
    DIALOGUE_MODEL,
    data={"folds": 3, "fold_by": "dialogue_id", "buckets": 1},
    train={"epochs": 1, "batch_size": 4},
  )
  fit(given, tmp_path / "run", verbose=False)
  found = evaluators.read(tmp_path / "run", "test")
  labelled = data.labels >= 0
  np.testing.assert_array_equal(found.ids, data.ids[labelled])
  np.testing.assert_array_equal(found.labels, data.labels[labelled])
  names = dict(zip(data.ids, data.columns["dialogue_id"].values, strict=True))
  parts = [
    {names[i] for i in evaluators.read(folds.folder(tmp_path / "run", k), "test").ids}
    for k in range(3)
  ]
  assert len(set.union(*parts)) == sum(map(len, parts))
  with pytest.raises(UserError, match="fold_by=dialogue_id"):
    fit(
      tiny.config(tmp_path / "data.npz", DIALOGUE_MODEL, data={"folds": 3}),
      tmp_path / "by_turn",
      verbose=False,
    )
  assert not (tmp_path / "by_turn").exists()


def test_folds_are_evaluated_and_compared_like_a_run(finished, file, capsys):
  found, saved = finished
  again = folds.evaluate(found.workdir)
  for name, one in found.results.metrics.items():
    np.testing.assert_allclose(again.results.metrics[name].seeds, one.seeds, rtol=1e-5)
  evaluate.main(["--workdir", str(found.workdir), "--split", "valid"])
  text = capsys.readouterr().out
  assert "over the 3 folds" in text and "eval/valid.json" in text
  # Each is validated once, too.
  assert evaluators.read(found.workdir, "valid").results.samples == N
  last = folds.evaluate(found.workdir, checkpoint="last").results
  assert last.checkpoint == "last"
  assert evaluators.read(found.workdir, "last_test").results == last
  pair = [evaluators.read(found.workdir, name) for name in ("test", "valid")]
  assert compare.compare(*pair, ["mae"])[0].first == pytest.approx(
    found.results.metrics["mae"].mean, rel=1e-5
  )
  with pytest.raises(UserError, match="'train' must be one of valid, test"):
    folds.evaluate(found.workdir, "train")


def test_a_folder_of_folds_is_no_run(finished):
  with pytest.raises(UserError, match="3 folds.*fold_0 to fold_2"):
    load_run(finished[0].workdir)


def test_folds_need_their_test_parts_and_are_no_point_of_a_sweep(file, tmp_path):
  given = config(file, evals={"splits": ("valid",)})
  with pytest.raises(UserError, match="evals.splits"):
    fit(given, tmp_path / "run", verbose=False)
  sweep = points.Sweep([{"data.folds": 3}])
  with pytest.raises(UserError, match="data.fold"):
    points.points(tiny.config(file), sweep)
  one = points.Sweep([{"data.fold": 0}, {"data.fold": 1}])
  assert len(points.points(config(file), one)) == 2
