"""Files that are whole or not there, strict JSON, and digests."""

import dataclasses
import errno
import hashlib
import json
import math
import pathlib
import subprocess
import sys
import textwrap

import jax.numpy as jnp
import numpy as np
import pytest

from mcr_jax import files


def refuse(constant):
  pytest.fail(f"{constant} is not JSON")


def test_a_file_is_written_in_a_folder_that_is_made(tmp_path):
  files.write(tmp_path / "a/b.txt", "é\n")
  files.write(tmp_path / "a/b.txt", b"\xff")
  assert (tmp_path / "a/b.txt").read_bytes() == b"\xff"
  assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("where", ["pathlib.Path.write_bytes", "os.replace"])
def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch, where):
  files.write(tmp_path / "x", "old")

  def full(self, *_):
    # As much as fits is there before a disk is full.
    pathlib.Path(self).touch()
    raise OSError(errno.ENOSPC, "No space left on device")

  monkeypatch.setattr(where, full)
  with pytest.raises(OSError, match="No space"):
    files.write(tmp_path / "x", "new")
  assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_what_raises_while_it_is_written_replaces_nothing(tmp_path):
  files.write(tmp_path / "x", "old")
  with pytest.raises(KeyboardInterrupt), files.replacing(tmp_path / "x") as draft:
    draft.write_text("half of the ne")
    assert (tmp_path / "x").read_text() == "old"
    assert files.is_draft(draft.name, "x") and not files.is_draft("x", "x")
    raise KeyboardInterrupt
  assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


KILLED = """
  import os, signal, sys
  from mcr_jax import files
  with files.replacing(sys.argv[1]) as draft:
    draft.write_text("half of the ne")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path):
  path, other = tmp_path / "x", tmp_path / ".x.swp"
  other.write_text("another program's")
  subprocess.run([sys.executable, "-c", textwrap.dedent(KILLED), str(path)])
  (left,) = {p for p in tmp_path.iterdir()} - {other}
  assert files.is_draft(left.name, "x")
  with files.replacing(path) as living:
    living.write_text("first")
    files.write(path, "second")
    assert living.read_text() == "first" and not left.exists()
  assert path.read_text() == "first" and other.exists()
  assert len(list(tmp_path.iterdir())) == 2


def test_a_name_may_be_as_long_as_file_systems_allow(tmp_path):
  path = tmp_path / ("é" * 127 + "x")
  files.write(path, "whole")
  assert path.read_text() == "whole" and len(list(tmp_path.iterdir())) == 1


def test_an_error_names_the_file_and_not_its_draft(tmp_path):
  (tmp_path / "x").mkdir()
  with pytest.raises(OSError) as found:
    files.write(tmp_path / "x", "new")
  assert found.value.filename == str(tmp_path / "x")


def test_json_is_strict_and_holds_arrays_and_dataclasses():
  @dataclasses.dataclass(frozen=True)
  class Point:
    x: float
    y: tuple

  value = {
    "point": Point(math.nan, (1, -math.inf)),
    3: np.float32([0.5, np.nan]),
    "half": jnp.bfloat16(1.5),
    "deep": [{"none": None, "yes": np.bool_(True), "int": np.int64(7)}],
  }
  found = json.loads(files.json_text(value), parse_constant=refuse)
  assert found == {
    "point": {"x": None, "y": [1, None]},
    "3": [0.5, None],
    "half": 1.5,
    "deep": [{"none": None, "yes": True, "int": 7}],
  }


def test_a_json_file_ends_with_its_line(tmp_path):
  files.write_json(tmp_path / "x.json", {"a": [1, math.inf]}, indent=None)
  assert (tmp_path / "x.json").read_text() == '{"a": [1, null]}\n'


def test_a_digest_is_of_the_bytes_and_not_of_their_parts():
  want = hashlib.sha256(b"abcdef").hexdigest()
  assert files.digest([b"abc", memoryview(b"def")]) == want
  assert files.digest_of({"a": 1, "b": 2}) == files.digest_of({"b": 2, "a": 1})
  assert files.digest_of({"a": 1}) != files.digest_of({"a": 2})
