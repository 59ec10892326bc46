"""Data sets: readers, checks, normalisation and the synthetic example.

NumPy only; TensorFlow is imported where it is used, and only in this package.
"""

from mcr_jax.data.load import load
from mcr_jax.data.schema import Dataset, Modality

__all__ = ["Dataset", "Modality", "load"]
