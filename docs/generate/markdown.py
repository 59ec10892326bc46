"""Markdown from plain text: tables, and docstrings as they are written here."""

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any

_CODE = re.compile(r"(`+)(.+?)\1")
_SPECIAL = re.compile(r"([\\*_\[\]#])")
_BULLET = re.compile(r"- |\d+\. ")


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
  """A table of cells that are Markdown already."""
  lines = [header, ["---"] * len(header), *rows]
  return "".join(f"| {' | '.join(map(_cell, line))} |\n" for line in lines)


def code(value: Any) -> str:
  """As it is, in the type of code."""
  text = str(value)
  ticks = "`" * (1 + max((len(x) for x in re.findall("`+", text)), default=0))
  return f"{ticks}{text}{ticks}"


def text(plain: str) -> str:
  """Plain text whose `code` stays code, and whose other signs mean nothing."""
  parts, end = [], 0
  for found in _CODE.finditer(plain):
    parts += [_escaped(plain[end : found.start()]), found[0]]
    end = found.end()
  return "".join([*parts, _escaped(plain[end:])])


def prose(docstring: str) -> str:
  """A docstring's body: paragraphs, bullets, and indented lines as code."""
  blocks = [block for block in re.split(r"\n\s*\n", docstring.strip("\n")) if block]
  return "\n\n".join(map(_block, blocks)) + "\n"


def _block(block: str) -> str:
  lines = block.splitlines()
  if all(line.startswith("  ") for line in lines):
    return "\n".join(["```", *(line[2:] for line in lines), "```"])
  done: list[str] = []
  for line in lines:
    if _BULLET.match(line):
      # A list needs an empty line before it, which docstrings save.
      if done and not done[-1].startswith(("- ", "  ")):
        done.append("")
      done.append(f"- {text(line[_BULLET.match(line).end() :])}")
    elif line.startswith("  ") and done:
      done.append(f"  {text(line.strip())}")
    else:
      done.append(text(line.strip()))
  return "\n".join(done)


def _escaped(plain: str) -> str:
  return _SPECIAL.sub(r"\\\1", html.escape(plain, quote=False))


def _cell(value: str) -> str:
  return " ".join(value.split()).replace("|", r"\|")
