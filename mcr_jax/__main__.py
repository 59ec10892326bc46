"""`python -m mcr_jax`: the programs, with a line each."""

import ast
import re
import textwrap
from pathlib import Path

from mcr_jax import cli, native
from mcr_jax.errors import choose

MOST_USED = ("train", "evaluate", "predict", "sweep")


def programs() -> dict[str, str]:
  """What every program does, by its name behind `python -m mcr_jax.`.

  A program is a module with a docstring that runs under `__main__`; it is read, not
  imported, which would take seconds.
  """
  root, found = Path(__file__).parent, {}
  for file in [*root.glob("*.py"), *root.glob("*/__main__.py")]:
    text = file.read_text("utf-8")
    if file.parent == root and 'if __name__ == "__main__"' not in text:
      continue
    name = file.stem if file.parent == root else file.parent.name
    line = (ast.get_docstring(ast.parse(text)) or "").partition("\n")[0]
    line = re.sub("^`.*?`: ", "", line)
    found[name] = line[:1].upper() + line[1:]
  del found["__main__"]
  rest = sorted(set(found) - set(MOST_USED))
  return {name: found[name] for name in (*MOST_USED, *rest)}


def main(argv: list[str]) -> None:
  """Prints the list, or how to call the program that the arguments name."""
  found = programs()
  if argv and argv[0] not in ("-h", "--help"):
    name = choose(argv[0].removeprefix("mcr_jax."), found, "program")
    print(f"python -m mcr_jax.{name} --help")
    return
  width = max(map(len, found))
  for name, line in found.items():
    print(f"python -m mcr_jax.{name:{width}}  {line}")
  from mcr_jax.config import files

  print("\nEach has --help. By name there are, from any folder,")
  for flag, found in (
    ("--config", files.shipped()),
    ("--sweep", files.shipped("get_sweep", "sweeps")),
  ):
    print(textwrap.fill(f"{flag} {', '.join(found)}", 88, subsequent_indent="  "))
  print(f"\nKernels for CPUs, compiled ahead of time: native: {native.installed()}")


if __name__ == "__main__":
  cli.run(main)
