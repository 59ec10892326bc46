"""The campaign of faults: what it counts, where it goes on, what is a failure."""

import contextlib
import importlib
import os
import subprocess
import sys
import textwrap
import types

import pytest

from benchmarks.faults import campaign, subject, table
from benchmarks.faults.campaign import Failure, Skipped
from mcr_jax.errors import UserError


@pytest.fixture
def row(tmp_path, monkeypatch):
  """A row whose every third case fails, and what it tried."""
  monkeypatch.setattr(campaign, "RECORDS", tmp_path)
  tried, broken = [], [True]

  @contextlib.contextmanager
  def cases(folder, seed):
    def case(number):
      tried.append(number)
      if number % 3 == 2 and broken[0]:
        raise Failure(f"breaks | at {number}")
      if number == 4:
        raise Skipped("needs root")
      return f"holds | {campaign.drawn(seed, 'x', number).random()}"

    yield case

  return types.SimpleNamespace(cases=cases, COUNT=6, tried=tried, broken=broken)


def test_a_campaign_goes_on_where_it_was_stopped(row):
  campaign.run("x", row, 3, 7)
  found = campaign.run("x", row, 6, 7)
  assert row.tried == [0, 1, 2, 3, 4, 5] and found["done"] == 6
  assert found["outcomes"] == {
    "holds": 3,
    "FAILED: breaks": 2,
    "not tried: needs root": 1,
  }
  (failure,) = found["failures"]
  assert (failure["count"], failure["cases"]) == (2, [2, 5])
  with pytest.raises(UserError, match="--seed 7"):
    campaign.run("x", row, 7, 8)


def test_a_failure_stays_open_until_its_cases_hold(row):
  campaign.run("x", row, 6, 7)
  (failure,) = campaign.again("x", row, "mended: it")["failures"]
  assert failure["became"] == ""
  row.broken[0] = False
  (failure,) = campaign.again("x", row, "mended: it")["failures"]
  assert failure["became"] == "mended: it"
  assert row.tried[6:] == [2, 5, 2, 5]


def test_more_than_one_line_is_a_failure():
  line = "mcr_jax: error: the disk is full\n"
  ended = lambda code, err: subject.Ended(code, "", err, 0.0)
  assert subject.one_line(ended(2, line)) == "the disk is full"
  for code, err in ((1, line), (2, "Traceback\n" + line), (2, line + line), (2, "")):
    with pytest.raises(Failure):
      subject.one_line(ended(code, err))


def test_what_a_stopped_program_leaves_is_found(tmp_path):
  kept = ("run.json", ".hidden", "checkpoints/last/4/d/0123abcd")
  left = (".run.json.0123abcd", "checkpoints/last/4.orbax-checkpoint-tmp", "3.deleted")
  for name in (*kept, *left):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).touch()
  assert subject.strays(tmp_path) == sorted(left)


READERS = """
  from benchmarks.faults import campaign, hostile
  readers = {
    "loaded": lambda: "loaded",
    "ZeroDivisionError": lambda: 1 / 0,
    "open is called": lambda: open("x", "w"),
    "MemoryError": lambda: bytearray(4 << 30),
  }
  for said, read in readers.items():
    try:
      print(hostile.attempt(read) == said)
    except campaign.Failure as failure:
      print(said in str(failure))
"""


def test_a_reader_that_misbehaves_is_caught(tmp_path):
  """In a process without threads, since each reader gets a fork of it."""
  command = [sys.executable, "-c", textwrap.dedent(READERS)]
  given = os.environ | {"PYTHONPATH": str(campaign.ROOT)}
  done = subprocess.run(
    command, capture_output=True, text=True, env=given, cwd=tmp_path, timeout=100
  )
  assert done.stdout == "True\n" * 4, done.stderr
  assert not list(tmp_path.iterdir())


def test_the_page_shows_the_records():
  for name in campaign.ROWS:
    module = importlib.import_module(f"benchmarks.faults.{name}")
    assert module.WHAT and module.MUST and module.COUNT
  page = table.README.read_text("utf-8")
  assert f"{table.BEGIN}\n{table.text()}\n{table.END}" in page
