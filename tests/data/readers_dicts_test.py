"""Dicts with the SDK's names, and lists of ((words, vision, audio), label, segment)."""

import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.load import load
from mcr_jax.errors import UserError
from tests.data import writers
from tests.data.identify_test import same


def finite():
  corpus = writers.invented()
  corpus.sequences["audio"] = [
    np.nan_to_num(x, neginf=0) for x in corpus.sequences["audio"]
  ]
  return corpus


def assert_read(dataset, corpus, modalities=("text", "vision", "audio")):
  assert list(dataset.modalities) == list(modalities)
  assert dataset.splits.tolist() == corpus.splits
  np.testing.assert_array_equal(dataset.labels, corpus.labels)
  for name in modalities:
    expected = corpus.sequences[name]
    assert dataset.modalities[name].lengths.tolist() == [*map(len, expected)]
    np.testing.assert_array_equal(dataset.modalities[name].values, corpus.joined(name))


def test_the_names_of_the_sdk_are_those_of_modalities(tmp_path):
  corpus = finite()
  content = writers.sdk_content(corpus)
  expected = readers.read(writers.dump(tmp_path / "x", content))
  assert_read(expected, corpus)
  uses = {x.name: x.use for x in expected.ledger}
  assert uses["FACET 4.2"] == "the modality vision" and uses["label"] == "labels"
  # The three forms in which it is written beside a dict.
  same(readers.read(writers.dump(tmp_path / "y", tuple(content.values()))), expected)
  np.save(tmp_path / "z.npy", content, allow_pickle=True)
  same(readers.read(tmp_path / "z.npy"), expected)
  whole = {k: x for k, x in content["train"].items() if k != "id"}
  np.savez(tmp_path / "w.npz", **whole)
  part = readers.read(tmp_path / "w.npz")
  assert part.splits is None and len(part) == 7
  np.testing.assert_array_equal(part.labels, corpus.labels[:7])


def test_files_of_the_splits_in_a_folder_are_one_data_set(tmp_path):
  corpus = finite()
  content = writers.sdk_content(corpus)
  expected = readers.read(writers.dump(tmp_path / "x", content))
  folder = tmp_path / "mosi"
  folder.mkdir()
  for split, name in (("train", "train"), ("valid", "mosi_dev"), ("test", "test")):
    writers.dump(folder / f"{name}.pkl", content[split])
  (folder / "notes.txt").write_text("12345")
  found = readers.read(folder)
  same(found, expected)
  (left,) = [x for x in found.ledger if x.name == "notes.txt"]
  assert (left.count, left.unit, left.use) == (5, "bytes", "")
  writers.dump(folder / "test2_dev.pkl", content["test"])
  with pytest.raises(UserError, match="both the split 'valid'"):
    readers.read(folder)


def test_names_of_ours_win_over_those_of_the_sdk(tmp_path):
  content = writers.sdk_content(finite())
  for entry in content.values():
    entry["text"] = entry["glove"] + 1
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  left = {x.name: x.count for x in dataset.ledger if not x.use}
  assert left == {"glove": 15} and dataset.modalities["text"].values.mean() > 0.5


def test_of_seven_labels_the_sentiment_is_first(tmp_path):
  corpus = finite()
  table = np.random.default_rng(0).uniform(0, 3, (15, 1, 7)).astype(np.float32)
  content = writers.sdk_content(corpus, table)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  np.testing.assert_array_equal(dataset.labels, table[:, 0, 0])
  np.testing.assert_array_equal(dataset.extras["label_sad"], table[:, 0, 2])
  np.testing.assert_array_equal(dataset.extras["label_emotions"], table[:, 0, 1:])


def aligned(corpus):
  """The corpus with the steps that tuples have."""
  for v, a in zip(corpus.sequences["vision"], corpus.sequences["audio"], strict=True):
    assert v.shape and a.shape
  cut = [
    min(len(v), len(a))
    for v, a in zip(corpus.sequences["vision"], corpus.sequences["audio"], strict=True)
  ]
  for name in ("vision", "audio"):
    own = corpus.sequences[name]
    corpus.sequences[name] = [x[:n] for x, n in zip(own, cut, strict=True)]
  return corpus


