"""The folder in which JAX keeps compiled programs for the next process."""

import os
import sys
import warnings
from pathlib import Path

import jax

from mcr_jax import files


def keep_in(folder: str | os.PathLike) -> None:
  """Sets the folder; that it cannot be written is told once.

  JAX warns of every program that it cannot keep, or cannot read since a process was
  killed while it wrote it. Neither matters but for time.

  Args:
    folder: which JAX makes where it is not there.
  """
  warnings.filterwarnings(
    "ignore", message="Error (writing|reading) persistent compilation cache entry"
  )
  jax.config.update("jax_compilation_cache_dir", str(folder))
  if "://" not in str(folder) and (reason := _refused(Path(folder))):
    print(
      f"mcr_jax: compiled programs cannot be kept in {folder} ({reason}): the next "
      "process compiles them again.",
      file=sys.stderr,
      flush=True,
    )


def _refused(folder: Path) -> str:
  """What the system has against files in a folder, or nothing."""
  error = files.refused(
    next(x for x in (folder, *folder.absolute().parents) if x.exists())
  )
  return (error.strerror or str(error)) if error else ""
