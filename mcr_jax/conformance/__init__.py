"""What holds of every model: the promises of `contract.py` as checks that can fail.

`python -m mcr_jax.models check FILE` holds a file of one's own to them, and the tests
hold every model of the package.
"""

from collections.abc import Iterator

import jax

from mcr_jax.conformance import numbers, shapes
from mcr_jax.conformance.subject import Broken, Subject

__all__ = ["CHECKS", "Broken", "Subject", "results"]

CHECKS = shapes.CHECKS + numbers.CHECKS


def results(subject: Subject) -> Iterator[tuple[str, str]]:
  """Every check in a sentence, and what is wrong; "" where the promise is kept."""
  for check in CHECKS:
    with jax.enable_x64(True):
      try:
        check(subject)
        wrong = ""
      except Broken as error:
        wrong = str(error)
      except Exception as error:  # a model of one's own may raise anything
        wrong = f"{type(error).__name__}: {error}".strip().partition("\n")[0]
    yield check.__doc__.partition("\n")[0], wrong
