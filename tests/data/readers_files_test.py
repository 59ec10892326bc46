"""Folders, tables, HDF5 and the recognition of formats by their content."""

import shutil

import h5py
import numpy as np
import pytest

from mcr_jax.data import readers
from mcr_jax.data.ledger import unused
from mcr_jax.errors import UserError
from tests.data import writers
from tests.data.readers_pickles_test import assert_equal, ids


@pytest.fixture(scope="module")
def corpus():
  return writers.invented()


def values_of(corpus):
  return [{"emo": 0, "val": float(x)} for x in corpus.labels]


def test_every_format_loads_to_the_same_arrays_under_any_name(tmp_path, corpus):
  files = [
    writers.dump(tmp_path / "a.csv", writers.mmsa_content(corpus)),
    writers.dump(tmp_path / "b.npz", writers.mult_content(corpus)),
    writers.npz(tmp_path / "c.npz", corpus).rename(tmp_path / "c.pkl"),
  ]
  folder = writers.merbench(
    tmp_path / "d",
    corpus,
    features={
      "audio": "chinese-hubert-large-FRA",
      "text": "taiyi-clip-roberta-FRA",
      "vision": "clip-vit-large-patch14-FRA",
    },
    labels=values_of(corpus),
  )
  files += [folder, folder / "label.npz"]
  for path in files:
    dataset = readers.read(path)
    np.testing.assert_array_equal(dataset.splits, corpus.splits)
    np.testing.assert_array_equal(dataset.labels, corpus.labels)
    for name in ("text", "vision", "audio"):
      modality = dataset.modalities[name]
      np.testing.assert_array_equal(modality.values, corpus.joined(name), str(path))
      np.testing.assert_array_equal(modality.offsets, corpus.offsets(name))


def test_merbench_folders_choose_between_features(tmp_path, corpus):
  features = {"audio": "wavlm-base-UTT", "text": "bert-base-UTT"}
  folder = writers.merbench(
    tmp_path / "d", corpus, features=features, labels=values_of(corpus)
  )
  shutil.copytree(folder / "features/bert-base-UTT", folder / "features/xlnet-UTT")
  with pytest.raises(UserError, match="bert-base-UTT, xlnet-UTT"):
    readers.read(folder)
  dataset = readers.read(folder, features={"text": "xlnet-UTT"})
  assert list(dataset.modalities) == ["text", "audio"]
  assert "text: the folder 'xlnet-UTT'" in " ".join(dataset.notes)
  with pytest.raises(UserError, match="'none'"):
    readers.read(folder, features={"text": "none"})


def test_merbench_labels_are_emotions_by_name(tmp_path, corpus):
  names = [
    f"{'val' if split == 'valid' else split}_dia{i}_utt0"
    for i, split in enumerate(corpus.splits)
  ]
  emotions = np.arange(len(names)) % 7
  folder = writers.merbench(
    tmp_path / "a",
    corpus,
    features={"text": "roberta"},
    labels=[{"emo": int(x), "val": -10} for x in emotions],
    names=names,
  )
  dataset = readers.read(folder)
  np.testing.assert_array_equal(dataset.labels, emotions)
  assert dataset.class_names[:4] == ("anger", "joy", "sadness", "neutral")
  words = [("sad", "happy", "neutral")[i % 3] for i in range(len(names))]
  folder = writers.merbench(
    tmp_path / "b",
    corpus,
    features={"text": "roberta"},
    labels=[{"emo": x, "val": i / 7} for i, x in enumerate(words)],
  )
  dataset = readers.read(folder)
  assert dataset.class_names == ("happy", "neutral", "sad")
  assert [dataset.class_names[i] for i in dataset.labels] == words
  assert dataset.extras["label_val"][1] == np.float32(1 / 7)


def test_merbench_frames_may_be_files_of_their_own(tmp_path, corpus):
  folder = writers.merbench(
    tmp_path / "d", corpus, features={"text": "bert"}, labels=values_of(corpus)
  )
  first = folder / "features" / "bert" / "video0_0.npy"
  steps = np.load(first)
  first.unlink()
  (first.parent / "video0_0").mkdir()
  for i, step in enumerate(steps):
    np.save(first.parent / "video0_0" / f"{i:03}.npy", step)
  text = readers.read(folder).modalities["text"]
  np.testing.assert_array_equal(text.values, corpus.joined("text"))


