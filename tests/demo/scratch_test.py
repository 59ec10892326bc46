"""A folder that goes with its process, even a process that was killed."""

import os
import subprocess
import sys
import tempfile

import pytest

pytest.importorskip("fcntl")
from mcr_jax.demo import scratch  # noqa: E402


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_it_is_of_this_user_alone_and_goes(tmp_path):
  with scratch.folder() as place:
    assert place.stat().st_mode & 0o777 == 0o700
    (place / "clip").write_bytes(b"x")
    assert scratch.sweep() == []
  assert list(tmp_path.iterdir()) == []
  with pytest.raises(KeyboardInterrupt), scratch.folder():
    raise KeyboardInterrupt
  assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_is_removed_and_nothing_else(tmp_path):
  code = (
    "import os, signal, tempfile\n"
    f"tempfile.tempdir = {str(tmp_path)!r}\n"
    "from mcr_jax.demo import scratch\n"
    "with scratch.folder() as place:\n"
    "  (place / 'clip').write_bytes(b'x')\n"
    "  os.kill(os.getpid(), signal.SIGKILL)\n"
  )
  subprocess.run([sys.executable, "-c", code], timeout=60, check=False)
  (left,) = tmp_path.iterdir()
  assert (left / "clip").exists()
  other = tmp_path / "other"
  other.mkdir()
  (tmp_path / f"{scratch.PREFIX}link").symlink_to(other)
  fresh = tmp_path / f"{scratch.PREFIX}fresh"
  fresh.mkdir()
  assert scratch.sweep() == [left]
  assert other.is_dir() and fresh.is_dir()
  os.utime(fresh, (0, 0))
  assert scratch.sweep() == [fresh]
