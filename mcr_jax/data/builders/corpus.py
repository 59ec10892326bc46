"""What all builders share: from a feature file to records.

A record is one sample: `id`, `label`, and per modality `values` (T, D) and `mask` (T,),
False on steps without data. Sequences keep their own lengths, a vector has T = 1; a
modality that a sample lacks is one step without data, since TensorFlow Datasets does
not read empty arrays back. The values are those of the file, not normalised.
"""

import dataclasses
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mcr_jax.data import readers
from mcr_jax.data.checks import validate
from mcr_jax.data.schema import SPLITS, Dataset, Modality
from mcr_jax.errors import UserError

MODALITIES = ("text", "audio", "vision")


@dataclasses.dataclass(eq=False)
class Labels(tfds.core.BuilderConfig):
  """Which labels of a corpus the records carry.

  Attributes:
    task: `regression`, `multiclass` or `binary`.
    class_names: their order in the records, whatever that of the file is.
    key: of the array in the file.
  """

  task: str = "regression"
  class_names: tuple[str, ...] = ()
  key: str = "label"


class Corpus(tfds.core.GeneratorBasedBuilder, skip_registration=True):
  """The records of one feature file; a corpus adds its labels and its papers."""

  VERSION = tfds.core.Version("1.0.0")
  MANUAL_DOWNLOAD_INSTRUCTIONS = (
    "The feature file, or the folder of feature files, alone in the manual folder."
  )
  DESCRIPTION = ""
  HOMEPAGE = ""
  LICENSE = ""
  CITATION = ""

  def read(self, dl_manager: tfds.download.DownloadManager) -> Dataset:
    """The data set whose samples become records."""
    try:
      folder = pathlib.Path(dl_manager.manual_dir)
    except AssertionError as error:
      raise UserError(
        f"{self.name} is not downloaded: put its feature file into a folder and name "
        f"the folder by --manual_dir. ({error})"
      ) from error
    entries = [x for x in sorted(folder.iterdir()) if x.name[0] != "."]
    # Several files are one data set only where their folder is a known format.
    return readers.read(entries[0] if len(entries) == 1 else folder)

  def _info(self) -> tfds.core.DatasetInfo:
    config = self.builder_config
    # Which features a file holds, and how wide they are, is known when it is read.
    bytes_of = lambda shape, kind: tfds.features.Tensor(
      shape=shape, dtype=kind, encoding=tfds.features.Encoding.BYTES
    )
    modality = lambda: {
      "values": bytes_of((None, None), np.float32),
      "mask": bytes_of((None,), np.bool_),
    }
    label = {
      "regression": lambda: tfds.features.Scalar(np.float32),
      "multiclass": lambda: tfds.features.ClassLabel(names=config.class_names),
      "binary": lambda: tfds.features.Tensor(
        shape=(len(config.class_names),), dtype=np.int64
      ),
    }[config.task]()
    record = {"id": tfds.features.Text(), "label": label}
    record |= {name: modality() for name in MODALITIES}
    return tfds.core.DatasetInfo(
      builder=self,
      description=self.DESCRIPTION,
      features=tfds.features.FeaturesDict(record),
      # The order of the file: reading back gives the data set that was written.
      disable_shuffling=True,
      homepage=self.HOMEPAGE,
      license=self.LICENSE,
      citation=self.CITATION,
      metadata=tfds.core.MetadataDict(),
    )

  def _split_generators(self, dl_manager) -> dict[str, Iterator]:
    dataset = self._checked(self.read(dl_manager))
    self.info.metadata.update(
      modalities=list(dataset.modalities),
      widths={name: x.width for name, x in dataset.modalities.items()},
      vectors=[name for name, x in dataset.modalities.items() if x.vector],
      class_names=list(dataset.class_names),
      source=pathlib.Path(dataset.source).name,
      notes=list(dataset.notes),
    )
    found = [split for split in SPLITS if len(dataset.indices(split))]
    return {split: self._generate_examples(dataset, split) for split in found}

  def _generate_examples(
    self, dataset: Dataset, split: str
  ) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, i in enumerate(dataset.indices(split)):
      label = dataset.labels[i]
      record = {
        "id": str(dataset.ids[i]),
        "label": label.astype(np.int64) if label.dtype.kind == "i" else label,
      }
      for name in MODALITIES:
        modality = dataset.modalities.get(name) or Modality.absent(len(dataset), 1)
        steps = slice(modality.offsets[i], modality.offsets[i + 1])
        values, mask = np.array(modality.values[steps]), modality.mask[steps]
        if not len(mask):
          values, mask = np.zeros((1, modality.width), np.float32), np.zeros(1, bool)
        record[name] = {"values": values, "mask": mask}
      yield number, record

  def _checked(self, dataset: Dataset) -> Dataset:
    """The data set with the labels of the config, in its order of classes."""
    config, name = self.builder_config, f"{self.name}/{self.builder_config.name}"
    if config.key != "label":
      if config.key not in dataset.choices:
        raise UserError(f"{dataset.source} has no {config.key!r}, which {name} needs.")
      names = dataset.extras.get(f"{config.key}_names", ())
      dataset = dataset.relabelled(
        dataset.choices[config.key], class_names=tuple(str(x) for x in names)
      )
    dataset = validate(dataset, splits=())
    if unknown := [x for x in dataset.modalities if x not in MODALITIES]:
      raise UserError(
        f"{dataset.source} holds {unknown[0]!r}; {name} has {', '.join(MODALITIES)}."
      )
    classes = sorted(dataset.class_names)
    if dataset.task != config.task or classes != sorted(config.class_names):
      found = ", ".join(dataset.class_names) or "unnamed labels"
      others = [x.name for x in self.BUILDER_CONFIGS if x.name != config.name]
      raise UserError(
        f"{dataset.source} is a {dataset.task} ({found}); {name} is a {config.task} "
        f"({', '.join(config.class_names) or 'numbers'})."
        + (f" There is also {self.name}/{others[0]}." if others else "")
      )
    return _in_order(dataset, config.class_names)


def _in_order(dataset: Dataset, names: tuple[str, ...]) -> Dataset:
  """The labels numbered by the names in another order."""
  if dataset.class_names == names:
    return dataset
  if dataset.task == "binary":
    labels = dataset.labels[:, [dataset.class_names.index(x) for x in names]]
  else:
    number = np.array([names.index(x) for x in dataset.class_names], np.int32)
    labels = number[dataset.labels]
  return dataclasses.replace(dataset, labels=labels, class_names=names)
