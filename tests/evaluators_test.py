"""Results over seeds, their tables, and files that are written whole or not at all."""

import csv
import dataclasses
import json
import math
import os

import numpy as np
import pytest
import scipy.special

from mcr_jax import evaluators, files, metrics
from mcr_jax.errors import UserError

S, N, C, K = 3, 29, 5, 4
CLASSES = ("Neutral", "Joy", "Sadness", "Anger", "Fear")


def regression():
  random = np.random.default_rng(0)
  labels = np.round(random.normal(size=N) * 5) / 5
  labels = labels.clip(-3, 3).astype(np.float32)
  noise = random.normal(size=(S, N)).astype(np.float32)
  return (labels + noise)[..., None], labels


def multiclass():
  random = np.random.default_rng(0)
  labels = random.integers(C, size=N)
  return random.normal(size=(S, N, C)) + np.eye(C)[labels], labels


def emotions():
  random = np.random.default_rng(0)
  labels = np.eye(K, dtype=int)[random.integers(K, size=N)]
  return random.normal(size=(S, N, K, 2)), labels


TARGETS = ("Valence", "Warmth")
LEVELS = (("low", "high"), ("none", "some", "much", "all"))


def levels():
  random = np.random.default_rng(0)
  labels = np.stack([random.integers(len(names), size=N) for names in LEVELS], axis=1)
  return random.normal(size=(S, N, 2, 4)) + np.eye(4)[labels], labels


def test_mean_and_deviation_are_over_the_seeds():
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels, seeds=(4, 7, 9))
  assert results.scheme == "sentiment" and results.samples == N
  assert results.seeds == (4, 7, 9)
  values = [metrics.compute("sentiment", p, labels).values for p in predictions]
  for name, score in results.metrics.items():
    each = [value[name] for value in values]
    assert score.seeds == tuple(each) and score.reason == ""
    assert score.mean == pytest.approx(np.mean(each))
    assert score.std == pytest.approx(np.std(each, ddof=1))


def test_the_ensemble_averages_numbers_and_shares():
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  want = np.abs(predictions.mean(0)[:, 0] - labels).mean()
  assert results.metrics["mae"].ensemble == pytest.approx(want)

  logits, labels = multiclass()
  together = evaluators.ensemble(logits, "multiclass")
  shares = scipy.special.softmax(logits, -1)
  np.testing.assert_allclose(np.exp(together), shares.mean(0), rtol=1e-12)
  np.testing.assert_allclose(evaluators.shares(logits), shares, rtol=1e-12)
  results = evaluators.summarise("auto", logits, labels)
  want = (shares.mean(0).argmax(-1) == labels).mean()
  assert results.metrics["accuracy"].ensemble == pytest.approx(want)


def test_an_ensemble_shares_nothing_with_classes_that_a_label_lacks():
  logits, labels = levels()
  logits[:, :, 0, 2:] = 50
  shares = evaluators.shares(logits, "multitask", LEVELS)
  assert not shares[:, :, 0, 2:].any()
  np.testing.assert_allclose(
    shares[:, :, 0, :2], scipy.special.softmax(logits[:, :, 0, :2], -1), rtol=1e-12
  )
  results = evaluators.summarise(
    "multitask", logits, labels, LEVELS, target_names=TARGETS
  )
  want = (shares.mean(0).argmax(-1) == labels).mean(0)
  for name, value in zip(("valence", "warmth"), want, strict=True):
    score = results.metrics[f"{name}/accuracy"]
    assert score.ensemble == pytest.approx(value)
  assert results.metrics["mean_accuracy"].ensemble == pytest.approx(want.mean())
  text = evaluators.table(results, "test")
  assert "warmth/kappa" in text and results.confusion is None


def test_one_seed_has_no_deviation_and_equals_its_ensemble():
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions[:1], labels)
  for score in results.metrics.values():
    assert math.isnan(score.std)
    assert (score.mean,) == score.seeds == (pytest.approx(score.ensemble),)
  text = evaluators.table(results, "test")
  assert "std" not in text and "ensemble" not in text


@pytest.mark.parametrize("make", [multiclass, emotions])
def test_confusion_matrices_are_summed_over_the_seeds(make):
  predictions, labels = make()
  results = evaluators.summarise("auto", predictions, labels)
  scheme = results.scheme
  each = [metrics.confusion(scheme, p, labels)[0] for p in predictions]
  np.testing.assert_array_equal(results.confusion, np.sum(each, axis=0))
  assert np.sum(results.confusion) == S * N


