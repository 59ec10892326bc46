"""One JSON line a sample: every seed, and all of them together."""

import dataclasses
import json
import runpy
import sys

import numpy as np
import pytest

from mcr_jax import cli
from mcr_jax.contract import Spec
from mcr_jax.data import npz
from mcr_jax.errors import UserError
from mcr_jax.predict import lines
from mcr_jax.runs.fit import fit
from tests.training import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("predict")


@pytest.fixture(scope="module")
def trained(folder):
  """A run of a task, trained once."""
  runs = {}

  def of(task):
    if task not in runs:
      config = tiny.config(tiny.write(folder, task), train={"epochs": 1})
      runs[task] = fit(config, folder / task, verbose=False)
    return runs[task]

  return of


@pytest.fixture(scope="module")
def clips(folder):
  """A file as a user has it: no labels, no splits."""
  data = tiny.dataset(seed=9, labels=None, splits=None)
  npz.write(folder / "clips.npz", data.select(np.arange(5, 34)))
  return folder / "clips.npz"


def read(run, clips):
  return [json.loads(line) for line in lines(run, run.read(clips))]


def test_a_longer_clip_is_read_whole_and_does_not_change_the_others(trained):
  run = trained("regression")
  longer = tiny.dataset(longest={**tiny.LONGEST, "audio": 23}, labels=None, splits=None)
  long = longer.modalities["audio"].lengths > tiny.LONGEST["audio"]
  found = run.predict(longer)
  alone = run.predict(longer.select(np.flatnonzero(~long)))
  np.testing.assert_array_equal(found[:, ~long], alone)
  audio = longer.modalities["audio"].shortened(np.full(len(longer), 17))
  cut = dataclasses.replace(longer, modalities={**longer.modalities, "audio": audio})
  assert long.any() and (found != run.predict(cut))[:, long].all()


def test_a_regression_gives_numbers(trained, clips):
  run = trained("regression")
  found, predictions = read(run, clips), run.predict(clips)
  assert [x["id"] for x in found] == [str(i) for i in range(5, 34)]
  for i, line in enumerate(found):
    assert line["seeds"] == {
      str(seed): pytest.approx(float(predictions[s, i, 0]))
      for s, seed in enumerate((1, 3))
    }
    assert line["prediction"] == pytest.approx(np.mean(list(line["seeds"].values())))
  # The last training sample has no audio.
  assert [x["id"] for x in found if x.get("missing") == ["audio"]] == ["28"]


def test_classes_give_the_likeliest_and_the_probability_of_each(trained, clips):
  run = trained("multiclass")
  for line in read(run, clips):
    for part in (line["prediction"], *line["seeds"].values()):
      assert list(part["probability"]) == ["low", "mid", "high"]
      assert sum(part["probability"].values()) == pytest.approx(1)
      assert part["class"] == max(part["probability"], key=part["probability"].get)
    mean = np.mean([list(x["probability"].values()) for x in line["seeds"].values()], 0)
    together = list(line["prediction"]["probability"].values())
    np.testing.assert_allclose(together, mean, rtol=1e-5)


def test_two_way_labels_give_the_probability_of_each(trained, clips):
  run = trained("binary")
  logits = run.predict(clips)
  for i, line in enumerate(read(run, clips)):
    for s, part in enumerate(line["seeds"].values()):
      assert list(part) == ["low", "mid", "high"]
      yes = 1 / (1 + np.exp(logits[s, i, :, 0] - logits[s, i, :, 1]))
      np.testing.assert_allclose(list(part.values()), yes, rtol=1e-4)
    mean = np.mean([list(x.values()) for x in line["seeds"].values()], 0)
    np.testing.assert_allclose(list(line["prediction"].values()), mean, rtol=1e-5)


@dataclasses.dataclass
class Made:
  """A run whose predictions are given."""

  spec: Spec
  values: np.ndarray
  seeds: tuple[int, ...] = (1, 3)

  def predict(self, _):
    return self.values


