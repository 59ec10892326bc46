"""Reads the feature files that people share, whatever project wrote them.

A format is a module here, found by being here, with

- `FORMAT`: what a file of it is, in words;
- `OPTIONS`: the keywords of its `read` that a user may choose;
- `matches(source)`: whether a `Source` is of this format, by what it contains;
- `read(source, **options)`: the data set, its labels not yet checked, with what became
  of every entry of the file (`mcr_jax.data.ledger`);
- `lacks(source)`, if it has it: what an unknown source has and lacks of the format.

Of several that match the first counts, by name. Nothing that a file says is run.
"""

import dataclasses
import functools
import importlib
import os
import pathlib
import pkgutil
import re
from collections.abc import Callable, Mapping, Sequence
from types import ModuleType
from typing import Any

from mcr_jax.data import ledger, memory, suspect
from mcr_jax.data import parts as part_names
from mcr_jax.data.readers import feature_file
from mcr_jax.data.readers.common import identify, json_file, nearest
from mcr_jax.data.readers.common.source import HDF5, Source
from mcr_jax.data.readers.common.values import describe
from mcr_jax.data.schema import Dataset
from mcr_jax.errors import UserError, choose

# Names of modalities become those of parameters, columns and lines of a screen.
NAME = re.compile(r"\w[\w .+-]{0,79}")

WRITE = (
  'A data set is written by numpy.savez("new.npz", id=..., split=..., label=..., '
  "text=..., audio=...); docs/guide/own_data.md says what else is read."
)


@functools.cache
def formats() -> tuple[ModuleType, ...]:
  """The modules of all formats."""
  names = sorted(x.name for x in pkgutil.iter_modules(__path__) if not x.ispkg)
  return tuple(importlib.import_module(f"{__name__}.{name}") for name in names)


def known() -> str:
  """What can be read, in words."""
  return ", ".join(module.FORMAT for module in formats())


def recognise(path: str | os.PathLike | Sequence[str | os.PathLike]) -> ModuleType:
  """The format of a file, a folder or several files, as its module."""
  return _recognise(_source(path))


def read(
  path: str | os.PathLike | Sequence[str | os.PathLike],
  *,
  limit: float | int | None = None,
  parts: Mapping[str, str] | None = None,
  optional: Mapping[str, Any] | None = None,
  **options: Any,
) -> Dataset:
  """A data set of any known format, its labels not yet checked.

  Args:
    path: a file, a folder, or several files where the format has several.
    limit: bytes of memory to take at most; by default what is free.
    parts: `train`, `valid` or `test` -> what the file calls the split to take for it.
    optional: as `options`, where the format has them.
    **options: of the format, such as `align` of .csd files; None is not chosen.
  Raises:
    UserError: the file is of no known format, damaged, holds more than data, or does
      not fit.
  """
  options = {name: value for name, value in options.items() if value is not None}
  with memory.bounded(limit):
    module, source = _settled(_source(path))
    for name, value in options.items():
      _check_option(source, module, name, value)
    given = dict(optional or {}) | ({"parts": dict(parts)} if parts else {})
    options |= {k: x for k, x in given.items() if k in module.OPTIONS and x is not None}
    dataset = _guarded(source, module.read, source, **options)
    if parts and "parts" not in module.OPTIONS:
      dataset = part_names.take(dataset, parts)
  for name in dataset.modalities:
    if not NAME.fullmatch(name):
      raise UserError(
        f"{dataset.source}: refused: a modality named {name[:80]!r}; right are letters "
        "and digits, and inside '_', '.', '+', '-' and blanks."
      )
  # Of this library's own file nothing was guessed.
  guessed = () if module is feature_file else (_guessed(source, module),)
  entries = (*dataset.ledger, *source.left)
  notes = (*guessed, *source.notes, *dataset.notes, *suspect.notes(dataset))
  notes = (*notes, *ledger.notes(entries))
  return dataclasses.replace(dataset, notes=notes, ledger=entries)


