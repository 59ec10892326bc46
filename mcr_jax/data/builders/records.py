"""From the records of a builder back to a data set."""

import contextlib
import io
import os
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow_datasets as tfds

from mcr_jax.data import npz
from mcr_jax.data.schema import SPLITS, Dataset, Modality
from mcr_jax.errors import UserError


def from_tfds(
  builder_dir: str | os.PathLike, *, cache: str | os.PathLike | None = None
) -> Dataset:
  """The data set that `tfds build` wrote, read one record at a time.

  Args:
    builder_dir: the folder with the records, `.../<name>/<config>/<version>`.
    cache: an .npz file to be written, whose features are then memory-mapped: for
      records that do not fit into memory. `--config.data.path` takes it, too.
  Raises:
    UserError: the folder holds no records, or not those of our builders.
  """
  builder, facts = _open(builder_dir)
  if cache is None:
    return _collect(builder, facts, lambda name: io.BytesIO())
  cache = pathlib.Path(cache)
  cache.parent.mkdir(parents=True, exist_ok=True)
  with contextlib.ExitStack() as stack:
    # Beside the cache, which has room for it.
    folder = stack.enter_context(tempfile.TemporaryDirectory(dir=cache.parent))
    new = lambda name: stack.enter_context(open(pathlib.Path(folder, name), "w+b"))
    npz.write(cache, _collect(builder, facts, new))
  return npz.read(cache)


def _open(builder_dir):
  """The builder of a folder, and what ours noted down when it wrote."""
  folder = pathlib.Path(builder_dir)
  again = "Write them by `python -m mcr_jax.data.builders NAME`."
  if not (folder / "dataset_info.json").is_file():
    inside = sorted(x.parent for x in folder.glob("**/dataset_info.json"))
    hint = f"There is one in {inside[0]}." if inside else again
    raise UserError(f"{folder} holds no records of TensorFlow Datasets. {hint}")
  builder = tfds.builder_from_directory(folder)
  metadata = builder.info.metadata
  facts = {} if metadata is None else dict(metadata.items())
  if "modalities" not in facts:
    raise UserError(f"{folder} was not written by a builder of mcr_jax. {again}")
  return builder, facts


def _collect(builder, facts, new_file) -> Dataset:
  """All records, their values appended to one file a modality."""
  names = facts["modalities"]
  files = {name: new_file(name) for name in names}
  masks, lengths = {name: [] for name in names}, {name: [] for name in names}
  ids, labels, splits = [], [], []
  for split in SPLITS:
    if split not in builder.info.splits:
      continue
    for record in _records(builder, split):
      splits.append(split)
      ids.append(record["id"].decode())
      labels.append(record["label"])
      for name in names:
        values, mask = record[name]["values"], record[name]["mask"]
        if not mask.any() and name not in facts["vectors"]:
          values, mask = values[:0], mask[:0]  # the step that stands for a missing one
        files[name].write(values.tobytes())
        masks[name].append(mask)
        lengths[name].append(len(mask))
  modalities = {
    name: Modality(
      _values(files[name], facts["widths"][name]),
      np.concatenate([[0], np.cumsum(lengths[name], dtype=np.int64)]),
      np.concatenate(masks[name]),
      name in facts["vectors"],
    )
    for name in names
  }
  return Dataset(
    ids=np.array(ids),
    modalities=modalities,
    splits=np.array(splits),
    labels=np.array(labels, builder.info.features["label"].np_dtype),
    class_names=tuple(facts["class_names"]),
    source=str(builder.data_path),
    notes=tuple(facts["notes"]),
  )


def _records(builder, split: str) -> Iterator[dict[str, Any]]:
  """The records of a split in their order, as NumPy arrays."""
  if builder.info.file_format == tfds.core.FileFormat.ARRAY_RECORD:
    # Without TensorFlow.
    yield from builder.as_data_source(split)
    return
  records = builder.as_dataset(
    split=split,
    shuffle_files=False,
    read_config=tfds.ReadConfig(interleave_cycle_length=1),
  )
  yield from tfds.as_numpy(records)


def _values(file, width: int) -> np.ndarray:
  """(sum T, width) of what was written to a file, mapped if it lies on the disk."""
  file.flush()
  if isinstance(file, io.BytesIO):
    return np.frombuffer(file.getbuffer(), np.float32).reshape(-1, width)
  if file.tell() == 0:
    return np.zeros((0, width), np.float32)
  return np.memmap(file, np.float32, "r").reshape(-1, width)
