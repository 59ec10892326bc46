"""Compiling many programs at once, which on a machine with many cores saves minutes."""

import concurrent.futures
import os
from collections.abc import Iterable
from typing import Any

import jax


def compile_all(lowered: Iterable[tuple[str, Any]]) -> dict[str, Any]:
  """name -> what runs, or the exception that came of compiling it.

  Programs are traced one after another, as `lowered` yields them, and compiled beside
  that in threads. All are done at the end: nothing is timed while another compiles.
  """
  with concurrent.futures.ThreadPoolExecutor(max(1, os.cpu_count() // 2)) as pool:
    found = {
      name: program
      if isinstance(program, Exception)
      else pool.submit(_compile, program)
      for name, program in lowered
    }
  done = lambda x: x.result() if isinstance(x, concurrent.futures.Future) else x
  return {name: done(x) for name, x in found.items()}


def lower(function, *arguments) -> jax.stages.Lowered | Exception:
  """The traced program, or why it could not be traced."""
  try:
    return jax.jit(function).lower(*arguments)
  except Exception as error:  # one of many, which must not take the others along
    return error


def ready(program):
  """The program, or its exception raised."""
  if isinstance(program, Exception):
    raise program
  return program


def _compile(lowered):
  try:
    return lowered.compile()
  except Exception as error:
    return error