def test_labels_with_classes_of_their_own_are_told_by_target(clips):
  data = npz.read(clips)
  values = np.random.default_rng(0).normal(size=(2, len(data), 2, 3))
  spec = Spec(
    {"text": 1},
    outputs=(2, 3),
    task="multitask",
    class_names=(("low", "high"), ("a", "b", "c")),
    target_names=("warmth", "kind"),
  )
  for i, line in enumerate(map(json.loads, lines(Made(spec, values), data))):
    warmth = line["seeds"]["3"]["warmth"]
    high = 1 / (1 + np.exp(values[1, i, 0, 0] - values[1, i, 0, 1]))
    assert warmth["probability"] == {
      "low": pytest.approx(1 - high),
      "high": pytest.approx(high),
    }
    assert warmth["class"] == ("high" if high > 0.5 else "low")
    assert list(line["prediction"]["kind"]["probability"]) == ["a", "b", "c"]


def test_numbers_of_targets_with_names_are_told_by_name(clips):
  data = npz.read(clips)
  values = np.random.default_rng(0).normal(size=(2, len(data), 2))
  named = Spec({"text": 1}, outputs=(2,), target_names=("valence", "arousal"))
  line = json.loads(next(lines(Made(named, values), data)))
  assert line["seeds"]["1"] == dict(zip(named.target_names, values[0, 0], strict=True))
  bare = Spec({"text": 1}, outputs=(2,))
  line = json.loads(next(lines(Made(bare, values), data)))
  assert line["prediction"] == pytest.approx(values[:, 0].mean(0).tolist())


def test_what_is_not_finite_is_null(trained, clips, monkeypatch):
  run = trained("regression")
  data = run.read(clips)
  broken = np.full((2, len(data), 1), np.inf, np.float32)
  monkeypatch.setattr(type(run), "predict", lambda *_: broken)
  assert json.loads(next(lines(run, data)))["prediction"] is None


@pytest.fixture
def program(trained, clips, monkeypatch, capsys):
  def predict(*arguments):
    run = ["--workdir", str(trained("regression").workdir), "--input", str(clips)]
    monkeypatch.setattr(sys, "argv", ["predict", *run, *map(str, arguments)])
    monkeypatch.setattr(cli, "prepare", lambda *_: None)
    monkeypatch.delitem(sys.modules, "mcr_jax.predict", raising=False)
    with pytest.raises(SystemExit) as ended:
      runpy.run_module("mcr_jax.predict", run_name="__main__")
    return ended.value.code, capsys.readouterr()

  return predict


def test_the_program_writes_to_the_screen_or_to_a_file(program, tmp_path):
  code, output = program()
  assert code == 0 and len(output.out.splitlines()) == 29
  path = tmp_path / "new" / "lines.jsonl"
  code, nothing = program("--output", path)
  assert code == 0 and not nothing.out
  assert path.read_text() == output.out
  assert [*tmp_path.iterdir(), *path.parent.iterdir()] == [path.parent, path]


def test_the_program_leaves_nothing_half_written(program, tmp_path, monkeypatch):
  code, output = program("--output", tmp_path)
  assert code == 2 and "this is a folder, where a file is needed" in output.err

  def fail(*_):
    raise UserError("in the middle")

  monkeypatch.setattr("mcr_jax.runs.run.Run.predict", fail)
  code, output = program("--output", tmp_path / "lines.jsonl")
  assert code == 2 and "in the middle" in output.err
  assert not list(tmp_path.iterdir())


def test_the_program_replaces_neither_its_input_nor_a_pipe(program, tmp_path):
  import os

  path = tmp_path / "clips.npz"
  path.write_bytes(b"mine")
  code, output = program("--input", path, "--output", path)
  assert code == 2 and "would replace the --input" in output.err
  assert path.read_bytes() == b"mine"
  os.mkfifo(tmp_path / "pipe")
  code, output = program("--output", tmp_path / "pipe")
  assert code == 2 and "is a device or a pipe" in output.err


def test_a_file_that_is_not_there_is_told(program, tmp_path):
  code, output = program("--input", tmp_path / "gone.npz")
  assert code == 2 and "gone.npz" in output.err
