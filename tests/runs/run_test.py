"""A run loaded from its folder is the run that was trained."""

import dataclasses
import json
import runpy
import shutil
import sys

import jax
import numpy as np
import pytest

from mcr_jax import cli, evaluators, load_run
from mcr_jax.data import npz
from mcr_jax.errors import DamagedCheckpoint, UserError
from mcr_jax.runs.fit import fit
from mcr_jax.runs.reading import Reading, longer
from tests.training import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("runs")


@pytest.fixture(scope="module")
def trained(folder):
  """So fast that each seed soon gets worse: its best epoch is not its last."""
  config = tiny.config(tiny.write(folder), optim={"lr": 0.3}, train={"epochs": 6})
  return fit(config, folder / "run", verbose=False)


@pytest.fixture(scope="module")
def loaded(trained):
  return load_run(trained.workdir)


@pytest.fixture(scope="module")
def classes(folder):
  config = tiny.config(tiny.write(folder, "multiclass"), train={"epochs": 1})
  return fit(config, folder / "classes", verbose=False)


@pytest.mark.parametrize("split", ["valid", "test"])
def test_evaluating_from_disk_repeats_what_training_reported(loaded, split):
  reported = evaluators.read(loaded.workdir, split)
  found = loaded.evaluate(split, write=False)
  assert found.samples == tiny.COUNTS[split] and found.seeds == (1, 3)
  for name, score in reported.results.metrics.items():
    for part in ("mean", "std", "seeds", "ensemble"):
      one, other = (getattr(x, part) for x in (found.metrics[name], score))
      np.testing.assert_allclose(one, other, rtol=1e-5, err_msg=name)
  again = loaded.predict(loaded.read().select(loaded.read().indices(split)))
  np.testing.assert_allclose(again, reported.predictions, rtol=1e-5, atol=1e-6)


def test_the_kept_epoch_is_the_best_of_metrics_jsonl(loaded):
  rows = tiny.epochs(loaded.workdir)
  mae = loaded.evaluate("valid", write=False).metrics["mae"].seeds
  for seed, best in enumerate(rows[-1]["best/epoch"]):
    kept = rows[best - 1]["valid/mae"][seed]
    assert kept == pytest.approx(mae[seed], rel=1e-5)


def test_what_is_reported_and_kept_is_the_best_and_not_the_last(trained, loaded):
  assert (np.array(tiny.epochs(loaded.workdir)[-1]["best/epoch"]) < 6).all()
  last = load_run(trained.workdir, checkpoint="last")
  for a, b, c in zip(
    *(jax.tree.leaves(run.variables) for run in (trained, loaded, last)), strict=True
  ):
    np.testing.assert_array_equal(a, b)
    assert all((b[seed] != c[seed]).any() for seed in range(2))
  reported = tiny.predictions(trained.workdir)
  data = loaded.read()
  test = data.select(data.indices("test"))
  np.testing.assert_allclose(loaded.predict(test), reported, rtol=1e-5, atol=1e-6)
  assert np.abs(last.predict(test) - reported).max() > 0.01


def test_training_returns_what_loading_does(trained, loaded):
  one, two = trained.predict(), loaded.predict()
  np.testing.assert_array_equal(one, two)
  assert trained.seeds == loaded.seeds and trained.digest == loaded.digest


def test_a_prediction_does_not_depend_on_its_batch(loaded):
  whole = loaded.predict()
  for size in (1, 7, 100):
    found = loaded.predict(batch_size=size)
    np.testing.assert_allclose(found, whole, rtol=1e-5, atol=1e-6)
  data = loaded.read()
  order = np.random.default_rng(0).permutation(len(data))
  shuffled = loaded.predict(data.select(order))
  np.testing.assert_allclose(shuffled, whole[:, order], rtol=1e-5, atol=1e-6)


