import io
import json
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

from mcr_jax.errors import DamagedCheckpoint, Interrupted, UserError
from mcr_jax.hosts.signals import Signals
from mcr_jax.runs import writer as writers
from mcr_jax.runs.progress import Progress, duration
from mcr_jax.runs.writer import Writer, describe


def lines(folder) -> list[dict]:
  text = (folder / "metrics.jsonl").read_text()
  # Strict: NaN is not JSON, and other readers refuse it.
  refuse = lambda constant: pytest.fail(f"{constant} is not JSON")
  return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def test_an_epoch_is_a_line_of_json(tmp_path):
  with Writer(tmp_path, (3, 5)) as writer:
    writer.write(1, {"train/loss": np.float32([0.5, 0.25]), "lr": 1e-3, "step": 7})
    writer.write(2, {"train/loss": np.float32([0.5, 0.125])})
  first, second = lines(tmp_path)
  assert first.pop(writers.CRC) != second.pop(writers.CRC)
  assert first == {"epoch": 1, "train/loss": [0.5, 0.25], "lr": 1e-3, "step": 7}
  assert second["epoch"] == 2


def test_an_undefined_value_is_null_with_its_reason(tmp_path):
  values = {"corr": [0.5, np.nan], "f1": np.inf, "acc": 1.0}
  with Writer(tmp_path) as writer:
    writer.write(1, values, reasons={"corr": "predictions of seed 1 are constant"})
  (entry,) = lines(tmp_path)
  assert entry["corr"] == [0.5, None] and entry["f1"] is None and entry["acc"] == 1.0
  assert entry["reasons"] == {
    "corr": "predictions of seed 1 are constant",
    "f1": "not finite: inf",
  }


def test_resuming_drops_later_epochs_and_half_a_line(tmp_path):
  with Writer(tmp_path) as writer:
    for epoch in (1, 2, 3):
      writer.write(epoch, {"loss": epoch / 2})
  with (tmp_path / "metrics.jsonl").open("a") as file:
    file.write('{"epoch": 4, "lo')
  assert [entry["epoch"] for entry in writers.read(tmp_path / "metrics.jsonl")] == [
    1,
    2,
    3,
  ]
  with Writer(tmp_path) as writer:
    writer.truncate_after(2)
    writer.write(3, {"loss": 9.0})
  assert writers.read(tmp_path / "metrics.jsonl") == [
    {"epoch": 1, "loss": 0.5},
    {"epoch": 2, "loss": 1.0},
    {"epoch": 3, "loss": 9.0},
  ]


def curves(folder) -> dict[tuple[str, int], float]:
  """What TensorBoard finds, by name and step."""
  from tensorboardX.proto import event_pb2

  found = {}
  for path in sorted((folder / "events").iterdir()):
    data, at = path.read_bytes(), 0
    while at < len(data):
      # A record: its length, a checksum of that, the event, a checksum.
      (size,) = struct.unpack_from("Q", data, at)
      event = event_pb2.Event.FromString(data[at + 12 : at + 12 + size])
      if event.session_log.status == event_pb2.SessionLog.START:
        found = {k: v for k, v in found.items() if k[1] < event.step}
      found |= {(v.tag, event.step): v.simple_value for v in event.summary.value}
      at += size + 16
  return found


def test_tensorboard_gets_the_mean_and_every_seed(tmp_path):
  with Writer(tmp_path, (3, 5)) as writer:
    writer.write(2, {"loss": [1.0, 2.0], "lr": 0.5, "name": "x"})
  assert curves(tmp_path) == {
    ("loss", 2): 1.5,
    ("loss/seed_3", 2): 1.0,
    ("loss/seed_5", 2): 2.0,
    ("lr", 2): 0.5,
  }


def test_a_seed_that_stopped_has_no_point_in_tensorboard(tmp_path, capfd):
  with Writer(tmp_path, (3, 5)) as writer:
    writer.write(1, {"loss": [np.nan, 2.0], "corr": np.nan, "f1": [np.nan, np.inf]})
  assert curves(tmp_path) == {("loss", 1): 2.0, ("loss/seed_5", 1): 2.0}
  # tensorboardX complains about each NaN that it is given.
  assert "NaN" not in "".join(capfd.readouterr()).replace("not finite: nan", "")


def test_resuming_hides_later_epochs_from_tensorboard(tmp_path):
  for start in (0, 2):
    with Writer(tmp_path) as writer:
      if start:
        writer.truncate_after(start)
        # Files are named by the second.
        (path,) = (tmp_path / "events").iterdir()
        path.rename(path.with_name("events.out.tfevents.1"))
      for epoch in range(start + 1, 4):
        writer.write(epoch, {"loss": epoch + start})
  assert curves(tmp_path) == {("loss", 1): 1, ("loss", 2): 2, ("loss", 3): 5}


