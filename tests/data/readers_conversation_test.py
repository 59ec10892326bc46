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


def layered(classes=7, order="cosmic"):
  """A corpus, and a pickle of it with four layers of text as projects order them."""
  expected = corpus(classes)
  ids, rows, labels, text, audio, vision, said, train, test, _ = (
    writers.conversation_content(expected, "meld10")
  )
  layers = [{k: [x + i for x in v] for k, v in text.items()} for i in range(4)]
  names = {k: ["M", "F"] for k in ids}
  parts = {
    "cosmic": (names, labels, *layers, said, train[:-2], test, train[-2:]),
    "with ids": (ids, names, labels, *layers, said, train[:-2], test, train[-2:]),
    "mmgcn": (ids, rows, labels, *layers, audio, vision, said, train, test),
    "numbers": (ids, {k: [1, 0] for k in ids}, labels, *layers, said, train, test),
  }
  return expected, layers, parts[order]


@pytest.mark.parametrize(
  ("order", "parts"), [("cosmic", 10), ("with ids", 11), ("mmgcn", 12), ("numbers", 10)]
)
def test_parts_are_told_by_what_they_hold(tmp_path, order, parts):
  expected, layers, content = layered(order=order)
  assert len(content) == parts
  path = writers.dump(tmp_path / "x", content)
  dataset = readers.read(path)
  assert dataset.splits.tolist() == expected.splits
  np.testing.assert_array_equal(dataset.labels, expected.labels)
  text = expected.joined("text")
  np.testing.assert_allclose(dataset.modalities["text"].values, text + 1.5, rtol=1e-6)
  named = ["M", "F"] if order in ("cosmic", "with ids") else ["1", "0"]
  speakers = dataset.columns["speaker"].values[:2].tolist()
  assert speakers == (named if order != "mmgcn" else [0, 0])
  assert dataset.extras["raw_text"][5] == "Words 5."
  uses = {x.name: x.use for x in dataset.ledger}
  assert all(uses[f"roberta{i}"] for i in range(1, 5)) and uses["labels"] == "labels"
  assert ("vision" in dataset.modalities) == (order == "mmgcn")
  if order == "mmgcn":
    for name in ("audio", "vision"):
      found = dataset.modalities[name].values
      np.testing.assert_array_equal(found, expected.joined(name))


def test_layers_of_text_are_a_choice(tmp_path):
  expected, layers, content = layered()
  path = writers.dump(tmp_path / "x", content)
  text = expected.joined("text")
  joined = readers.read(path, layers="join").modalities["text"]
  np.testing.assert_allclose(
    joined.values, np.concatenate([text + i for i in range(4)], 1), rtol=1e-6
  )
  one = readers.read(path, layers="roberta3")
  np.testing.assert_allclose(one.modalities["text"].values, text + 2, rtol=1e-6)
  left = sorted(x.name for x in one.ledger if not x.use)
  assert left == ["roberta1", "roberta2", "roberta4"]
  with pytest.raises(UserError, match="data.layers='roberta9'"):
    readers.read(path, layers="roberta9")


def test_classes_of_a_corpus_that_is_not_known_are_numbers(tmp_path):
  _, _, content = layered()
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert dataset.class_names == tuple("0123456")


def test_a_second_label_before_the_features_is_the_coarser_one(tmp_path):
  expected, layers, content = layered()
  speakers, labels, *rest = content
  coarse = {k: [(0, 1, 2, 2, 1, 2, 2)[x] for x in v] for k, v in labels.items()}
  path = writers.dump(tmp_path / "x", (speakers, labels, coarse, *rest))
  dataset = readers.read(path)
  np.testing.assert_array_equal(dataset.labels, expected.labels)
  assert dataset.class_names == MELD
  names = dataset.extras["label_sentiment_names"].tolist()
  assert names == ["neutral", "positive", "negative"]


def test_dialogues_of_no_split_are_counted(tmp_path):
  content = list(writers.conversation_content(corpus(7), "meld9"))
  content[7] = content[7][1:]
  dataset = readers.read(writers.dump(tmp_path / "x", tuple(content)))
  (left,) = [x for x in dataset.ledger if x.name == "dialogues"]
  assert (left.count, left.items) == (1, ("d20",)) and len(dataset) == 46


def test_parts_dumped_one_after_another_are_the_same(tmp_path):
  content = writers.conversation_content(corpus(7), "meld9")
  expected = readers.read(writers.dump(tmp_path / "x", content))
  data = b"".join(writers.dump(tmp_path / "y", x).read_bytes() for x in content)
  (tmp_path / "y").write_bytes(data)
  found = readers.read(tmp_path / "y")
  assert found.ids.tolist() == expected.ids.tolist()
  np.testing.assert_array_equal(found.labels, expected.labels)


def test_what_a_tuple_lacks_of_a_conversation_is_said(tmp_path):
  content = writers.conversation_content(corpus(7), "meld9")
  with pytest.raises(UserError, match="nearest known is a conv.* lacks two or three"):
    readers.read(writers.dump(tmp_path / "x", content[:7]))