def test_a_broken_seed_is_named_and_not_averaged_away():
  predictions, labels = multiclass()
  predictions[1, 3] = np.nan
  results = evaluators.summarise("auto", predictions, labels, seeds=(4, 7, 9))
  score = results.metrics["accuracy"]
  assert math.isnan(score.mean) and not math.isnan(score.seeds[0])
  assert score.reason.startswith("seed 7: 5 of 145 predicted numbers are not")
  assert results.confusion is None
  text = evaluators.table(results, "test")
  assert "accuracy: n/a, seed 7: 5 of 145" in text


def test_seeds_must_be_as_many_as_predictions():
  predictions, labels = regression()
  with pytest.raises(UserError, match=r"3 seeds .*\[1\]"):
    evaluators.summarise("auto", predictions, labels, seeds=(1,))


def test_the_table_shows_classes_confusion_and_what_is_undefined():
  predictions, labels = multiclass()
  predictions[..., 4] = -99
  results = evaluators.summarise("auto", predictions, labels, CLASSES)
  text = evaluators.table(results, "valid")
  assert text.isascii()
  assert "valid: 29 samples, 3 seeds" in text
  assert "precision/fear: n/a, no sample is predicted to be fear." in text
  assert "which this is: these numbers flatter" in text
  joy = results.metrics["f1/joy"]
  (line,) = [line for line in text.splitlines() if line.startswith("joy  ")][:1]
  assert f"{joy.mean:.4f} +- {joy.std:.4f}" in line
  assert line.endswith(f" {(labels == 1).sum()}")
  (line,) = [line for line in text.splitlines() if line.startswith("joy  ")][1:]
  assert line.split()[1:] == list(map(str, results.confusion[1]))


def test_the_table_of_a_test_split_says_what_chose_the_model():
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  text = evaluators.table(results, "test")
  assert "epoch was chosen on the validation split." in text and "flatter" not in text
  assert "weighted by predicted support" in text
  assert "lower" in text.splitlines()[3] and "mae" in text.splitlines()[3]
  last = evaluators.table(dataclasses.replace(results, checkpoint="last"), "test")
  assert "was chosen" not in last


@pytest.mark.parametrize("seeds", [(4, 7, 9), (4,)])  # one has no deviation: NaN
@pytest.mark.parametrize("make", [regression, multiclass, emotions, levels])
def test_what_is_written_is_read_again(make, seeds, tmp_path):
  predictions, labels = make()
  predictions = predictions[: len(seeds)]
  names = {"class_names": LEVELS, "target_names": TARGETS} if make is levels else {}
  scheme = "multitask" if make is levels else "auto"
  results = evaluators.summarise(scheme, predictions, labels, seeds=seeds, **names)
  ids = [f"clip_{i}" for i in range(N)]
  path = evaluators.write(tmp_path, "test", results, ids, labels, predictions)
  assert path == tmp_path / "eval" / "test.json"
  assert {p.name for p in path.parent.iterdir()} == {
    *("test.json", "test.csv", "test.npz")
  }
  back = evaluators.read(tmp_path, "test")
  assert back.ids.tolist() == ids
  np.testing.assert_array_equal(back.predictions, predictions)
  np.testing.assert_array_equal(back.labels, labels)
  np.testing.assert_equal(back.results.to_json(), results.to_json())


def test_json_is_strict_and_csv_is_exact(tmp_path):
  predictions, labels = regression()
  results = evaluators.summarise("sentiment", predictions, np.zeros_like(labels))
  path = evaluators.write(
    tmp_path, "test", results, [str(i) for i in range(N)], labels, predictions
  )
  refuse = lambda name: pytest.fail(f"{name} is no JSON")
  document = json.loads(path.read_text(), parse_constant=refuse)
  assert document["metrics"]["acc2_non0"]["mean"] is None
  assert document["metrics"]["acc2_non0"]["reason"] == "every label is 0"
  with path.with_suffix(".csv").open() as file:
    rows = {row["metric"]: row for row in csv.DictReader(file)}
  assert float(rows["mae"]["seed_1"]) == results.metrics["mae"].seeds[1]
  assert rows["acc2_non0"]["mean"] == ""
  assert rows["acc2_non0"]["reason"] == "every label is 0"


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  write = lambda: evaluators.write(
    tmp_path, "test", results, ["x"] * N, labels, predictions
  )
  path = write()
  before = {p.name: p.read_bytes() for p in path.parent.iterdir()}

  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(os, "replace", full)
  with pytest.raises(OSError, match="No space left"):
    write()
  assert {p.name: p.read_bytes() for p in path.parent.iterdir()} == before


