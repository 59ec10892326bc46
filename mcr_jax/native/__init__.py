"""Kernels for CPUs that are compiled ahead of time, where the installation has them.

`pip install` builds the library where it finds a C++17 compiler and leaves it out where
it does not; then everything works without it. A program that was traced with it says by
which instruction set it computes, because sums may be rounded otherwise by another.

  status()            whether it is there, and why not
  instructions()      the instruction sets that run here, best first
  use("avx2")         what programs traced from now on compute with
"""

import collections
import ctypes
import dataclasses
import functools
import hashlib
from pathlib import Path

from mcr_jax.errors import UserError

FOLDER = Path(__file__).parent
LIBRARY = "_kernels"
"""The name of the library, before what setuptools appends to it."""
NOT_BUILT = "it was not built, for want of a C++17 compiler or jaxlib's headers"
TARGETS = ("mcr_jax_attention_forward", "mcr_jax_attention_backward")

fallbacks: collections.Counter[str] = collections.Counter()
"""Calls, counted while tracing, that the kernels could not serve, by reason."""

_chosen: str | None = None
_withheld = False


@dataclasses.dataclass(frozen=True)
class Status:
  """Whether the kernels can be used, by which instruction set, and why if not."""

  instructions: str | None
  why: str = ""

  @property
  def available(self) -> bool:
    return self.instructions is not None

  def __str__(self) -> str:
    return self.instructions if self.instructions else f"no ({self.why})"


def status() -> Status:
  """Whether the kernels are there; the first call makes them known to JAX."""
  found = _registered()
  if isinstance(found, str):
    return Status(None, found)
  if _withheld:
    return Status(None, "the run that is resumed began without")
  return Status(_chosen or found[0])


def installed() -> Status:
  """What the library offers this processor, without asking JAX, which takes seconds."""
  found = _loaded()
  return Status(None, found) if isinstance(found, str) else Status(found[0][0])


def unusable() -> str:
  """A line on a library that is there and cannot be used; else ""."""
  found = _registered()
  if not isinstance(found, str) or found == NOT_BUILT:
    return ""
  return f"the native kernels are left out: {found}."


def instructions() -> tuple[str, ...]:
  """The instruction sets that the library has and this processor runs, best first."""
  found = _registered()
  return () if isinstance(found, str) else found


def use(name: str | None) -> None:
  """Takes an instruction set for what is traced from now on; None is the best one.

  Raises:
    UserError: the kernels or this set cannot be used here.
  """
  global _chosen, _withheld
  if name is not None and name not in instructions():
    known = ", ".join(instructions()) or f"none: {status().why}"
    raise UserError(f"native instruction set {name!r} is not to be had here ({known}).")
  _chosen, _withheld = name, False


def hold(before: str, run: object) -> None:
  """Computes as a run did that is resumed, or refuses by name.

  Args:
    before: what its run.json says of the kernels, `str(status())`.
    run: its folder, for the message.

  Raises:
    UserError: what it used is not to be had here.
  """
  global _withheld
  _withheld = before.startswith("no")
  if not _withheld and before != str(status()):
    if before not in instructions():
      raise UserError(
        f"{run} computes attention by native kernels for {before!r}, which are not to "
        f"be had here (native: {status()}). --attention-may-change goes on with what "
        "is, and rounds otherwise from there on."
      )
    use(before)


def require() -> str:
  """The instruction set in use.

  Raises:
    UserError: the kernels cannot be used here.
  """
  found = status()
  if not found.available:
    raise UserError(
      f"attention implementation 'native': {found.why}. Use 'auto', which does without."
    )
  return found.instructions


@functools.cache
def _loaded() -> tuple[tuple[str, ...], dict] | str:
  """The instruction sets of the library and its functions, or why there are none."""
  paths = sorted(FOLDER.glob(f"{LIBRARY}*.so")) + sorted(FOLDER.glob(f"{LIBRARY}*.pyd"))
  if not paths:
    return NOT_BUILT
  whole = paths[0].read_bytes()
  if hashlib.sha256(whole[:-32]).digest() != whole[-32:]:
    return f"{paths[0].name} is damaged: it is not what the installation built"
  try:
    library = ctypes.CDLL(str(paths[0]))
    targets = {name: getattr(library, name) for name in TARGETS}
    library.mcr_jax_instructions.restype = ctypes.c_char_p
    found = tuple(library.mcr_jax_instructions().decode().split())
  except (OSError, AttributeError) as error:
    return f"{paths[0].name} is for another system ({_line(error)})"
  return found, targets


@functools.cache
def _registered() -> tuple[str, ...] | str:
  """The instruction sets, where XLA knows the library's functions; else why not."""
  loaded = _loaded()
  if isinstance(loaded, str):
    return loaded
  import jax

  found, targets = loaded
  try:
    for name, function in targets.items():
      jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(function), platform="cpu")
  except Exception as error:  # noqa: BLE001 - whatever another jaxlib says
    return f"it was built for another jaxlib ({_line(error)})"
  return found


def _line(error: Exception) -> str:
  return (str(error).splitlines() or [type(error).__name__])[0]