@pytest.mark.parametrize("size", [60, 300, 315])
def test_a_full_disk_ends_a_run_and_does_not_hang_it(tmp_path, size):
  """A limit on the size of files stands in for the disk; in a process of its own."""
  program = textwrap.dedent(f"""
    import resource, signal
    from mcr_jax import cli
    from mcr_jax.runs.writer import Writer
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    def main(argv):
      resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
      with Writer({str(tmp_path)!r}) as writer:
        for epoch in range(100):
          writer.write(epoch, {{"loss": 0.5}})
    cli.run(main)
  """)
  done = subprocess.run(
    [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
  )
  assert done.returncode == 2, done.stderr
  assert done.stderr.startswith("mcr_jax: error: ") and done.stderr.count("\n") == 1
  # Of the line that did not fit, nothing is left.
  text = (tmp_path / "metrics.jsonl").read_text()
  assert not text or text.endswith("\n")
  assert [row["epoch"] for row in lines(tmp_path)] == list(range(text.count("\n")))


def test_run_json_says_what_ran_on_what(tmp_path):
  facts = {**describe(), "seeds": np.arange(2), "best": float("nan")}
  Writer(tmp_path).write_json("run.json", facts)
  run = json.loads((tmp_path / "run.json").read_text())
  assert set(run["versions"]) >= {"python", "mcr_jax", "jax", "flax", "numpy"}
  assert run["device"]["count"] >= 1 and run["command"]
  assert run["seeds"] == [0, 1] and run["best"] is None


def test_without_a_terminal_progress_is_words(monkeypatch, capsys):
  progress = Progress(10, done=4)
  assert progress.note() == ""
  progress.update(2, "epoch 1/2")
  assert progress.note() == ""  # that one compiled
  progress.update(2, "epoch 1/2")
  assert progress.note().endswith(" s left)")
  progress.close()
  assert capsys.readouterr().err == ""


def test_the_time_left_does_not_count_compilation(monkeypatch):
  clock = [0.0]
  monkeypatch.setattr("mcr_jax.runs.progress.time.monotonic", lambda: clock[0])
  progress = Progress(110, done=10)
  assert progress.seconds_left() is None
  clock[0] = 60.0  # compiling
  progress.update(10)
  assert progress.seconds_left() is None
  clock[0] = 70.0
  progress.update(10)
  assert progress.seconds_left() == 80.0
  clock[0] = 100.0  # the first validation compiles, too
  assert progress.seconds_left() == 80.0
  progress.warm()
  assert progress.seconds_left() is None
  clock[0] = 112.0
  progress.update(10)
  clock[0] = 114.0  # the second takes two seconds, as all that follow
  assert progress.seconds_left() == 98.0


def test_on_a_terminal_progress_is_a_bar(monkeypatch):
  class Terminal(io.StringIO):
    isatty = lambda self: True

  monkeypatch.setattr("sys.stderr", Terminal())
  with Progress(10, done=4) as progress:
    progress.update(6, "epoch 2/2")
    assert progress.note() == ""
  assert "epoch 2/2: 100%" in sys.stderr.getvalue()


def test_durations_are_words():
  assert [duration(s) for s in (0.4, 61, 3 * 3600 + 125)] == [
    "0 s",
    "1 min 1 s",
    "3 h 2 min",
  ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_a_flag(number):
  before = signal.getsignal(number)
  with Signals() as signals:
    os.kill(os.getpid(), number)
    assert signals.number == number
  assert signal.getsignal(number) is before
  error = signals.interrupted("A checkpoint is left.")
  assert isinstance(error, Interrupted) and error.exit_code == 128 + number
  assert str(error) == f"Stopped by {number.name}. A checkpoint is left."


def test_the_second_ctrl_c_stops_at_once():
  with pytest.raises(KeyboardInterrupt), Signals():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)


def test_another_thread_leaves_the_handlers_alone():
  before = signal.getsignal(signal.SIGINT)
  inside = []

  def work():
    with Signals() as signals:
      inside.append((signals.number, signal.getsignal(signal.SIGINT)))

  thread = threading.Thread(target=work)
  thread.start()
  thread.join()
  assert inside == [(None, before)]


@pytest.mark.parametrize("line", [b"\xff\xfe\n", b"[1]\n", b"{}\n", b"not\n"])
def test_a_damaged_record_of_an_epoch_is_an_error_that_names_its_line(tmp_path, line):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"epoch": 1}\n' + line + b'{"epoch": 3}\n')
  with pytest.raises(UserError, match="line 2, is not the record of an epoch"):
    writers.read(path)


@pytest.mark.parametrize("place", ["0.25", "epoch", "loss", "null", "crc32", "[0"])
def test_a_flipped_bit_of_a_record_is_noticed(tmp_path, place):
  with Writer(tmp_path, (3, 5)) as writer:
    for epoch in (1, 2):
      writer.write(epoch, {"loss": [0.25, np.nan]})
  path = tmp_path / "metrics.jsonl"
  data = bytearray(path.read_bytes())
  at = data.index(place.encode()) + len(place) - 1
  for bit in range(7):
    changed = data[:]
    changed[at] ^= 1 << bit
    path.write_bytes(changed)
    with pytest.raises(UserError, match="line [12]"):
      writers.read(path)


def test_a_record_that_was_cut_off_while_it_was_written_is_left_out(tmp_path):
  path = tmp_path / "metrics.jsonl"
  path.write_bytes(b'{"epoch": 1}\n{"epoch": 2}')
  assert writers.read(path) == [{"epoch": 1}]


def test_a_record_that_was_lost_is_not_passed_over(tmp_path):
  (tmp_path / "metrics.jsonl").write_text('{"epoch": 1}\n{"epoch": 3}\n')
  with pytest.raises(DamagedCheckpoint, match=r"epochs \[1, 3\], where 3 were trained"):
    Writer(tmp_path).truncate_after(3)


def test_records_that_were_deleted_are_missed(tmp_path):
  Writer(tmp_path).truncate_after(0)
  with pytest.raises(DamagedCheckpoint, match=r"epochs \[\], where 2 were trained"):
    Writer(tmp_path).truncate_after(2)