def _guessed(source, module) -> str:
  """What a file was taken for; HDF5 and JSON are none of the pickles they are like."""
  kinds = {
    "HDF5": source.start.startswith(HDF5),
    "JSON": json_file.is_json(source.start),
  }
  kind = next((x for x in kinds if kinds[x] and "pickle" in module.FORMAT.split()), "")
  return f"It is {f'{kind}, ordered as ' * bool(kind)}{module.FORMAT}."


def _source(path) -> Source:
  single = isinstance(path, str | os.PathLike)
  source = Source(tuple(map(pathlib.Path, [path] if single else path)))
  _guarded(source, source.check)
  return source


def _recognise(source: Source) -> ModuleType:
  return _settled(source)[0]


def _settled(source: Source) -> tuple[ModuleType, Source]:
  """The format, and the source with the one of several dumps that is of it."""
  for module in formats():
    if _guarded(source, module.matches, source):
      return module, source
  if parts := _guarded(source, lambda: source.inside):
    found = _one_inside(source, parts)
    if found is not None:
      return found
  raise UserError(f"{source} {_guarded(source, _described, source)}")


def _one_inside(
  source: Source, parts: Mapping[str, object]
) -> tuple[ModuleType, Source] | None:
  """The only part of a file that is of a known format; the others are told.

  Args:
    source: of no format as a whole.
    parts: name -> content of its dumps, or of what its dict holds.
  """
  found = []
  for name, content in parts.items():
    one = dataclasses.replace(source, whole=content)
    module = next((x for x in formats() if _guarded(one, x.matches, one)), None)
    if module is not None:
      found.append((name, module, one))
  several = len(source.dumps) > 1
  if not found and not several:
    return None
  held = ", ".join(f"{name}: {describe(x)}" for name, x in parts.items())[:600]
  if len(found) != 1:
    many = "several of them are data sets" if found else "none of them is a data set"
    kind = f"{len(parts)} dumps" if several else f"{len(parts)} parts"
    raise UserError(
      f"{source} is a pickle of {kind}, and {many}: {held}. Write one dict of all "
      "splits by pickle.dump."
    )
  ((chosen, module, one),) = found
  for name, content in parts.items():
    if name != chosen:
      why = f"of {len(parts)} parts of the file, {chosen} is the data set"
      title = f"{name}, {describe(content)[:60]}"
      source.left.append(ledger.left(title, ledger.size(content), why))
  return module, one


def _described(source) -> str:
  """What an unknown source is, what it lacks, and what would be known."""
  if identify.is_known(source):
    return identify.described(source)
  lacks = ((x.FORMAT, x.lacks(source)) for x in formats() if hasattr(x, "lacks"))
  right = (identify.described(source), nearest.of(lacks), WRITE)
  return " ".join(filter(None, right))


def _check_option(source, module, name, value):
  having = [x for x in formats() if name in x.OPTIONS]
  if not having:
    choose(name, sorted({x for one in formats() for x in one.OPTIONS}), "the option")
  if module not in having:
    raise UserError(
      f"{source}: {name}={value!r} is for {', '.join(x.FORMAT for x in having)}; this "
      f"is {module.FORMAT}."
    )


def _guarded(source: Source, function: Callable, *arguments, **options):
  """Calls a reader; what a damaged file breaks in it is the file's fault."""
  try:
    return function(*arguments, **options)
  except UserError as error:
    if str(source) in str(error):
      raise
    raise UserError(f"{source}: {error}") from error
  except OSError as error:
    raise UserError(f"{source} cannot be read: {error.strerror or error}.") from None
  except MemoryError as error:
    raise UserError(f"{source} does not fit into memory: {error}") from error
  except Exception as error:
    reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise UserError(
      f"{source} cannot be read, it may be damaged ({reason})."
    ) from error
