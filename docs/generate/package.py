"""The modules of the package, by name and file."""

import ast
import pathlib
from collections.abc import Iterator

import mcr_jax

ROOT = pathlib.Path(mcr_jax.__file__).parent


def modules() -> Iterator[tuple[str, pathlib.Path]]:
  """Every module that is not a program, without private ones, in alphabetical order."""
  for path in sorted(ROOT.rglob("*.py")):
    names = list(path.relative_to(ROOT.parent).with_suffix("").parts)
    names = names[:-1] if names[-1] == "__init__" else names
    program = 'if __name__ == "__main__"' in path.read_text("utf-8")
    if not program and not any(name.startswith("_") for name in names):
      yield ".".join(names), path


def under(name: str) -> list[str]:
  """A module, and those inside it."""
  return [m for m, _ in modules() if m == name or m.startswith(f"{name}.")]


def first_sentence(path: pathlib.Path) -> str:
  """Of a module's docstring, the first paragraph as one line."""
  docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
  return docstring.partition("\n\n")[0].replace("\n", " ")
