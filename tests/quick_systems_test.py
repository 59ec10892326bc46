"""What `bin/quick_systems` and `bin/overfit_systems` make of trainings, without any."""

import dataclasses
import importlib.machinery
import importlib.util
import json
import pathlib
import sys

import numpy as np
import pytest

from benchmarks import each_system
from configs import systems
from mcr_jax.data import load, synthetic

BIN = pathlib.Path(__file__).resolve().parent.parent / "bin"


def program_of(name):
  loader = importlib.machinery.SourceFileLoader(name, str(BIN / name))
  module = importlib.util.module_from_spec(
    importlib.util.spec_from_loader(name, loader)
  )
  keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
  try:
    loader.exec_module(module)
  finally:
    sys.dont_write_bytecode = keep
  return module


@pytest.fixture(scope="module")
def program():
  return program_of("quick_systems")


@pytest.fixture(scope="module")
def overfit():
  return program_of("overfit_systems")


def test_every_system_has_its_turn():
  names = each_system.every()
  assert {name.partition(",")[0] for name in names} == set(systems.SYSTEMS)
  assert "routing,small" in names


def test_a_system_has_no_more_to_learn_than_it_sees(program, tmp_path, monkeypatch):
  scores = {name: {"mean": 2.0} for name in ("mae", "acc2_non0")}
  (tmp_path / "eval").mkdir()
  (tmp_path / "eval" / "test.json").write_text(json.dumps({"metrics": scores}))
  monkeypatch.setattr(program, "read", lambda _: ["text", "audio"])
  deaf, other = (program.reached(tmp_path, name) for name in ("cm_bert,mosei", "mfn"))
  assert program.verdict(deaf) == "nothing to learn"
  assert program.verdict(other) == "no more than a constant"


@pytest.mark.parametrize(
  "reads, mae, outcome",
  [
    (["text"], 2.0, "nothing to learn"),
    (["vision"], 1.6, "learnt"),
    (["text", "audio"], 1.7, "more than a constant"),
    (["text", "audio", "vision"], 1.2, "learnt"),
    (["text", "audio", "vision"], 1.95, "no more than a constant"),
  ],
)
def test_an_error_is_judged_by_what_the_inputs_allow(program, reads, mae, outcome):
  bound = program.bound(reads)
  assert bound in (*synthetic.MAE.values(), synthetic.BEST_MAE)
  assert program.verdict({"mae": mae, "bound": bound}) == outcome


def test_what_is_done_is_not_run_again_and_what_failed_is(
  program, tmp_path, monkeypatch
):
  codes = iter((2, -24, 0))
  cost = {"cpu_s": 1.0, "peak_mb": 2.0}
  monkeypatch.setattr(each_system, "train", lambda *_: (next(codes), cost))
  monkeypatch.setattr(each_system, "why", lambda code, *_: f"code {code}")
  scores = {"reads": ["text", "audio", "vision"], "bound": 0.5, "mae": 0.6}
  look = dataclasses.replace(program.LOOK, reached=lambda *_: scores)
  folder = tmp_path / "mfn"
  run = lambda flags: each_system.one(look, "mfn", folder, 5, flags)["outcome"]
  assert [run([]) for _ in range(4)] == ["code 2", "code -24", "learnt", "learnt"]
  saved = json.loads((folder / "look.json").read_text("utf-8"))
  assert saved["mae"] == 0.6 and saved["cpu_s"] == 1.0
  with pytest.raises(StopIteration):
    run(["--config.train.epochs=3"])


def test_samples_to_learn_by_heart_are_the_same_in_every_split(overfit, tmp_path):
  overfit.data(tmp_path / "samples.npz")
  found = load({"path": str(tmp_path / "samples.npz")})
  train, valid = (found.indices(split) for split in ("train", "valid"))
  assert len(train) == overfit.SAMPLES
  for x in found.modalities.values():
    a, b = (x.select(rows).values for rows in (train, valid))
    np.testing.assert_array_equal(a, b)
  np.testing.assert_array_equal(found.labels[train], found.labels[valid])


def test_what_is_learnt_by_heart_is_what_comes_near_enough(overfit, tmp_path):
  error = [2.0, 0.19, 0.3]
  lines = [
    {"valid/mae": [e], "train/loss/kl": [i + 1.0], "train/loss/ctc": [0.0]}
    for i, e in enumerate(error)
  ]
  text = "\n".join(map(json.dumps, [*lines, {"best/epoch": [2]}]))
  (tmp_path / "metrics.jsonl").write_text(text)
  found = overfit.reached(tmp_path, "mib")
  assert found == {"mae": 0.3, "least": 0.19, "steps": 2, "ends": {"kl": (1.0, 2.0)}}
  assert overfit.verdict(found) == "by heart"
  assert overfit.verdict(found | {"least": 0.21}) == "not by heart"
  assert "kl 1 to 2" in each_system.line(overfit.LOOK, "mib", found | {"outcome": ""})


def test_dropout_and_decay_are_off_for_it(overfit, tmp_path):
  found = overfit.flags("mfm", tmp_path)
  assert "--config.model.factor_dropout=0.0" in found
  assert "--config.optim.weight_decay=0.0" in found
