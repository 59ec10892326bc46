"""From a config to a data set: what is chosen, mended, cut, or refused by name."""

import dataclasses
import os
import subprocess
import sys

import ml_collections
import numpy as np
import pytest

from mcr_jax.data import Dataset, ledger, load, npz, synthetic
from mcr_jax.data.checks import validate
from mcr_jax.data.ledger import unused
from mcr_jax.data.load import digest, lengths_of
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.policies import check_fits
from mcr_jax.errors import UserError

SAMPLES = (32, 16, 16)


@pytest.fixture(scope="module")
def dataset():
  return synthetic.make(samples=SAMPLES)


@pytest.fixture
def file(tmp_path, dataset):
  path = tmp_path / "x.npz"
  npz.write(path, dataset)
  return path


def with_values(dataset, name, change):
  modality = dataset.modalities[name]
  values = modality.values.copy()
  change(values, modality)
  modalities = {
    **dataset.modalities,
    name: dataclasses.replace(modality, values=values),
  }
  return dataclasses.replace(dataset, modalities=modalities)


def test_a_path_is_all_that_is_needed(file, dataset):
  for config in (file, str(file), {"path": str(file)}):
    assert digest(load(config)) == digest(dataset)


def test_a_config_dict_loads_the_synthetic_data(dataset):
  config = ml_collections.ConfigDict(
    {"path": "synthetic", "synthetic": {"samples": SAMPLES}}
  )
  assert digest(load(config)) == digest(dataset)


def test_modalities_come_in_the_order_of_the_config(file):
  chosen = load({"path": file, "modalities": ("V", "text")})
  assert list(chosen.modalities) == ["vision", "text"]


def test_other_labels_and_splits_can_be_chosen(tmp_path, dataset):
  extras = {
    "split_safe": dataset.splits[::-1],
    "label_three": np.arange(64) % 3,
    "label_three_names": np.array(["low", "middle", "high"]),
  }
  npz.write(tmp_path / "x.npz", dataclasses.replace(dataset, extras=extras))
  config = {"path": tmp_path / "x.npz", "split": "split_safe", "label": "label_three"}
  chosen = load(config)
  assert chosen.class_names == ("low", "middle", "high")
  assert (chosen.task, chosen.outputs) == ("multiclass", (3,))
  np.testing.assert_array_equal(chosen.splits, dataset.splits[::-1])
  with pytest.raises(UserError, match="data.split='safe'.* split, split_sa"):
    load({**config, "split": "safe"})


def test_what_a_run_chose_in_its_own_files_does_not_keep_it_from_others(file):
  config = {"path": file, "features": {"text": "bert"}, "label": "label_T"}
  assert len(load(config, for_training=False, splits=())) == sum(SAMPLES)
  with pytest.raises(UserError, match="features=.* MERBench"):
    load(config)
  for training in (True, False):  # frames are never taken for words
    with pytest.raises(UserError, match="data.align='text'.* text has none"):
      load({"path": file, "align": "text"}, for_training=training, splits=())
  with pytest.raises(UserError, match="data.label='label_T'"):
    load({"path": file, "label": "label_T"})


def test_modalities_that_a_file_lacks_can_be_stood_in_for(file):
  widths = {"text": 300, "gaze": 7}
  config = {"path": file, "modalities": ("text", "gaze")}
  chosen = load(config, for_training=False, widths=widths)
  assert chosen.modalities["gaze"].width == 7
  assert not chosen.modalities["gaze"].present.any()
  assert "gaze is missing in all samples." in chosen.notes
  with pytest.raises(UserError, match="'gaze'.* text, audio, vision"):
    load(config)


def test_values_that_are_not_finite_are_counted_and_placed(tmp_path, dataset):
  def spoil(values, audio):
    values[audio.offsets[3], [2, 5]] = np.nan, -np.inf
    values[audio.offsets[9], 5] = np.inf

  npz.write(tmp_path / "x.npz", with_values(dataset, "audio", spoil))
  found = (
    "audio holds 3 values that are not finite, in 2 steps, in columns 2, 5, first in "
    "sample 'synthetic_00003'"
  )
  with pytest.raises(UserError, match=f"x.npz: {found}. data.nonfinite='zero'"):
    load(tmp_path / "x.npz")
  mended = load({"path": tmp_path / "x.npz", "nonfinite": "zero"})
  assert mended.notes == (f"{found}: replaced by 0.",)

  def mend(values, audio):
    values[audio.offsets[3], [2, 5]] = 0
    values[audio.offsets[9], 5] = 0

  assert digest(mended) == digest(with_values(dataset, "audio", mend))


