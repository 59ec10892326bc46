"""MCR and MIA-Net in JAX: multimodal affect from language, video and audio.

config = mcr_jax.config.load("configs/mcr_synthetic.py")
run = mcr_jax.train(config, "runs/first")
run.evaluate("test")
mcr_jax.load_run("runs/first").predict("clips.npz")
"""

import importlib
from typing import Any

__version__ = "0.1.0"
__all__ = ["load_data", "load_run", "train", "__version__"]

_PUBLIC = {
  "load_data": ("mcr_jax.data.load", "load"),
  "load_run": ("mcr_jax.runs.run", "load_run"),
  "train": ("mcr_jax.training.loop", "train"),
}


def __getattr__(name: str) -> Any:
  # Lazily: JAX takes seconds to import, and programs set the allocator before it.
  if name not in _PUBLIC:
    raise AttributeError(f"module 'mcr_jax' has no attribute {name!r}")
  module, attribute = _PUBLIC[name]
  globals()[name] = value = getattr(importlib.import_module(module), attribute)
  return value
