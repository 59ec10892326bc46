"""Two real processes on loopback: the same run, and its end when one is killed.

Each process has one CPU device and its collectives go through a socket (gloo), so what
is tested is what a cluster does, but for the network. Processes are started as a user
starts them. Sums over two devices are the same in either order: a run of two processes
is the run of one process with two devices, bit for bit.
"""

import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from mcr_jax import config as configs
from mcr_jax.runs.fit import fit
from tests import quick
from tests.training import tiny

ROOT = pathlib.Path(__file__).resolve().parents[2]
EPOCHS, STEPS = 6, 4
LIMIT = 120
# As `python -m mcr_jax.train`, with less patience for a lost process.
PROGRAM = """
from mcr_jax import cli
from mcr_jax.train import main
from mcr_jax.hosts import watch
watch.INTERVAL, watch.TIMEOUT, watch.GRACE = 0.5, 5.0, 1.0
cli.run(main)
"""


@pytest.fixture(scope="module")
def file(tmp_path_factory):
  return tiny.write(tmp_path_factory.mktemp("data"))


def config(file, **groups):
  given = {"mesh": {"seed": 1, "data": 2}, "data": {"buckets": 1}}
  given["train"] = {"epochs": EPOCHS, "checkpoint_seconds": 1e6}
  return tiny.config(
    file, **{k: {**given.get(k, {}), **groups.get(k, {})} for k in given}
  )


@pytest.fixture(scope="module")
def whole(file, tmp_path_factory):
  """One process, two devices, undisturbed."""
  workdir = tmp_path_factory.mktemp("whole") / "run"
  fit(config(file), workdir, verbose=False)
  return workdir


class Pair:
  """Two processes of one run; on the way out none is left."""

  def __init__(self, folder: pathlib.Path, *arguments: str):
    self.folder, self.arguments = folder, arguments
    self.workdir = folder / "run"

  def start(self, *arguments: str) -> "Pair":
    # Free a moment ago. Another program may take it in between: `ended` would say so.
    with socket.socket() as probe:
      probe.bind(("127.0.0.1", 0))
      port = probe.getsockname()[1]
    environment = os.environ | {
      "JAX_PLATFORMS": "cpu",
      "XLA_FLAGS": quick.flags(devices=1),
      # The second start finds the programs of the first.
      "JAX_COMPILATION_CACHE_DIR": str(self.folder / "cache"),
      "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
      "PYTHONPATH": str(ROOT),
    }
    self.processes, self.logs = [], []
    for index in range(2):
      self.logs.append(self.folder / f"{len(list(self.folder.iterdir()))}-{index}.log")
      with self.logs[-1].open("w") as log:
        command = [sys.executable, "-c", PROGRAM, "--workdir", str(self.workdir)]
        command += ["--coordinator", f"127.0.0.1:{port},2,{index}"]
        command += [*self.arguments, *arguments]
        self.processes.append(
          subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
        )
    return self

  def __enter__(self) -> "Pair":
    return self

  def __exit__(self, *_) -> None:
    for process in self.processes:
      process.kill()
      process.wait()

  def reach(self, step: int) -> None:
    """Returns when a checkpoint beyond `step` is there."""
    folder, began = self.workdir / "checkpoints" / "last", time.monotonic()
    while True:
      steps = [int(x.name) for x in folder.glob("*") if x.name.isdecimal()]
      if max(steps, default=-1) > step:
        return
      running = all(process.poll() is None for process in self.processes)
      assert running and time.monotonic() - began < LIMIT, self.said()
      time.sleep(0.02)

  def ended(self) -> list[int]:
    """The exit codes of both; neither may hang."""
    try:
      return [process.wait(LIMIT) for process in self.processes]
    except subprocess.TimeoutExpired:
      raise AssertionError(f"a process hangs: {self.said()}") from None

  def said(self) -> str:
    return "\n".join(log.read_text()[-3000:] for log in self.logs)


def pair(folder, config) -> Pair:
  """Of a config, which goes through a file as a user's does."""
  path = folder / "config.py"
  path.write_text(
    "from mcr_jax import config\n"
    f"def get_config():\n  return config.from_json({configs.to_json(config)!r})\n"
  )
  return Pair(folder, "--config", str(path))


def assert_same(workdir, whole):
  assert tiny.epochs(workdir) == tiny.epochs(whole)
  for split in ("valid", "test"):
    np.testing.assert_array_equal(
      tiny.predictions(workdir, split), tiny.predictions(whole, split)
    )
  # Over parameters, optimiser, keys, selection and position.
  assert tiny.newest_digests(workdir) == tiny.newest_digests(whole)


def test_two_processes_that_are_killed_and_stopped_end_as_one_undisturbed(
  file, whole, tmp_path
):
  # A checkpoint after every call of one step: there is always a middle.
  settings = config(file, train={"checkpoint_seconds": 0.0, "epochs": EPOCHS})
  with pair(tmp_path, settings).start() as run:
    run.reach(2)
    run.processes[1].kill()
    began = time.monotonic()
    assert run.ended() == [5, -signal.SIGKILL], run.said()
    assert time.monotonic() - began < 30
    assert "mcr_jax: error: " in run.said() and "--resume" in run.said()
    assert "Traceback" not in run.said()

    run.start("--resume").reach(STEPS + 2)
    run.processes[1].send_signal(signal.SIGTERM)
    # One was told, both stop, with a checkpoint at the same step.
    assert run.ended() == [143, 143], run.said()
    assert f"of {EPOCHS * STEPS} steps are done and saved" in run.said()

    run.start("--resume")
    assert run.ended() == [0, 0], run.said()
  assert_same(run.workdir, whole)
  assert not list(run.workdir.glob(".*"))  # drafts of files that are replaced


def test_two_processes_that_stream_are_one_that_does_not(file, whole, tmp_path):
  settings = config(file, data={"placement": "stream"}, train={"steps_per_call": 0})
  with pair(tmp_path, settings).start() as run:
    assert run.ended() == [0, 0], run.said()
  # The device normalises what streams: another rounding than the host's.
  tiny.assert_close(tiny.epochs(run.workdir), tiny.epochs(whole), 1e-5)
  # Written once, by one of them.
  assert len(list((run.workdir / "events").iterdir())) == 1
  assert not list(run.workdir.rglob("ocdbt.process_1"))


def test_two_processes_are_close_to_one_device(file, whole, tmp_path):
  one = config(file, mesh={"data": 1})
  fit(one, tmp_path / "run", verbose=False)
  # Sums over samples in another order; Adam divides what remains by what it was.
  tiny.assert_close(tiny.epochs(whole), tiny.epochs(tmp_path / "run"), 1e-4)
