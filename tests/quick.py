"""How tests compile: they compile much and compute little.

XLA's older emitter of CPU code takes a quarter of the time of that which computes
faster, and a program of a test is too small to be split among threads.
"""

import mmap
import os
import pathlib

import jaxlib

DEVICES = "xla_force_host_platform_device_count"
FLAGS = {
  "xla_cpu_use_fusion_emitters": "false",
  "xla_cpu_parallel_codegen_split_count": "1",
}


def flags(devices: int = 1) -> str:
  """XLA_FLAGS of a process that compiles for some virtual CPU devices.

  What they say already is kept; the last of two values counts.
  """
  given = os.environ.get("XLA_FLAGS", "").split()
  names = {flag.lstrip("-").partition("=")[0] for flag in given}
  missing = [name for name in FLAGS if name not in names]
  quick = [f"--{name}={FLAGS[name]}" for name in missing if _known(name)]
  return " ".join([*given, *quick, f"--{DEVICES}={devices}"])


def _known(name: str) -> bool:
  """Whether this XLA has a flag: one that it does not know would end the process."""
  libraries = pathlib.Path(jaxlib.__file__).parent.glob("*.so")
  largest = max(libraries, key=lambda path: path.stat().st_size)
  with largest.open("rb") as file:
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as content:
      # As a text of its own: inside of others stands what once was a flag.
      return content.find(f"\0{name}\0".encode()) >= 0