def test_tuples_of_words_and_features_are_read(tmp_path):
  corpus = aligned(finite())
  content = writers.tuples_content(corpus)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert_read(dataset, corpus, ("vision", "audio"))
  assert dataset.ids[3] == f"{corpus.videos[3]}[3]"
  assert dataset.columns["video_id"].values.tolist() == corpus.videos
  said = " ".join(f"w0_{t}" for t in range(len(corpus.sequences["vision"][0])))
  assert dataset.extras["raw_text"][0] == said
  (left,) = [x for x in dataset.ledger if x.name == "words" and not x.use]
  assert left.count == 15 and "data.vectors" in left.why
  # Each list a dump, in the order of the scripts; and each a file.
  several = b"".join(
    writers.dump(tmp_path / "y", x).read_bytes() for x in content.values()
  )
  (tmp_path / "y").write_bytes(several)
  same(readers.read(tmp_path / "y"), dataset)
  (tmp_path / "z").mkdir()
  for split, rows in content.items():
    writers.dump(tmp_path / "z" / f"{split}.pkl", rows)
  same(readers.read(tmp_path / "z"), dataset)
  one = readers.read(tmp_path / "z" / "train.pkl")
  assert one.splits is None and len(one) == 7


def test_words_become_text_by_vectors_of_the_users(tmp_path):
  corpus = aligned(finite())
  # A word at the beginning of a sentence is found in small letters.
  said = lambda i, n: (np.array([f"{'wW'[t == 0]}{i}_{t}" for t in range(n)]), ())
  path = writers.dump(tmp_path / "x", writers.tuples_content(corpus, said))
  steps = [len(x) for x in corpus.sequences["vision"]]
  words = [f"w{i}_{t}" for i, n in enumerate(steps) for t in range(n)]
  table = np.round(np.random.default_rng(0).normal(size=(len(words), 3)), 3)
  lines = [
    f"{w.upper() if i == 1 else w} {' '.join(map(str, x))}"
    for i, (w, x) in enumerate(zip(words, table, strict=True))
  ]
  (tmp_path / "glove.txt").write_text(f"{len(words)} 3\n" + "\n".join(lines) + "\n")
  dataset = readers.read(path, vectors="glove.txt")  # beside the data
  table[1] = 0  # in capitals it is another word
  np.testing.assert_allclose(dataset.modalities["text"].values, table, rtol=1e-6)
  (left,) = [x for x in dataset.ledger if x.unit == "words"]
  assert (left.count, left.items) == (1, ("w0_1",))
  (tmp_path / "bad.txt").write_text("w0_0 1 2\nw0_1 1 2 3\n")
  with pytest.raises(UserError, match="line 2 has 3 numbers, the others 2"):
    readers.read(path, vectors=str(tmp_path / "bad.txt"))
  (tmp_path / "none.txt").write_text("zebra 1 2\n")
  with pytest.raises(UserError, match="has none of the"):
    readers.read(path, vectors=str(tmp_path / "none.txt"))


def test_numbers_of_words_are_rows_of_vectors(tmp_path):
  corpus = aligned(finite())
  random = np.random.default_rng(0)
  drawn = {}

  def numbers(i, n):
    drawn[i] = random.integers(0, 9, n)
    return drawn[i], ([f"w{t}" for t in range(n)], 5, 7)

  path = writers.dump(tmp_path / "x", writers.tuples_content(corpus, numbers))
  plain = readers.read(path)
  assert "text" not in plain.modalities
  left = {x.name: x.count for x in plain.ledger if not x.use}
  # Behind the texts are lengths; one sample has no steps at all.
  more = {"features, part 5": 15, "features, part 6": 15, "vision": 1, "audio": 1}
  assert left == {"words": 15} | more
  np.save(tmp_path / "table.npy", table := random.normal(size=(9, 4)).astype("f4"))
  found = readers.read(path, vectors=str(tmp_path / "table.npy"))
  expected = np.concatenate([table[drawn[i]] for i in range(15)])
  np.testing.assert_array_equal(found.modalities["text"].values, expected)
  np.save(tmp_path / "table.npy", table[:3])
  with pytest.raises(UserError, match="has 3 rows"):
    readers.read(path, vectors=str(tmp_path / "table.npy"))


