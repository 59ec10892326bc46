"""The first cell of a notebook: it installs what is missing, and keeps the accelerator.

Loading this needs nothing but Python: on a rented machine it runs before anything else
is installed.
"""

import importlib
import importlib.metadata
import importlib.util
import subprocess
import sys
from pathlib import Path

from mcr_jax.hosts import accelerators

ROOT = Path(__file__).resolve().parents[2]
EXTRA = "report"  # figures and pages
# Modules of that extra.
MODULES = ("matplotlib", "jinja2", "vl_convert")


def prepare() -> None:
  """Installs this package with its figures and what computes on the accelerator, once.

  Restarts the kernel where packages have changed that it has loaded already. In the end
  it says on which devices JAX computes.
  """
  extras = missing()
  if extras is not None:
    before = _versions()
    _install(extras)
    importlib.invalidate_caches()
    after = _versions()
    changed = [name for name, version in before.items() if after.get(name) != version]
    # This package is the one that is loaded already, whatever was installed.
    modules = {name.replace("-", "_") for name in changed} - {"mcr_jax"}
    loaded = sorted(modules & set(sys.modules))
    if loaded:
      print(
        f"Restarting, because {', '.join(loaded)} changed: run all cells once more."
      )
      _restart()
      return
  import jax

  devices = ", ".join(f"{device.device_kind} ({device})" for device in jax.devices())
  print(f"JAX {jax.__version__} computes on {devices}.")
  if line := accelerators.unused():
    print(line)


def missing() -> str | None:
  """The extras to install, such as `report,cuda`; None where all is there."""
  found = accelerators.find()
  extras = [EXTRA, *([found.own] if found else [])]
  there = accelerators.installed("mcr_jax") and all(map(_is_there, MODULES))
  if found and there:
    there = any(map(_fits, found.plugins))
  return None if there else ",".join(extras)


def _fits(plugin: str) -> bool:
  """Whether a plugin is installed that JAX takes: its own are of JAX's version."""
  version = accelerators.installed(plugin)
  own = plugin.startswith("jax-")
  return bool(version) and (not own or version == accelerators.installed("jax"))


def _is_there(module: str) -> bool:
  return importlib.util.find_spec(module) is not None


def _versions() -> dict[str, str]:
  """Of everything that is installed."""
  found = importlib.metadata.distributions()
  return {each.metadata["Name"].lower(): each.version for each in found}


def _install(extras: str) -> None:
  cloned = (ROOT / "setup.py").is_file()
  what = ["-e", f"{ROOT}[{extras}]"] if cloned else [f"mcr_jax[{extras}]"]
  command = [sys.executable, "-m", "pip", "install", "-q", *what]
  print(" ".join(command), flush=True)
  subprocess.run(command, check=True)


def _restart() -> None:
  """Ends this kernel; Jupyter and Colab start the next."""
  import IPython

  IPython.get_ipython().kernel.do_shutdown(True)
