"""The script for machines with a GPU runs here too, small, and goes on where it was."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import machine  # noqa: E402
from benchmarks.gpu.ledger import Ledger  # noqa: E402
from tests import quick  # noqa: E402


def check(folder, *arguments):
  """The finished process of `bin/gpu_check`, on one CPU device."""
  environment = {**os.environ, "XLA_FLAGS": quick.flags(), "JAX_PLATFORMS": "cpu"}
  command = [sys.executable, ROOT / "bin" / "gpu_check", "--out", folder, *arguments]
  return subprocess.run(
    command, env=environment, capture_output=True, text=True, timeout=300
  )


def test_every_part_runs_small_and_a_second_call_measures_nothing_again(tmp_path):
  first = check(tmp_path, "--quick")
  assert first.returncode == 0, first.stdout + first.stderr
  assert "all right" in first.stdout and "2 seeds cost" in first.stdout
  written = {part.name: part.read_text() for part in tmp_path.glob("*.json")}
  assert set(written) == {
    f"{part}.json" for part in ("machine", "correct", "steps", "table", "timing")
  }
  correct = json.loads(written["correct.json"])
  for name in ("dense", "blocked", "pallas"):
    errors = [row["error"] for label, row in correct.items() if f" {name} " in label]
    assert len(errors) == 2 and max(errors) < 2e-5
  again = check(tmp_path, "--quick", "--parts", "correct")
  assert again.returncode == 0, again.stderr
  assert {part.name: part.read_text() for part in tmp_path.glob("*.json")} == written


def test_an_unknown_part_is_answered_with_the_known_ones(tmp_path):
  answer = check(tmp_path, "--parts", "speed")
  assert answer.returncode == 2
  assert "speed is none of machine,correct,steps,table,timing" in answer.stderr


def test_a_row_that_fails_is_kept_and_tried_again_at_the_next_call(tmp_path, capsys):
  path, later = tmp_path / "rows.json", time.time() + 100

  def fails():
    raise RuntimeError("out of memory")

  ledger = Ledger(path, later, True)
  ledger.measure("one", lambda: {"line": "1 ms"})
  ledger.measure("two", fails)
  again = Ledger(path, later, True)
  assert again.rows["two"]["failed"] == "RuntimeError: out of memory"
  again.measure("one", fails)
  again.measure("two", lambda: {"line": "2 ms"})
  rows = json.loads(path.read_text())
  assert {name: row["line"] for name, row in rows.items()} == {
    "one": "1 ms",
    "two": "2 ms",
  }
  capsys.readouterr()


def test_nothing_begins_that_would_end_after_the_deadline(tmp_path):
  ledger = Ledger(tmp_path / "rows.json", time.time() + 5, True)
  assert ledger.due("short", seconds=1)
  ledger.measure("long", pytest.fail, seconds=10)
  assert ledger.late and not ledger.rows


def test_missing_packages_are_named_as_an_index_knows_them():
  names = {"json": "json", "no_such_module": "no-such-module"}
  assert machine.absent(names) == ["no-such-module"]
  assert "pip download --no-deps -d wheels no-such-module" in machine.advice(
    machine.absent(names)
  )
