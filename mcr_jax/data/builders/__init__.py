"""TensorFlow Datasets of the corpora, and back from their records to a data set.

  python -m mcr_jax.data.builders meld/emotion --manual_dir=FOLDER
  tfds build --imports=mcr_jax.data.builders meld/emotion --manual_dir=FOLDER

The folder holds the feature file as its users share it, in any format that
`--config.data.path` takes. Nothing is downloaded: the corpora ask that everybody gets
them from their owners.
"""

from mcr_jax.errors import UserError

try:
  import tensorflow_datasets  # noqa: F401
except ImportError as error:
  raise UserError(
    'Builders need TensorFlow Datasets, which is not installed: pip install "mcr_jax'
    f'[data]". ({error})'
  ) from error

from mcr_jax.data.builders.cmu_mosei import CmuMosei
from mcr_jax.data.builders.cmu_mosi import CmuMosi
from mcr_jax.data.builders.iemocap import Iemocap
from mcr_jax.data.builders.meld import Meld
from mcr_jax.data.builders.records import from_tfds
from mcr_jax.data.builders.synthetic import Synthetic

__all__ = ["CmuMosei", "CmuMosi", "Iemocap", "Meld", "Synthetic", "from_tfds"]