def test_the_last_checkpoint_is_another_one(loaded, trained):
  last = load_run(trained.workdir, checkpoint="last")
  assert last.evaluate("test", write=False).checkpoint == "last"
  assert loaded.evaluate("test", write=False).checkpoint == "best"
  with pytest.raises(UserError, match="checkpoint='newest' is none of best, last"):
    load_run(trained.workdir, checkpoint="newest")


def test_the_last_checkpoint_has_files_of_its_own(trained, tmp_path):
  shutil.copytree(trained.workdir, tmp_path / "run")
  before = (tmp_path / "run" / "eval" / "test.json").read_bytes()
  last = load_run(tmp_path / "run", checkpoint="last").evaluate("test")
  assert (tmp_path / "run" / "eval" / "test.json").read_bytes() == before
  found = evaluators.read(tmp_path / "run", "last_test").results
  assert found.metrics["mae"] == last.metrics["mae"]
  best = evaluators.read(tmp_path / "run", "test").results
  assert found.metrics["mae"] != best.metrics["mae"]


def test_outputs_have_a_seed_axis(loaded):
  found = loaded.outputs(samples=3)
  assert found["features"].shape == (2, 3, 8)


def test_evaluating_leaves_files_and_another_data_set_does_not(
  trained, folder, tmp_path
):
  shutil.copytree(trained.workdir, tmp_path / "run")
  run = load_run(tmp_path / "run")
  run.evaluate("train")
  assert (tmp_path / "run" / "eval" / "train.json").is_file()
  shutil.rmtree(tmp_path / "run" / "eval")
  other = tiny.write(tmp_path, seed=5)
  results = run.evaluate("test", other)
  assert results.samples == 11 and not (tmp_path / "run" / "eval").exists()
  assert results != run.evaluate("test", write=False)


def test_a_run_reads_its_own_modalities_of_more(loaded):
  data = tiny.dataset()
  more = {"smell": data.modalities["audio"], **data.modalities}
  more = dataclasses.replace(data, modalities=more)
  np.testing.assert_array_equal(loaded.predict(more), loaded.predict(data))
  assert longer(more, loaded.spec) == {}


def test_other_features_are_refused(loaded, tmp_path):
  data = tiny.dataset()
  fewer = {k: x for k, x in data.modalities.items() if k != "audio"}
  wider = dataclasses.replace(
    data.modalities["text"], values=np.repeat(data.modalities["text"].values, 2, 1)
  )
  longer = tiny.dataset(seed=1)
  steps = longer.modalities["text"]
  longer = {
    **longer.modalities,
    "text": dataclasses.replace(
      steps,
      offsets=np.array([0] + [steps.offsets[-1]] * len(data)),
    ),
  }
  npz.write(
    tmp_path / "wide.npz",
    dataclasses.replace(data, modalities={**data.modalities, "text": wider}),
  )
  with pytest.raises(UserError, match="'text': 10.*was trained on"):
    loaded.predict(tmp_path / "wide.npz")
  npz.write(tmp_path / "long.npz", dataclasses.replace(data, modalities=longer))
  with pytest.raises(UserError, match="longest allowed is 5"):
    loaded.predict(tmp_path / "long.npz", reading=Reading({"overlong": "error"}))
  # A modality that a file lacks is missing in all of its samples.
  npz.write(tmp_path / "few.npz", dataclasses.replace(data, modalities=fewer))
  assert np.isfinite(loaded.predict(tmp_path / "few.npz")).all()


def test_classes_in_another_order_are_refused(classes, tmp_path):
  data = tiny.dataset("multiclass")
  npz.write(tmp_path / "x.npz", dataclasses.replace(data, class_names=("a", "b", "c")))
  with pytest.raises(UserError, match="classes a, b, c;.*trained on low, mid, high"):
    classes.evaluate("test", tmp_path / "x.npz")


def test_labels_of_another_task_are_refused(loaded, classes, tmp_path):
  path = tiny.write(tmp_path)
  with pytest.raises(UserError, match="multiclass needs .* float32 of shape"):
    classes.evaluate("test", path)
  # Whole numbers can stand for a regression.
  labels = tiny.write(tmp_path, "multiclass")
  assert loaded.evaluate("test", labels).metrics["mae"].mean > 0