def test_a_table_of_files(tmp_path, corpus):
  path = writers.manifest(tmp_path / "m", corpus)
  for place in (path, path.parent):
    dataset = readers.read(place)
    assert dataset.ids.tolist() == ids(corpus)
    np.testing.assert_allclose(dataset.labels, corpus.labels)
    for name in corpus.sequences:
      modality = dataset.modalities[name]
      np.testing.assert_array_equal(modality.values, corpus.joined(name))
      assert modality.mask.all()
  assert "missing in 1" in " ".join(dataset.notes)


@pytest.mark.parametrize(
  "labels, kind, names",
  [
    (lambda i: i % 3, "i", ()),
    (lambda i: i / 2, "f", ()),
    (lambda i: ("sad", "happy")[i % 2], "i", ("happy", "sad")),
  ],
)
def test_labels_of_a_table_are_what_they_look_like(
  tmp_path, corpus, labels, kind, names
):
  cells = [labels(i) for i in range(len(corpus.splits))]
  dataset = readers.read(writers.manifest(tmp_path / "m", corpus, cells))
  assert dataset.labels.dtype.kind == kind and dataset.class_names == names
  found = [names[i] for i in dataset.labels] if names else dataset.labels.tolist()
  assert found == cells


@pytest.mark.parametrize("cell", ["../secret.npy", "/etc/secret.npy", "a/../../b.npy"])
def test_a_table_names_no_files_outside_its_folder(tmp_path, cell):
  (tmp_path / "x.csv").write_text(f"id,label,text\na,1,{cell}\n")
  with pytest.raises(UserError, match="refused"):
    readers.read(tmp_path / "x.csv")


def csd_files(folder, video="vid"):
  """Ten words a second, 30 frames a second; two segments."""
  folder.mkdir()
  random = np.random.default_rng(0)
  words = np.arange(20)[:, None] / 10 + [0, 0.1]
  frames = np.arange(60)[:, None] / 30 + [0, 1 / 30]
  text, vision = random.normal(size=(20, 4)), random.normal(size=(60, 3))
  writers.csd(folder / "1.csd", "glove_vectors", {video: (text, words)})
  writers.csd(folder / "2.csd", "FACET 4.2", {video: (vision, frames)})
  names = np.array([[b"word"]] * 20)
  writers.csd(folder / "3.csd", "words", {video: (names, words)})
  cuts = np.array([[0.0, 0.5], [0.5, 1.0]])
  labels = np.array([[1.5], [-2.0]])
  writers.csd(folder / "4.csd", "Opinion Segment Labels", {video: (labels, cuts)})
  return text.astype(np.float32), vision.astype(np.float32)


def test_sequences_are_sliced_by_segment(tmp_path):
  text, vision = csd_files(tmp_path / "c")
  dataset = readers.read(tmp_path / "c")
  assert dataset.ids.tolist() == ["vid[0]", "vid[1]"]
  assert dataset.labels.tolist() == [1.5, -2.0] and dataset.splits is None
  np.testing.assert_array_equal(dataset.modalities["text"].values, text[:10])
  np.testing.assert_array_equal(dataset.modalities["vision"].lengths, [15, 15])
  np.testing.assert_array_equal(dataset.modalities["vision"].values, vision[:30])
  left = {x.name: (x.count, x.unit) for x in unused(dataset.ledger)}
  assert left["words"] == (1, "entries")
  assert left["text"] == (10, "steps") and left["vision"] == (30, "steps")


def test_alignment_pools_the_frames_of_each_word(tmp_path):
  text, vision = csd_files(tmp_path / "c")
  dataset = readers.read(tmp_path / "c", align="text")
  expected = vision[:30].reshape(10, 3, 3).mean(1)
  np.testing.assert_allclose(dataset.modalities["vision"].values, expected, rtol=1e-5)
  np.testing.assert_array_equal(dataset.modalities["vision"].lengths, [5, 5])
  with pytest.raises(UserError, match="'audio'.* text, vision"):
    readers.read(tmp_path / "c", align="audio")


