"""Weights of others, brought once; a test without them is skipped with the reason."""

import socket

import pytest

from mcr_jax.errors import McrJaxError
from mcr_jax.extract import weights


@pytest.fixture(scope="session")
def brought():
  """`brought("face")` is the folder of weights, or skips the test."""

  def folder(name):
    try:
      return weights.bring(name, say=lambda line: None)
    except McrJaxError as error:
      pytest.skip(f"needs weights that are not here: {error}")

  return folder


@pytest.fixture
def offline(monkeypatch):
  """Whoever asks for a network ends the test."""

  def refuse(*_, **__):
    raise AssertionError("a connection was tried")

  for name in ("connect", "connect_ex", "sendto"):
    monkeypatch.setattr(socket.socket, name, refuse)
  monkeypatch.setattr(socket, "getaddrinfo", refuse)
