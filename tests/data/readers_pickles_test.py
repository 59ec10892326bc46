"""MMSA's and MulT's pickles load to the corpus that was written."""

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.readers.common import unpickle
from mcr_jax.errors import UserError
from tests.data import writers


@pytest.fixture(scope="module")
def corpus():
  return writers.invented()


def assert_equal(dataset, corpus, modalities=("text", "vision", "audio")):
  """The data set is the corpus; all-zero frames are holes, all-zero words are not."""
  assert dataset.splits.tolist() == corpus.splits
  assert list(dataset.modalities) == list(modalities)
  np.testing.assert_array_equal(dataset.labels, corpus.labels)
  for name in modalities:
    modality, values = dataset.modalities[name], corpus.joined(name)
    assert modality.values.dtype == np.float32
    np.testing.assert_array_equal(modality.values, values)
    np.testing.assert_array_equal(modality.offsets, corpus.offsets(name))
    real = (values != 0).any(1) if name != "text" else np.ones(len(values), bool)
    np.testing.assert_array_equal(modality.mask, real)


def ids(corpus):
  return [f"{v}$_${c}" for v, c in zip(corpus.videos, corpus.clips, strict=True)]


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("lengths", [False, True])
def test_mmsa_files_load_to_the_corpus(tmp_path, corpus, protocol, side, lengths):
  content = writers.mmsa_content(corpus, side=side, lengths=lengths)
  dataset = readers.read(writers.dump(tmp_path / "x", content, protocol))
  assert_equal(dataset, corpus)
  assert dataset.ids.tolist() == ids(corpus)
  assert f"padded on the {side}" in " ".join(dataset.notes)
  assert (
    dataset.extras["label_classes"].tolist()
    == (corpus.labels >= 0).astype(int).tolist()
  )
  assert dataset.extras["label_classes_names"].tolist() == ["Negative", "Positive"]


@pytest.mark.parametrize("protocol", range(6))
def test_mult_files_load_to_the_same_arrays(tmp_path, corpus, protocol):
  content = writers.mult_content(corpus)
  dataset = readers.read(writers.dump(tmp_path / "x", content, protocol))
  assert_equal(dataset, corpus)
  assert dataset.ids.tolist() == ids(corpus)
  assert any("text: padded on the left to 8 steps" in note for note in dataset.notes)


@pytest.mark.parametrize("protocol", [0, 1, 2])
def test_pickles_of_python_2_load_to_the_same_arrays(tmp_path, corpus, protocol):
  path = tmp_path / "x"
  path.write_bytes(writers.python2(writers.mult_content(corpus, ids="bytes"), protocol))
  dataset = readers.read(path)
  assert_equal(dataset, corpus)
  assert dataset.ids[0] == "video0$_$0_9.5"


def test_stated_lengths_win_over_zeros_and_may_be_arrays(tmp_path, corpus):
  content = writers.mmsa_content(corpus)
  for entry in content.values():
    for name in ("audio_lengths", "vision_lengths"):
      entry[name] = np.array(entry[name])
  # Words without a vector at the end are words: the mask of the tokens says so.
  last = content["train"]["text"]
  length = len(corpus.sequences["text"][0])
  last[0, length - 1] = 0
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  text = dataset.modalities["text"]
  assert text.lengths[0] == length and text.mask.all()


def test_noise_as_padding_is_cut_by_the_stated_lengths(tmp_path, corpus):
  content = writers.mmsa_content(corpus)
  for entry in content.values():
    for name in ("audio", "vision"):
      steps = np.arange(entry[name].shape[1])
      noise = steps >= np.array(entry[f"{name}_lengths"])[:, None]
      entry[name][noise] = 7.0
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert_equal(dataset, corpus)


def test_sims_labels_of_each_modality_can_be_chosen(tmp_path, corpus):
  content = writers.mmsa_content(corpus, unimodal=True)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  np.testing.assert_allclose(dataset.choices["label_A"], corpus.labels / 2, rtol=1e-6)
  assert "label_T, label_A, label_V" in " ".join(dataset.notes)


def test_token_ids_are_named_as_unusable(tmp_path, corpus):
  content = writers.mmsa_content(corpus)
  for entry in content.values():
    del entry["text"]
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert list(dataset.modalities) == ["vision", "audio"]
  assert "need a text encoder: there is no text" in " ".join(dataset.notes)
  for entry in content.values():
    del entry["vision"], entry["audio"]
  with pytest.raises(UserError, match="token ids"):
    readers.read(writers.dump(tmp_path / "x", content))