def test_a_config_names_the_vectors(tmp_path):
  corpus = aligned(finite())
  content = writers.tuples_content(corpus)
  writers.dump(tmp_path / "x", content)
  (tmp_path / "v.txt").write_text("w0_0 1 2\nw1_0 3 4\n")
  config = {"path": tmp_path / "x", "vectors": "v.txt", "nonfinite": "zero"}
  assert load(config).modalities["text"].width == 2


def test_a_tuple_of_another_shape_is_told_with_its_place(tmp_path):
  content = writers.tuples_content(aligned(finite()))
  features, label, segment = content["train"][2]
  content["train"][2] = (features[:2], label, segment)
  with pytest.raises(UserError, match="sample 2 is a tuple of 3 items"):
    readers.read(writers.dump(tmp_path / "x", content))
  content["train"] = [(features[:2], label, segment)] * 3
  with pytest.raises(UserError, match="lacks .*audio"):
    readers.read(writers.dump(tmp_path / "x", content["train"]))


def test_one_segment_again_and_again_is_refused(tmp_path):
  content = writers.tuples_content(aligned(finite()))
  path = writers.dump(tmp_path / "x", [content["train"][0]] * 20_000)
  with pytest.raises(UserError, match="20,000 segments repeat 1 arrays"):
    readers.read(path)


@pytest.mark.parametrize("form", ["tuple", "dumps", "bytes"])
@pytest.mark.parametrize("of", ["mmsa", "mult", "sdk"])
def test_dicts_of_every_kind_come_in_the_same_forms(tmp_path, of, form):
  write = {"mmsa": writers.mmsa_content, "mult": writers.mult_content}
  content = write.get(of, writers.sdk_content)(writers.invented())
  expected = readers.read(writers.dump(tmp_path / "x", content))
  parts = list(content.values())
  if form == "bytes":
    keyed = {
      s.encode(): {k.encode(): v for k, v in x.items()} for s, x in content.items()
    }
    path = writers.dump(tmp_path / "y", keyed)
  elif form == "tuple":
    path = writers.dump(tmp_path / "y", tuple(parts))
  else:
    path = tmp_path / "y"
    path.write_bytes(
      b"".join(writers.dump(tmp_path / "z", x).read_bytes() for x in parts)
    )
  found = readers.read(path)
  same(found, expected)
  said = any("train, valid, test, in this order" in x for x in found.notes)
  assert said == (form != "bytes")


def test_words_may_stand_in_a_column(tmp_path):
  corpus = aligned(finite())
  words = lambda i, n: (np.array([[f"w{t}".encode()] for t in range(n)], object), ())
  dataset = readers.read(
    writers.dump(tmp_path / "x", writers.tuples_content(corpus, words))
  )
  steps = len(corpus.sequences["vision"][0])
  assert dataset.extras["raw_text"][0].split() == [f"w{t}" for t in range(steps)]


def test_a_table_of_vectors_is_no_data_set(tmp_path):
  table = {"glove": np.ones((9, 5)), "vocab": np.array([f"w{i}" for i in range(9)])}
  np.savez(tmp_path / "x.npz", **table)
  with pytest.raises(UserError, match="'id'.* glove, vocab"):
    readers.read(tmp_path / "x.npz")
  with pytest.raises(UserError, match="'glove', 'vocab'"):
    readers.read(writers.dump(tmp_path / "y", table))
