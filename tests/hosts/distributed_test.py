"""Joining other processes: what a user may write, and what a lost one does."""

import re

import jax
import pytest

from mcr_jax.errors import UserError
from mcr_jax.hosts import distributed
from mcr_jax.hosts.watch import LostProcess


@pytest.mark.parametrize(
  "coordinator",
  ["host", "host,2,0", "host:1,2", "host:1,2,2", "host:1,2,-1", "host:1,two,0"],
)
def test_a_coordinator_that_cannot_be_meant_is_refused(coordinator):
  with pytest.raises(UserError, match=re.escape(repr(coordinator))):
    distributed.join(coordinator)


def test_a_run_of_one_process_joins_nobody():
  distributed.join(None)
  distributed.join("")
  assert distributed.largest(3, 0) == (3, 0)
  distributed.check_same(config="a", data="b")
  distributed.wait("nobody")


class Told:
  """A watch that knows."""

  def __init__(self, reason):
    self.reason = reason

  def explain(self, error):
    return self.reason


@pytest.fixture
def told(monkeypatch):
  def told(reason):
    monkeypatch.setattr(distributed, "_watch", Told(reason))
    monkeypatch.setattr(distributed, "_leave_with", None)

  return told


def test_a_collective_that_fails_for_a_lost_process_says_so(told):
  told("process 1 of 2 has not been heard of for 30 s")
  with pytest.raises(LostProcess, match="Process 1 of 2.*--resume") as error:
    with distributed.together():
      raise jax.errors.JaxRuntimeError("INTERNAL: Connection closed by peer")
  assert error.value.exit_code == 5
  # Waiting for the others at exit would be in vain.
  assert distributed._leave_with == 5


def test_other_errors_stay_what_they_are(told):
  told("")
  for error in (jax.errors.JaxRuntimeError("INTERNAL: x"), KeyError("x")):
    with pytest.raises(type(error)), distributed.together():
      raise error
  told("process 1 of 2 has ended")
  for error in (UserError("a mistake"), ZeroDivisionError()):
    with pytest.raises(type(error)), distributed.together():
      raise error
  assert distributed._leave_with is None


def test_a_second_ctrl_c_waits_for_nobody(told):
  told("")
  with pytest.raises(KeyboardInterrupt), distributed.together():
    raise KeyboardInterrupt
  assert distributed._leave_with == 130
