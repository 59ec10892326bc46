"""Builders write records, and the records read back are the data set."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest
import tensorflow_datasets as tfds

from mcr_jax.data import builders, npz, synthetic
from mcr_jax.data.checks import validate
from mcr_jax.data.load import digest
from mcr_jax.data.readers.common.dialogue_labels import MELD
from mcr_jax.data.readers.common.label_arrays import EMOTIONS
from mcr_jax.data.schema import SPLITS, Dataset, Modality
from mcr_jax.errors import UserError

SAMPLES = (32, 16, 16)


@pytest.fixture(autouse=True)
def few_samples(monkeypatch):
  monkeypatch.setattr(builders.Synthetic, "SAMPLES", SAMPLES)
  tfds.disable_progress_bar()


def dataset_of(labels, class_names=()):
  """Text with holes and missing samples, audio vectors, no vision; mixed splits."""
  random = np.random.default_rng(0)
  count = len(labels)
  lengths = random.integers(0, 6, count)
  offsets = np.concatenate([[0], np.cumsum(lengths)])
  values = random.normal(size=(offsets[-1], 5)).astype(np.float32)
  values[0, 0] = -np.inf
  mask = random.random(offsets[-1]) < 0.7
  text = Modality(values, offsets, mask).trimmed()
  audio = Modality.from_vectors(
    random.normal(size=(count, 3)), random.random(count) > 0.2
  )
  return Dataset(
    ids=np.array([f"ü{i}" for i in range(count)]),
    modalities={"text": text, "audio": audio},
    splits=np.resize(np.array(SPLITS), count),
    labels=labels,
    class_names=class_names,
    source="made here",
  )


def by_split(dataset):
  """The order of records: split after split."""
  return dataset.select(np.concatenate([dataset.indices(split) for split in SPLITS]))


def build(builder, tmp_path, dataset=None, shards=2):
  manual = tmp_path / "manual"
  if dataset is not None:
    npz.write(manual / "features.npz", dataset)
  options = tfds.download.DownloadConfig(manual_dir=manual, num_shards=shards)
  builder.download_and_prepare(
    download_dir=tmp_path / "downloads", download_config=options
  )
  return builder.data_path


@pytest.mark.parametrize("task", synthetic.TASKS)
def test_reading_back_gives_the_data_set_that_was_written(tmp_path, task):
  builder = builders.Synthetic(
    config=task, data_dir=tmp_path, file_format="array_record"
  )
  folder = build(builder, tmp_path, shards=3)
  assert len(list(folder.glob("*-train.array_record*"))) == 3
  back = builders.from_tfds(folder)
  assert digest(validate(back)) == digest(synthetic.make(samples=SAMPLES, task=task))


def test_tensorflow_records_hold_the_same_and_feed_tf_data(tmp_path):
  dataset = dataset_of(np.linspace(-3, 3, 23).astype(np.float32))
  builder = builders.CmuMosi(data_dir=tmp_path, file_format="tfrecord")
  folder = build(builder, tmp_path, dataset)
  back = builders.from_tfds(folder)
  assert digest(back) == digest(by_split(dataset))
  assert back.modalities["audio"].vector and not back.modalities["text"].vector
  records = list(tfds.as_numpy(tfds.builder_from_directory(folder).as_dataset("train")))
  assert not any(record["vision"]["mask"].any() for record in records)
  assert records[0]["id"].decode() == "ü0" and records[0]["label"] == -3


def test_a_cache_keeps_large_features_on_the_disk(tmp_path):
  dataset = synthetic.make(samples=SAMPLES)
  long = Modality(
    np.zeros((64 * 100, 50), np.float32), np.arange(65) * 100, np.ones(6400, bool)
  )
  dataset = dataclasses.replace(dataset, modalities={"audio": long})
  builder = builders.CmuMosei(data_dir=tmp_path, file_format="array_record")
  folder = build(builder, tmp_path, dataset)
  cache = tmp_path / "deep" / "mosei.npz"
  back = builders.from_tfds(folder, cache=cache)
  assert isinstance(back.modalities["audio"].values, np.memmap)
  assert digest(back) == digest(dataset) == digest(npz.read(cache))
  assert list(cache.parent.iterdir()) == [cache]


def test_classes_are_numbered_by_their_names(tmp_path):
  labels = np.arange(21) % 7
  builder = builders.Meld(
    config="emotion", data_dir=tmp_path, file_format="array_record"
  )
  back = builders.from_tfds(build(builder, tmp_path, dataset_of(labels, MELD[::-1])))
  assert back.class_names == MELD
  np.testing.assert_array_equal(back.labels, by_split(dataset_of(6 - labels)).labels)


def test_two_way_labels_are_ordered_by_their_names(tmp_path):
  labels = np.random.default_rng(0).integers(0, 2, (20, 4))
  builder = builders.Iemocap(
    config="four", data_dir=tmp_path, file_format="array_record"
  )
  dataset = dataset_of(labels, EMOTIONS[::-1])
  back = builders.from_tfds(build(builder, tmp_path, dataset))
  np.testing.assert_array_equal(back.labels, by_split(dataset).labels[:, ::-1])


def test_another_array_of_the_file_can_be_the_label(tmp_path):
  names = ("positive", "negative", "neutral")
  extras = {
    "label_sentiment": np.arange(21) % 3,
    "label_sentiment_names": np.array(names),
  }
  dataset = dataclasses.replace(dataset_of(np.arange(21) % 7, MELD), extras=extras)
  make = lambda: builders.Meld(
    config="sentiment", data_dir=tmp_path, file_format="array_record"
  )
  back = builders.from_tfds(build(make(), tmp_path / "a", dataset))
  first = by_split(dataset).extras["label_sentiment"]
  assert [back.class_names[i] for i in back.labels] == [names[i] for i in first]
  with pytest.raises(UserError, match="no 'label_sentiment', which meld/sentiment"):
    make()._checked(dataclasses.replace(dataset, extras={}))


def test_a_file_of_another_corpus_is_refused_by_its_labels(tmp_path):
  builder = builders.Iemocap(
    config="six", data_dir=tmp_path, file_format="array_record"
  )
  with pytest.raises(
    UserError,
    match=r"a regression \(unnamed labels\); iemocap/six is a multiclass \(happy.*There"
    " is also iemocap/four",
  ):
    build(builder, tmp_path, dataset_of(np.linspace(-1, 1, 9)))
  with pytest.raises(UserError, match="holds 'pulse'; cmu_mosi/sentiment has text,"):
    dataset = dataset_of(np.linspace(-1, 1, 9))
    modalities = {"pulse": dataset.modalities["text"]}
    dataset = dataclasses.replace(dataset, modalities=modalities)
    build(builders.CmuMosi(data_dir=tmp_path), tmp_path / "b", dataset)


def test_other_folders_are_refused_with_the_way_on(tmp_path):
  with pytest.raises(UserError, match="holds no records.*python -m mcr_jax.data.b"):
    builders.from_tfds(tmp_path)
  folder = build(
    builders.Synthetic(config="binary", data_dir=tmp_path, file_format="array_record"),
    tmp_path,
  )
  with pytest.raises(UserError, match=f"There is one in {folder}"):
    builders.from_tfds(tmp_path)
  (folder / "metadata.json").write_text("{}")
  with pytest.raises(UserError, match="was not written by a builder of mcr_jax"):
    builders.from_tfds(folder)


def run(*arguments):
  dead = "http://127.0.0.1:9"
  return subprocess.run(
    [sys.executable, *map(str, arguments)],
    env=os.environ | {"http_proxy": dead, "https_proxy": dead},
    capture_output=True,
    text=True,
    timeout=240,
  )


def test_the_command_builds_without_network(tmp_path):
  npz.write(tmp_path / "manual" / "x.npz", dataset_of(np.linspace(-1, 1, 9)))
  done = run(
    *("-m", "mcr_jax.data.builders", "cmu_mosi", "--file_format=array_record"),
    *(f"--manual_dir={tmp_path / 'manual'}", f"--data_dir={tmp_path}"),
  )
  assert done.returncode == 0, done.stderr
  back = builders.from_tfds(tmp_path / "cmu_mosi" / "sentiment" / "1.0.0")
  assert len(back) == 9


def test_a_corpus_without_its_folder_says_where_to_put_it(tmp_path):
  with pytest.raises(UserError, match="cmu_mosi is not downloaded: put.*--manual_dir"):
    build(builders.CmuMosi(data_dir=tmp_path), tmp_path)


def test_array_records_need_no_tensorflow(tmp_path):
  code = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *rest: (
  None if name == "tensorflow" else find_spec(name, *rest)
)
class Absent:
  def find_spec(self, name, path=None, target=None):
    if name == "tensorflow":
      raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
from mcr_jax.data import builders
builders.Synthetic.SAMPLES = (16, 16, 16)
builder = builders.Synthetic(
  config="binary", data_dir=sys.argv[1], file_format="array_record"
)
builder.download_and_prepare()
print(len(builders.from_tfds(builder.data_path)))
"""
  done = run("-c", code, tmp_path)
  assert done.returncode == 0, done.stderr
  assert done.stdout.splitlines()[-1] == "48"
