"""Where the code departs from the papers, as it says itself."""

import ast
import inspect
import pathlib
import re

from docs.generate import markdown, package

START = re.compile(r"Deviations?\b")
HEAD = """\
# Deviations from the papers

Every departure is marked in the file where it is made; this page collects the marks.
What a paper leaves open, and what its equations cannot mean, counts as one.

"""


def page() -> str:
  """The page as Markdown."""
  parts = [HEAD]
  for path in sorted(package.ROOT.rglob("*.py")):
    found = of(path)
    if found:
      name = path.relative_to(package.ROOT.parent).as_posix()
      parts += [f"\n## `{name}`\n\n", "\n".join(map(markdown.prose, found))]
  return "".join(parts)


def of(path: pathlib.Path) -> list[str]:
  """What a file's docstrings and comments say of its deviations."""
  source = path.read_text("utf-8")
  found = []
  for node in ast.walk(ast.parse(source)):
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
      found += _paragraphs(ast.get_docstring(node) or "")
  return found + _comments(source)


def _paragraphs(docstring: str) -> list[str]:
  parts = re.split(r"\n\s*\n", inspect.cleandoc(docstring))
  return [part for part in parts if START.match(part)]


def _comments(source: str) -> list[str]:
  found, open_ = [], False
  for line in source.splitlines():
    said = line.strip().removeprefix("#").strip() if line.strip()[:1] == "#" else ""
    if START.match(said):
      found, open_ = [*found, said], True
    elif said and open_:
      found[-1] += f" {said}"
    else:
      open_ = False
  return found