def test_mending_a_mapped_file_leaves_the_file_alone(tmp_path):
  large = with_values(
    synthetic.make(samples=(128, 16, 16)),
    "text",
    lambda values, _: values.__setitem__((5, 5), np.inf),
  )
  npz.write(tmp_path / "x.npz", large)
  before = (tmp_path / "x.npz").read_bytes()
  mended = load({"path": tmp_path / "x.npz", "nonfinite": "zero"})
  assert isinstance(mended.modalities["text"].values, np.memmap)
  assert mended.modalities["text"].values[5, 5] == 0
  # A walk that gives its pages back must not bring the old value up again.
  Normalizer.fit(mended)
  digest(mended)
  assert mended.modalities["text"].values[5, 5] == 0
  assert (tmp_path / "x.npz").read_bytes() == before


def test_what_stands_in_a_hole_does_not_matter(tmp_path, dataset):
  def spoil(values, vision):
    values[~vision.mask] = np.nan

  junk = with_values(dataset, "vision", spoil)
  npz.write(tmp_path / "x.npz", junk)
  assert digest(load(tmp_path / "x.npz")) == digest(dataset)


def test_longer_sequences_are_refused_with_both_lengths(file, dataset):
  longest = lengths_of(dataset)["audio"]
  with pytest.raises(
    UserError, match=f"audio of sample .* has {longest} steps; the longest .* is 20"
  ):
    load({"path": file, "lengths": {"audio": 20}})
  check_fits(dataset, {"audio": longest})
  with pytest.raises(UserError, match=f"the longest allowed is {longest - 1}"):
    check_fits(dataset, {"audio": longest - 1})


def test_longer_sequences_are_cut_where_the_config_says_so(file, dataset):
  lengths = ml_collections.ConfigDict({"audio": 20})
  cut = load({"path": file, "lengths": lengths, "overlong": "truncate"})
  old, new = dataset.modalities["audio"], cut.modalities["audio"]
  np.testing.assert_array_equal(new.lengths, np.minimum(old.lengths, 20))
  indices = np.arange(len(dataset))
  np.testing.assert_array_equal(
    new.padded(indices, 20)[0], old.padded(indices, 36)[0][:, :20]
  )
  over = np.maximum(old.lengths - 20, 0)
  assert cut.notes == (
    f"audio: {(over > 0).sum()} of 64 samples were cut to 20 steps, {over.sum()} of "
    f"{old.lengths.sum()} steps dropped "
    f"({', '.join(dataset.ids[over > 0][:5])}, ...).",
  )
  assert (
    cut.modalities["text"].lengths.sum() == dataset.modalities["text"].lengths.sum()
  )


def test_what_a_corpus_has_and_a_file_has_not_may_be_left_with_a_note(file, dataset):
  given = {"path": file, "modalities": ("gaze", "audio"), "lengths": {"gaze": 5}}
  with pytest.raises(UserError, match="has no 'gaze'"):
    load(given)
  found = load(given | {"absent": "leave"})
  assert list(found.modalities) == ["audio"]
  assert any("has no gaze; read are audio" in note for note in found.notes)
  # What looks like a slip of the fingers is one.
  with pytest.raises(UserError, match="has no 'texd'"):
    load(given | {"absent": "leave", "modalities": ("texd", "audio")})
  every = load({"path": file, "modalities": ("gaze",), "absent": "leave"})
  assert list(every.modalities) == list(dataset.modalities)


def test_a_split_without_samples_names_what_was_not_read_and_two_ways_on(file, dataset):
  left = ledger.left("test1_corpus", 8, "it is a further split", "utterances")
  lacking = dataset.select(dataset.indices("train")).leaving(left)
  with pytest.raises(UserError, match="train 32, valid 0.*test1_corpus: 8") as error:
    validate(lacking)
  assert "data.parts.valid=" in str(error.value)
  assert "data.folds=5" in str(error.value)
  with pytest.raises(UserError, match="no 'split'.*data.folds=5"):
    validate(dataclasses.replace(dataset, splits=None))