def test_one_clip_of_mmsa_fet_needs_no_ids_labels_or_splits(tmp_path, corpus):
  clip = {name: x[1] for name, x in corpus.sequences.items()}
  clip["text_bert"] = np.ones((8, 3), np.int64)
  dataset = readers.read(writers.dump(tmp_path / "x", clip, 5))
  assert len(dataset) == 1 and dataset.labels is None and dataset.splits is None
  np.testing.assert_array_equal(dataset.modalities["audio"].values, clip["audio"])


def test_a_modality_may_be_missing_in_a_split(tmp_path, corpus):
  content = writers.mmsa_content(corpus)
  del content["train"]["text"], content["train"]["text_bert"]
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  train = dataset.splits == "train"
  assert not dataset.modalities["text"].present[train].any()
  assert "text: missing in train." in dataset.notes
  assert dataset.modalities["text"].lengths[~train].sum() > 0


def test_iemocap_of_mult_becomes_four_named_binary_labels(tmp_path, corpus):
  random = np.random.default_rng(1)
  yes = random.integers(0, 2, (len(corpus.labels), 4))
  content = writers.mult_content(corpus, labels=np.eye(2)[yes], ids=None)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  np.testing.assert_array_equal(dataset.labels, yes)
  assert dataset.task == "binary"
  assert dataset.class_names == ("neutral", "happy", "sad", "angry")
  assert dataset.ids[0] == "train0" and len(set(dataset.ids)) == len(dataset)


def test_labels_that_are_no_one_hot_are_refused(tmp_path, corpus):
  labels = np.ones((len(corpus.labels), 4, 2))
  content = writers.mult_content(corpus, labels=labels)
  with pytest.raises(UserError, match=r"\[1, 0\] for no and \[0, 1\] for yes"):
    readers.read(writers.dump(tmp_path / "x", content))


def test_vectors_are_vectors(tmp_path, corpus):
  content = {
    split: {
      "text": np.stack([corpus.sequences["text"][1][0]] * 3),
      "labels": np.zeros((3, 1)),
    }
    for split in writers.SPLITS
  }
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert dataset.modalities["text"].vector and dataset.modalities["text"].width == 6


@pytest.mark.parametrize(
  "content, words",
  [
    ({"x": 1, "y": 2}, "a dict of 2 keys \\('x', 'y'\\). A data set is written by"),
    ([1, "x"], "a list of 2 items \\(int, str\\)"),
    (np.zeros((2, 3)), "an array of shape \\(2, 3\\)"),
    ({"train": {"text": "words", "labels": [1]}}, "holds a str; it must hold numbers"),
    (
      {
        "train": {
          "text": np.zeros((2, 3, 4)),
          "audio": np.zeros((3, 3, 4)),
          "labels": [1],
        }
      },
      "text 2, audio 3",
    ),
    (
      {"train": {"text": np.zeros((2, 3, 4)), "labels": [[1]], "id": [1, 2]}},
      "shape \\(1, 1\\) for 2 samples",
    ),
  ],
)
def test_unknown_contents_are_described(tmp_path, content, words):
  with pytest.raises(UserError, match=words):
    readers.read(writers.dump(tmp_path / "x", content))


def test_large_arrays_stay_in_the_file(tmp_path):
  array = np.random.default_rng(0).normal(size=(400, 400))
  path = writers.dump(tmp_path / "x", {"a": array})
  found = unpickle.load(path)["a"]
  np.testing.assert_array_equal(found, array)
  assert not found.flags.owndata and not found.flags.writeable


def test_empty_frames_at_the_end_are_dropped_though_the_length_counts_them(
  tmp_path, corpus
):
  content = writers.mmsa_content(corpus)
  content["train"]["vision_lengths"][0] += 2
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert_equal(dataset, corpus)


def test_names_of_mmsa_keep_their_classes_where_one_never_occurs(tmp_path):
  content = {
    split: {
      "id": [f"{split}{i}" for i in range(4)],
      "text": np.ones((4, 3, 2), np.float32),
      "classification_labels": np.array([0, 2, 2, 0]),
      "annotations": ["Negative", "Positive", "Positive", "Negative"],
    }
    for split in ("train", "valid", "test")
  }
  found = readers.read(writers.dump(tmp_path / "x", content))
  assert found.class_names[0] == "Negative" and found.class_names[-1] == "Positive"