def test_a_word_without_frames_is_a_hole(tmp_path):
  text, vision = csd_files(tmp_path / "c")
  frames = np.arange(60)[:, None] / 30 + [0, 1 / 30]
  kept = (frames[:, 0] < 0.19) | (frames[:, 0] > 0.29)
  writers.csd(tmp_path / "c/2.csd", "FACET", {"vid": (vision[kept], frames[kept])})
  modality = readers.read(tmp_path / "c", align="text").modalities["vision"]
  assert modality.mask.tolist() == [True, True, False, *[True] * 7]


def test_a_list_of_files_with_splits_beside_them(tmp_path):
  csd_files(tmp_path / "c")
  (tmp_path / "c/splits.csv").write_text("id,split\nvid,train\nvid[1],dev\n")
  dataset = readers.read([tmp_path / "c/1.csd", str(tmp_path / "c/4.csd")])
  assert dataset.splits.tolist() == ["train", "valid"]
  assert list(dataset.modalities) == ["text"]


def test_segments_that_have_entries_of_their_own_are_taken_whole(tmp_path):
  intervals = np.array([[5.0, 6.0], [6.0, 7.0]])
  features = np.arange(4.0).reshape(2, 2)
  cut = np.array([[0.0, 1.0]])
  row = np.arange(7.0)[None]
  writers.csd(tmp_path / "a", "COVAREP", {"v[3]": (features, intervals)})
  writers.csd(tmp_path / "b", "All Labels", {"v[3]": (row, cut)})
  dataset = readers.read([tmp_path / "a", tmp_path / "b"])
  np.testing.assert_array_equal(dataset.modalities["audio"].values, features)
  assert dataset.ids.tolist() == ["v[3]"] and dataset.labels.tolist() == [0.0]
  assert dataset.extras["label_happy"].tolist() == [1.0]


def test_one_sequence_alone_has_an_entry_a_sample(tmp_path):
  csd_files(tmp_path / "c")
  dataset = readers.read(tmp_path / "c/2.csd")
  assert dataset.ids.tolist() == ["vid"] and dataset.labels is None


def test_files_that_are_nothing_known_are_named(tmp_path):
  for name, content, words in [
    ("a", b"", "is empty, 0 bytes"),
    ("b", b"\x01\x02\x03....", "begins with b'.x01"),
    ("c", b"name,label\n", "no column 'id' .'name', 'label'"),
  ]:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
      readers.read(tmp_path / name)
  np.save(tmp_path / "d.npy", np.zeros(3))
  with pytest.raises(UserError, match="is one array"):
    readers.read(tmp_path / "d.npy")
  with h5py.File(tmp_path / "e", "w") as file:
    file["x/y"] = 1
  with pytest.raises(UserError, match="'x'.*<root>/data"):
    readers.read(tmp_path / "e")
  with pytest.raises(UserError, match="no such file"):
    readers.read(tmp_path / "f")
  (tmp_path / "g").mkdir()
  with pytest.raises(UserError, match="no files"):
    readers.read(tmp_path / "g")


def test_options_of_another_format_are_refused(tmp_path, corpus):
  path = writers.dump(tmp_path / "x", writers.mmsa_content(corpus))
  with pytest.raises(UserError, match="align='text'.* .csd"):
    readers.read(path, align="text")
  with pytest.raises(UserError, match="MERBench.* MMSA"):
    readers.read(path, features={"text": "x"})


def test_mmsa_and_mult_agree_with_the_table(tmp_path, corpus):
  path = writers.dump(tmp_path / "x", writers.mult_content(corpus))
  assert_equal(readers.read(path), corpus)


@pytest.mark.parametrize("name", ["../x", "a/b", "a\\b", "", 7])
def test_merbench_utterances_are_names_not_paths(tmp_path, corpus, name):
  names = [f"u{i}" for i in range(len(corpus.splits))]
  folder = writers.merbench(
    tmp_path / "d",
    corpus,
    features={"text": "bert"},
    labels=values_of(corpus),
    names=names,
  )
  np.savez(folder / "label.npz", train_corpus={"u0": {"val": 1.0}, name: {"val": 2.0}})
  with pytest.raises(UserError, match="refused.*utterance"):
    readers.read(folder)