@pytest.mark.parametrize(
  "config, message",
  [
    ({}, "data.path=''.*'synthetic'"),
    ({"align": "audio"}, "data.align.*'audio'.*text"),
    ({"nonfinite": "drop"}, "data.nonfinite='drop' must be one of error, zero"),
    ({"overlong": "cut"}, "data.overlong='cut' must be one of error, truncate"),
    ({"modalities": ("text", "L")}, "data.modalities names one twice: text, text"),
    ({"modalities": ("gaze",)}, "has no 'gaze'; it has text, audio, vision"),
    ({"lengths": {"gaze": 5}}, "data.lengths.gaze=5: right are lengths of at least 1"),
    ({"lengths": {"text": 0}}, "data.lengths.text=0"),
    ({"label": "label_x"}, "data.label='label_x': .* there are label"),
    ({"synthetic": {"tusk": 1}}, "data.synthetic: .*'tusk'"),
    ({"synthetic": {"task": "ranking"}}, "task of the synthetic data='ranking'"),
    ({"synthetic": {"samples": (8, 8, 8)}}, "right are three multiples of 16"),
  ],
)
def test_a_mistake_in_the_config_is_named(config, message):
  small = {"synthetic": {"samples": SAMPLES}}
  if config:
    config = {"path": "synthetic", **small, **config}
  with pytest.raises(UserError, match=message):
    load(config)


@pytest.mark.parametrize("part", ["ids", "splits", "labels"])
def test_the_digest_sees_every_array(dataset, part):
  changed = getattr(dataset, part).copy()
  changed[-1] = changed[0]
  other = dataclasses.replace(dataset, **{part: changed})
  assert digest(other) != digest(dataset)


def test_the_digest_sees_one_bit_of_a_feature(dataset):
  def flip(values, _):
    values.view(np.uint32)[-1, -1] ^= 1

  assert digest(with_values(dataset, "text", flip)) != digest(dataset)


def test_the_digest_sees_where_a_sequence_ends(dataset):
  text = dataset.modalities["text"]
  offsets = text.offsets.copy()
  offsets[1] += 1
  moved = {**dataset.modalities, "text": dataclasses.replace(text, offsets=offsets)}
  assert digest(dataclasses.replace(dataset, modalities=moved)) != digest(dataset)


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="needs Linux")
def test_walking_a_large_file_does_not_fill_the_memory_with_it(tmp_path):
  rows, width = 60_000, 500
  size = rows * width * 4 >> 20
  random = np.random.default_rng(0)
  values = random.random((rows, width), np.float32)
  np.savez(
    tmp_path / "x.npz",
    id=np.arange(3),
    split=np.array(["train", "valid", "test"]),
    label=np.arange(3.0),
    audio=values,
    audio_offsets=np.array([0, 20_000, 40_000, rows]),
  )
  program = """
import re, sys
from mcr_jax.data import load
from mcr_jax.data.load import digest
from mcr_jax.data.normalize import Normalizer
# Not getrusage, whose peak survives from the parent process.
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
dataset = load(sys.argv[1])
Normalizer.fit(dataset)
digest(dataset)
print((peak() - before) >> 10)
"""
  answer = subprocess.run(
    [sys.executable, "-c", program, tmp_path / "x.npz"],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
  )
  assert int(answer.stdout) < 0.6 * size


def test_reading_data_imports_neither_jax_nor_tensorflow():
  program = """
import sys
from mcr_jax.data import load
load({"path": "synthetic", "synthetic": {"samples": (16, 16, 16)}})
print([name for name in ("jax", "tensorflow", "h5py") if name in sys.modules])
"""
  answer = subprocess.run(
    [sys.executable, "-c", program],
    capture_output=True,
    text=True,
    check=True,
    env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
  )
  assert answer.stdout.strip() == "[]"


def test_real_words_load_with_their_lengths(real_data, tmp_path):
  words = np.load(real_data("cmu-mosi/mosi_words.npz"), allow_pickle=False)
  np.savez(
    tmp_path / "x.npz",
    id=words["id"],
    split=words["split"],
    label=words["label"],
    text=words["vocab_glove"][words["word_id"]],
    text_offsets=words["offsets"],
  )
  dataset = load(tmp_path / "x.npz")
  assert isinstance(dataset, Dataset)
  assert {s: len(dataset.indices(s)) for s in ("train", "valid", "test")} == {
    "train": 1284,
    "valid": 228,
    "test": 686,
  }
  # One clip of the validation has no word at all.
  (left,) = unused(dataset.ledger)
  assert (left.name, left.count) == ("samples", 1)
  assert lengths_of(dataset) == {"text": 114}


def test_whole_numbers_below_zero_serve_a_regression(tmp_path):
  path = tmp_path / "x.npz"
  splits, labels = ["train", "valid", "test"], np.array([-3, 0, 2])
  np.savez(path, id=list("abc"), split=splits, label=labels, text=np.eye(3))
  found = load({"path": path, "task": "regression"}).labels
  assert found.dtype == np.float32 and found.tolist() == [-3, 0, 2]
  with pytest.raises(UserError, match="-3"):
    load(path)
