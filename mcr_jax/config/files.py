"""Config files: Python with a function, found by their path or by a shipped name."""

import contextlib
import importlib.util
import re
import sys
import traceback
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mcr_jax.errors import UserError, nearest


def call(path: str, function: str, folder: str = "") -> Any:
  """What a function of a config file returns.

  Args:
    path: `X.py`, or the name of a shipped file; `:ARG` behind either is an argument.
    function: its name.
    folder: of the shipped files, below `configs`.

  Raises:
    UserError: names the file, and the line where it fails.
  """
  name, argument = path, ()
  if not Path(path).is_file() and ":" in path:
    name, _, text = path.rpartition(":")
    argument = (text,)
  file = _find(name, function, folder)
  try:
    with _importable(file):
      spec = importlib.util.spec_from_file_location("mcr_jax_config_file", file)
      if spec is None or spec.loader is None:
        raise UserError(f"The config file {name} must be a Python file, X.py.")
      module = importlib.util.module_from_spec(spec)
      spec.loader.exec_module(module)
      if not callable(getattr(module, function, None)):
        raise UserError(f"The config file {name} has no function {function}.")
      return getattr(module, function)(*argument)
  except UserError:
    raise
  except (Exception, SystemExit) as error:
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(file)]
    line = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    where = f"{name}, line {line}" if line else name
    reason = " ".join(str(error).split()) or "no message"
    raise UserError(f"{where}: {type(error).__name__}: {reason}") from error


def shipped(function: str = "get_config", folder: str = "") -> dict[str, Path]:
  """The files that come with mcr_jax and have a function, by name."""
  files = sorted((_root() / folder).glob("*.py"))
  return {f.stem: f for f in files if f"\ndef {function}(" in f.read_text("utf-8")}


def _root() -> Path:
  """Where the shipped configs are: inside an installed wheel, or in a checkout."""
  package = Path(__file__).resolve().parents[1]
  inside = package / "_configs"
  return inside if inside.is_dir() else package.parent / "configs"


def _find(name: str, function: str, folder: str) -> Path:
  file, known = Path(name), shipped(function, folder)
  if file.is_file():
    return file
  if name in known:
    return known[name]
  if name == file.stem:
    raise UserError(
      f"There is no config file {name!r}.{nearest(name, known)} By name there are "
      f"{', '.join(known)}."
    )
  kind = "is a folder" if file.is_dir() else "does not exist"
  hint = nearest(file.name, [p.name for p in file.parent.glob("*.py")])
  hint = hint or nearest(file.stem, known)
  raise UserError(f"The config file {name!r} {kind}.{hint}")


@contextlib.contextmanager
def _importable(file: Path) -> Iterator[None]:
  """`from configs import common` works in a file of any folder.

  It finds the modules of the `configs` that the file lies in, and then the shipped.
  """
  own = [p for p in file.resolve().parents if p.name == "configs"][:1]
  package = types.ModuleType("configs")
  package.__path__ = [str(path) for path in dict.fromkeys([*own, _root()])]
  ours = lambda: [m for m in sys.modules if re.match(r"configs(\.|$)", m)]
  before = {name: sys.modules.pop(name) for name in ours()}
  sys.modules["configs"] = package
  try:
    yield
  finally:
    for name in ours():
      del sys.modules[name]
    sys.modules.update(before)
