"""Models of multimodal emotion and sentiment in JAX: MCR, MIA-Net and their peers.

    config = mcr_jax.config.load("mcr_synthetic")
    run = mcr_jax.fit(config, "runs/first")
    run.evaluate("test")
    mcr_jax.load_run("runs/first").predict("clips.npz")

`python -m mcr_jax` lists the programs.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
  from mcr_jax import (
    config,
    contract,
    data,
    errors,
    evaluators,
    losses,
    metrics,
    models,
    ops,
    visualize,
  )
  from mcr_jax.data.load import load as load_data
  from mcr_jax.runs.fit import fit
  from mcr_jax.runs.run import Run, load_run

__version__ = "0.2.0"
__all__ = [
  "Run",
  "__version__",
  "config",
  "contract",
  "data",
  "errors",
  "evaluators",
  "fit",
  "load_data",
  "load_run",
  "losses",
  "metrics",
  "models",
  "ops",
  "visualize",
]

# Name -> module and name there; everything else of `__all__` is a module.
_MEMBERS = {
  "Run": ("mcr_jax.runs.run", "Run"),
  "fit": ("mcr_jax.runs.fit", "fit"),
  "load_data": ("mcr_jax.data.load", "load"),
  "load_run": ("mcr_jax.runs.run", "load_run"),
}


def __getattr__(name: str) -> Any:
  # Lazily: JAX takes seconds to import, and programs set the allocator before it.
  if name not in __all__:
    raise AttributeError(f"module 'mcr_jax' has no attribute {name!r}")
  if name not in _MEMBERS:
    return importlib.import_module(f"mcr_jax.{name}")
  module, attribute = _MEMBERS[name]
  globals()[name] = value = getattr(importlib.import_module(module), attribute)
  return value


def __dir__() -> list[str]:
  return sorted({*globals(), *__all__})
