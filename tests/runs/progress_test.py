"""What a program says while nothing else is to be heard."""

import threading

import pytest

from mcr_jax.runs import progress


@pytest.mark.parametrize("heard", [False, True])
def test_silence_is_explained_once(monkeypatch, heard):
  monkeypatch.setattr(progress, "SILENCE", 0.05 if not heard else 0.5)
  said, told = [], threading.Event()

  def say(line):
    said.append(line)
    told.set()

  with progress.Waiting(say) as clock:
    if heard:
      clock.over()
    told.wait(0.6 if heard else 10)
  assert said == ([] if heard else ["compiling ..."])
