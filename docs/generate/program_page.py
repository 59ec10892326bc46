"""Every program with what its --help says."""

import concurrent.futures
import subprocess
import sys

from docs.generate import markdown
from mcr_jax.__main__ import programs

HEAD = """\
# Programs

`python -m mcr_jax` lists them. A mistake is answered in one line, with exit code 2.

"""


def page() -> str:
  """The page as Markdown."""
  found = programs()
  with concurrent.futures.ThreadPoolExecutor() as pool:
    helps = pool.map(_help, found)
  parts = [HEAD]
  for (name, line), said in zip(found.items(), helps, strict=True):
    parts += [f"## {name}\n\n{markdown.text(line)}\n\n```text\n{said.strip()}\n```\n\n"]
  return "".join(parts)


def _help(name: str) -> str:
  command = [sys.executable, "-m", f"mcr_jax.{name}", "--help"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  return done.stdout