def test_an_evaluation_that_is_missing_or_damaged_says_how_to_make_it(tmp_path):
  command = r"python -m mcr_jax.evaluate --workdir .* --split test"
  with pytest.raises(UserError, match=f"none .*`{command}`"):
    evaluators.read(tmp_path / "none", "test")
  with pytest.raises(UserError, match="test.json"):
    evaluators.read(tmp_path, "test")
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  path = evaluators.write(tmp_path, "test", results, ["x"] * N, labels, predictions)
  whole = path.read_text()
  archive = path.with_suffix(".npz")
  data = archive.read_bytes()

  for broken in (whole[:99], "[]", "{}", '{"metrics": 3, "predictions_sha256": ""}'):
    path.write_text(broken)
    with pytest.raises(UserError, match=f"test.json .*`{command}`"):
      evaluators.read(tmp_path, "test")
  path.write_text(whole)
  archive.write_bytes(data[:-1])
  with pytest.raises(UserError, match="test.npz"):
    evaluators.read(tmp_path, "test")
  archive.unlink()
  with pytest.raises(UserError, match="test.npz"):
    evaluators.read(tmp_path, "test")


def test_results_of_the_last_checkpoint_are_not_read_as_those_of_the_best(tmp_path):
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  last = dataclasses.replace(results, checkpoint="last")
  path = evaluators.write(tmp_path, "test", last, ["x"] * N, labels, predictions)
  assert path.name == "last_test.json"
  assert evaluators.read(tmp_path, "last_test").results.checkpoint == "last"
  with pytest.raises(UserError, match="test.json"):
    evaluators.read(tmp_path, "test")
  # As an earlier version left them.
  for file in list(path.parent.iterdir()):
    file.rename(file.with_name(file.name.removeprefix("last_")))
  with pytest.raises(UserError, match="'last_test'"):
    evaluators.read(tmp_path, "test")


def test_results_that_version_0_1_0_wrote_are_read(tmp_path):
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels, seeds=(4, 7, 9))
  path = evaluators.write(tmp_path, "test", results, ["x"] * N, labels, predictions)
  score = {"mean": None, "std": 0.5, "seeds": [1.0, None, 2.0], "ensemble": 1.5}
  path.write_text(
    json.dumps(
      {
        "split": "test",
        "scheme": "sentiment",
        "samples": N,
        "seeds": [4, 7, 9],
        "class_names": [],
        "metrics": {"corr": {**score, "reason": "seed 7: the labels are constant"}},
        "confusion": None,
        "notes": ["A note."],
        "predictions_sha256": json.loads(path.read_text())["predictions_sha256"],
      }
    )
  )
  found = evaluators.read(tmp_path, "test").results
  corr = found.metrics["corr"]
  assert math.isnan(corr.mean) and (corr.std, corr.ensemble) == (0.5, 1.5)
  assert math.isnan(corr.seeds[1]) and corr.seeds[::2] == (1.0, 2.0)
  assert corr.reason == "seed 7: the labels are constant"
  assert (found.notes, found.checkpoint, found.seeds) == (
    ("A note.",),
    "best",
    (4, 7, 9),
  )
  assert list(json.loads(path.read_text())) == list(
    {"split": 0, **results.to_json(), "predictions_sha256": 0}
  )


def test_a_changed_digit_of_a_result_is_noticed(tmp_path):
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  path = evaluators.write(tmp_path, "test", results, ["x"] * N, labels, predictions)
  found = json.loads(path.read_text())
  found["metrics"]["mae"]["mean"] += 1e-9
  path.write_text(json.dumps(found))
  with pytest.raises(UserError, match="test.json"):
    evaluators.read(tmp_path, "test")


@pytest.mark.parametrize("lacking", ["scheme", "class_names", "seeds"])
def test_results_of_another_program_are_refused(tmp_path, lacking):
  predictions, labels = regression()
  results = evaluators.summarise("auto", predictions, labels)
  path = evaluators.write(tmp_path, "test", results, ["x"] * N, labels, predictions)
  whole = json.loads(path.read_text())
  del whole[lacking]
  path.write_text(json.dumps(files.sealed(whole)))
  with pytest.raises(UserError, match=f"test.json .*{lacking}"):
    evaluators.read(tmp_path, "test")


@pytest.mark.parametrize("count", [3, 5])
def test_many_targets_take_a_line_each(count):
  draw = np.random.default_rng(0)
  labels = draw.normal(size=(20, count))
  predictions = labels + draw.normal(size=(2, 20, count))
  names = tuple(f"t{i}" for i in range(count))
  results = evaluators.summarise("regression", predictions, labels, target_names=names)
  lines = evaluators.table(results, "test").splitlines()
  long = evaluators.table(results, "test", full=True).splitlines()
  mine = [x.split() for x in lines if x.startswith("t1")]
  assert sum(x.startswith("t1/") for x in long) == 4
  assert any(x.startswith("mae") for x in lines)
  if count == 3:
    assert lines == long
    return
  (row,) = mine
  assert row[0] == "t1" and float(row[1]) == pytest.approx(
    results.metrics["t1/mae"].mean, abs=1e-4
  )
  assert any("--full" in x for x in lines)
