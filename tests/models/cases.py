"""How the contract test tries each model: every test of models says it in `CASES`."""

import dataclasses
import importlib
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

from mcr_jax.contract import Model

FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Case:
  """What a model is tried with.

  Attributes:
    parameters: their number, by the model's own formula.
    fields: small ones in place of the defaults.
  """

  parameters: Callable[[Model], int]
  fields: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def all_cases() -> dict[str, Case]:
  """The cases of all test files in this folder."""
  found = {}
  for path in sorted(FOLDER.glob("*_test.py")):
    if "CASES = " in path.read_text("utf-8") and path.stem != "contract_test":
      found |= importlib.import_module(f"tests.models.{path.stem}").CASES
  return found
