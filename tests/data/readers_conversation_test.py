"""Conversation pickles: each project's numbering of classes becomes names."""

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.errors import UserError
from tests.data import writers

MELD = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
IEMOCAP = ("happy", "sad", "neutral", "angry", "excited", "frustrated")


def corpus(classes, seed=0):
  """24 dialogues of 2 utterances: 20 for training and validation, 4 for testing."""
  random = np.random.default_rng(seed)
  count = 48
  widths = {"text": 10, "vision": 4, "audio": 6}
  return writers.Corpus(
    videos=[f"d{i // 2:02}" for i in range(count)],
    clips=[f"u{i % 2}" for i in range(count)],
    # A validation set of 114 in 1152 dialogues is 2 of 20.
    splits=["train"] * 36 + ["valid"] * 4 + ["test"] * 8,
    labels=np.concatenate(
      [np.arange(classes), random.integers(0, classes, count - classes)]
    ),
    sequences={
      name: list(random.normal(size=(count, 1, width)).astype(np.float32))
      for name, width in widths.items()
    },
  )


def assert_equal(dataset, expected, modalities):
  assert list(dataset.modalities) == list(modalities)
  assert dataset.splits.tolist() == expected.splits
  np.testing.assert_array_equal(dataset.labels, expected.labels)
  for name in modalities:
    assert dataset.modalities[name].vector
    np.testing.assert_array_equal(
      dataset.modalities[name].values, expected.joined(name)
    )


@pytest.mark.parametrize("protocol", range(6))
def test_meld_of_dialogue_rnn(tmp_path, protocol):
  expected = corpus(7)
  content = writers.conversation_content(expected, "meld9")
  dataset = readers.read(writers.dump(tmp_path / "x", content, protocol))
  assert_equal(dataset, expected, ("text", "audio"))
  assert dataset.class_names == MELD
  assert dataset.ids[:3].tolist() == ["d00$_$u0", "d00$_$u1", "d01$_$u0"]
  assert "the last 2 of 20 training dialogues" in " ".join(dataset.notes)


def test_meld_of_mm_dfn_has_vision_after_audio(tmp_path):
  expected = corpus(7)
  content = writers.conversation_content(expected, "meld10")
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert_equal(dataset, expected, ("text", "vision", "audio"))
  assert dataset.class_names == MELD


def test_sentiments_are_named_by_the_emotions_that_imply_them(tmp_path):
  expected = corpus(7)
  content = list(writers.conversation_content(expected, "meld9"))
  dataset = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  names = dataset.extras["label_sentiment_names"]
  assert names.tolist() == ["neutral", "positive", "negative"]
  swap = {0: 2, 1: 0, 2: 1}
  content[8] = {k: [swap[x] for x in v] for k, v in content[8].items()}
  again = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  other = again.extras["label_sentiment_names"]
  np.testing.assert_array_equal(
    names[dataset.extras["label_sentiment"]], other[again.extras["label_sentiment"]]
  )


@pytest.mark.parametrize("protocol", [0, 1, 2])
@pytest.mark.parametrize("as_lists", [False, True])
def test_iemocap_of_python_2(tmp_path, protocol, as_lists):
  expected = corpus(6)
  content = writers.conversation_content(expected, "iemocap", as_lists=as_lists)
  (tmp_path / "x").write_bytes(writers.python2(content, protocol))
  dataset = readers.read(tmp_path / "x")
  assert_equal(dataset, expected, ("text", "vision", "audio"))
  assert dataset.class_names == IEMOCAP


def test_dialogues_are_counted_as_numbers(tmp_path):
  expected = corpus(7)
  keys = {f"d{i:02}": i for i in range(24)}
  content = writers.conversation_content(expected, "meld9", keys)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert_equal(dataset, expected, ("text", "audio"))


def test_a_dialogue_without_features_is_named(tmp_path):
  content = writers.conversation_content(corpus(7), "meld9")
  del content[3]["d03"]
  with pytest.raises(UserError, match="text .*'d03'"):
    readers.read(writers.dump(tmp_path / "x", content))


def test_a_class_beyond_the_numbering_is_an_error(tmp_path):
  content = writers.conversation_content(corpus(7), "meld9")
  content[2]["d03"][0] = 7
  with pytest.raises(UserError, match="label .*7.* neutral"):
    readers.read(writers.dump(tmp_path / "x", content))


def test_a_dialogue_in_both_splits_is_an_error(tmp_path):
  content = writers.conversation_content(corpus(7), "meld9")
  content[7].append("d00")
  with pytest.raises(UserError, match="train and test"):
    readers.read(writers.dump(tmp_path / "x", content))