def test_a_checkpoint_of_another_model_is_refused(trained, tmp_path):
  shutil.copytree(trained.workdir, tmp_path / "run")
  path = tmp_path / "run" / "config.json"
  path.write_text(path.read_text().replace('"width": 8', '"width": 6'))
  with pytest.raises(UserError) as error:
    load_run(tmp_path / "run")
  assert "has a checkpoint of another model" in str(error.value)
  assert "['hidden_0']['bias']: (2, 8) saved, (2, 6) expected" in str(error.value)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_no_run_or_damaged_is_told(trained, tmp_path):
  with pytest.raises(UserError, match="nowhere holds no run"):
    load_run(tmp_path / "nowhere")
  shutil.copytree(trained.workdir, tmp_path / "run")
  path = tmp_path / "run" / "digests.json"
  digest = tiny.newest_digests(tmp_path / "run")["best"]
  path.write_text(path.read_text().replace(digest, digest[::-1]))
  with pytest.raises(DamagedCheckpoint, match="not those that were written"):
    load_run(tmp_path / "run")
  shutil.rmtree(tmp_path / "run" / "checkpoints")
  with pytest.raises(DamagedCheckpoint, match="it was deleted"):
    load_run(tmp_path / "run")
  path.unlink()
  with pytest.raises(UserError, match="stopped before its first"):
    load_run(tmp_path / "run")


def test_the_program_prints_a_table_or_json(trained, monkeypatch, capsys, tmp_path):
  shutil.copytree(trained.workdir, tmp_path / "run")

  def evaluate(*arguments):
    monkeypatch.setattr(
      sys, "argv", ["evaluate", "--workdir", str(tmp_path / "run"), *arguments]
    )
    monkeypatch.setattr(cli, "prepare", lambda *_: None)
    monkeypatch.delitem(sys.modules, "mcr_jax.evaluate", raising=False)
    with pytest.raises(SystemExit) as ended:
      runpy.run_module("mcr_jax.evaluate", run_name="__main__")
    return ended.value.code, capsys.readouterr()

  code, output = evaluate("--split", "valid", "--json")
  assert code == 0 and json.loads(output.out)["samples"] == 13
  code, output = evaluate()
  assert code == 0 and output.out.startswith("test: 11 samples, 2 seeds")
  assert output.out.rstrip().endswith("eval/test.json, .csv, .npz")
  code, output = evaluate("--checkpoint", "last")
  assert output.out.rstrip().endswith("eval/last_test.json, .csv, .npz")
  code, output = evaluate("--split", "dev")
  assert code == 2 and "invalid choice: 'dev'" in output.err


def test_a_data_set_in_memory_is_checked_like_a_file(loaded):
  dataset = loaded.read()
  name, modality = next(iter(dataset.modalities.items()))
  values = np.array(modality.values)
  values[0] = np.nan
  wild = dataclasses.replace(modality, values=values)
  modalities = {**dataset.modalities, name: wild}
  with pytest.raises(UserError, match="values that are not finite"):
    loaded.predict(dataclasses.replace(dataset, modalities=modalities))


def test_a_data_set_that_python_made_needs_the_right_types(loaded):
  dataset = loaded.read()
  whole = dataclasses.replace(dataset, labels=np.arange(len(dataset)) - 3)
  assert loaded.read(whole, labels=True).labels.dtype == np.float32
  numbered = dataclasses.replace(dataset, ids=np.arange(len(dataset)))
  with pytest.raises(UserError, match="ids are int64, not strings"):
    loaded.predict(numbered)
  name, modality = next(iter(dataset.modalities.items()))
  double = dataclasses.replace(modality, values=modality.values.astype(float))
  wide = dataclasses.replace(dataset, modalities={**dataset.modalities, name: double})
  with pytest.raises(UserError, match=f"values of {name} are float64"):
    loaded.predict(wide)
