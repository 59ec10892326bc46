"""A process that falls silent is noticed, and only that one."""

import time

import pytest

from mcr_jax.hosts import watch as watches
from mcr_jax.hosts.watch import LostProcess, Watch

INTERVAL, TIMEOUT = 0.02, 0.2


class Store:
  """What the processes of a run share."""

  def __init__(self):
    self.values = {}

  def key_value_set(self, key, value, allow_overwrite=False):
    assert allow_overwrite or key not in self.values
    self.values[key] = value

  def key_value_dir_get(self, folder):
    return [(k, v) for k, v in self.values.items() if k.startswith(folder)]


class Gone:
  """A store that nobody answers for."""

  def key_value_set(self, *_, **__):
    raise RuntimeError("UNAVAILABLE: failed to connect to all addresses")


@pytest.fixture
def start(monkeypatch):
  """Watches of some processes; `ended` of each has the exit codes it asked for."""
  monkeypatch.setattr(watches, "GRACE", 2 * INTERVAL)
  started = []

  def start(client, index, count):
    ended = []
    watch = Watch(
      client, index, count, interval=INTERVAL, timeout=TIMEOUT, end=ended.append
    )
    watch.ended = ended
    started.append(watch)
    return watch

  yield start
  for watch in started:
    watch.close()


def test_processes_that_all_count_go_on(start):
  store = Store()
  found = [start(store, i, 3) for i in range(3)]
  time.sleep(4 * TIMEOUT)
  assert not any(watch.verdict.is_set() or watch.ended for watch in found)


def test_the_others_end_when_one_falls_silent(start, capsys):
  store = Store()
  first, second, third = (start(store, i, 3) for i in range(3))
  time.sleep(TIMEOUT)
  second.close()
  for watch in (first, third):
    assert watch.verdict.wait(10 * TIMEOUT)
    assert "process 1 of 3 has not been heard of" in watch.reason
  time.sleep(10 * INTERVAL)
  # A main thread that hangs in a collective cannot: the watch ends the process.
  assert first.ended == third.ended == [LostProcess.exit_code] == [5]
  assert not second.ended
  message = capsys.readouterr().err
  assert "mcr_jax: error: Process 1 of 3" in message and "--resume" in message


def test_without_the_store_the_first_process_is_the_lost_one(start):
  watch = start(Gone(), 2, 4)
  assert watch.verdict.wait(10 * TIMEOUT)
  assert "process 0 of 4 has not been heard of" in watch.reason


def test_a_main_thread_that_ends_by_itself_is_let(start):
  watch = start(Store(), 0, 2)
  assert watch.verdict.wait(10 * TIMEOUT)
  watch.close()
  time.sleep(10 * INTERVAL)
  assert not watch.ended


def test_a_failed_computation_is_explained_by_a_lost_process(start):
  store = Store()
  watch, other = start(store, 0, 2), start(store, 1, 2)
  assert watch.explain(RuntimeError("INVALID_ARGUMENT: shapes differ")) == ""
  began = time.monotonic()
  assert watch.explain(RuntimeError("INTERNAL: a bug of ours")) == ""
  assert time.monotonic() - began >= TIMEOUT
  other.close()
  assert "process 1 of 2" in watch.explain(RuntimeError("INTERNAL: collective failed"))
  watch.close()


def test_a_closed_connection_needs_no_waiting(start):
  store = Store()
  watch, _ = start(store, 0, 2), start(store, 1, 2)
  reason = watch.explain(RuntimeError("Gloo: Read error: Connection closed by peer"))
  assert reason == "another process of this run has ended"
