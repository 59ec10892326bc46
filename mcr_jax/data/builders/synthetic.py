"""The synthetic data set as records: what the other builders do, without a file."""

import tensorflow_datasets as tfds

from mcr_jax.data import synthetic
from mcr_jax.data.builders.corpus import Corpus, Labels
from mcr_jax.data.schema import Dataset


class Synthetic(Corpus):
  """The data set of `mcr_jax.data.synthetic`, as each of its three tasks."""

  BUILDER_CONFIGS = [
    Labels(name="regression"),
    Labels(name="multiclass", task="multiclass", class_names=tuple(synthetic.CLASSES)),
    Labels(name="binary", task="binary", class_names=tuple(synthetic.CLASSES)),
  ]
  MANUAL_DOWNLOAD_INSTRUCTIONS = None
  DESCRIPTION = (
    "Text, audio and vision with a planted signal that only a model which multiplies "
    "all three can read."
  )
  LICENSE = "Apache-2.0"
  SAMPLES = synthetic.SAMPLES

  def read(self, dl_manager: tfds.download.DownloadManager) -> Dataset:
    """The data set of seed 0; nothing is looked for on the disk."""
    del dl_manager
    return synthetic.make(samples=self.SAMPLES, task=self.builder_config.task)
