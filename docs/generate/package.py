"""The modules of the package, by name and file."""

import ast
import pathlib
from collections.abc import Iterator

import mcr_jax

ROOT = pathlib.Path(mcr_jax.__file__).parent


def modules() -> Iterator[tuple[str, pathlib.Path]]:
  """Every module with code that is no program and not private, in order."""
  for path in sorted(ROOT.rglob("*.py")):
    names = list(path.relative_to(ROOT.parent).with_suffix("").parts)
    names = names[:-1] if names[-1] == "__init__" else names
    text = path.read_text("utf-8")
    program = 'if __name__ == "__main__"' in text
    if text and not program and not any(name.startswith("_") for name in names):
      yield ".".join(names), path


def under(name: str) -> list[str]:
  """A module, and those inside it."""
  return [m for m, _ in modules() if m == name or m.startswith(f"{name}.")]


def first_sentence(path: pathlib.Path) -> str:
  """Of a module's docstring, the first paragraph as one line."""
  docstring = ast.get_docstring(ast.parse(path.read_text("utf-8"))) or ""
  return docstring.partition("\n\n")[0].replace("\n", " ")
