"""What `bin/quick_systems` makes of trainings, without training any."""

import importlib.machinery
import importlib.util
import json
import pathlib
import sys

import pytest

from configs import systems
from mcr_jax.data import synthetic

PATH = pathlib.Path(__file__).resolve().parent.parent / "bin" / "quick_systems"


@pytest.fixture(scope="module")
def program():
  loader = importlib.machinery.SourceFileLoader("quick_systems", str(PATH))
  module = importlib.util.module_from_spec(
    importlib.util.spec_from_loader("quick_systems", loader)
  )
  keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
  try:
    loader.exec_module(module)
  finally:
    sys.dont_write_bytecode = keep
  return module


def test_every_system_has_its_turn(program):
  names = program.every()
  assert {name.partition(",")[0] for name in names} == set(systems.SYSTEMS)
  assert "routing,small" in names


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
  monkeypatch.setattr(program, "train", lambda *_: (next(codes), cost))
  scores = {"reads": ["text", "audio", "vision"], "bound": 0.5, "mae": 0.6}
  monkeypatch.setattr(program, "reached", lambda _: scores)
  monkeypatch.setattr(program, "why", lambda code, *_: f"code {code}")
  run = lambda flags: program.one("mfn", tmp_path / "mfn", 5, flags)["outcome"]
  assert [run([]) for _ in range(4)] == ["code 2", "code -24", "learnt", "learnt"]
  saved = json.loads((tmp_path / "mfn" / "quick.json").read_text("utf-8"))
  assert saved["mae"] == 0.6 and saved["cpu_s"] == 1.0
  with pytest.raises(StopIteration):
    run(["--config.train.epochs=3"])
