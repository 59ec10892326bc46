"""Real values, written in each format, load to identical arrays."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data import readers
from tests.data import writers
from tests.data.readers_pickles_test import assert_equal

MELD_ORDER = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")


@pytest.fixture(scope="module")
def reviews(real_data):
  """ICT-MMMO: aligned COVAREP and Facet, text only outside of the training split."""
  with np.load(real_data("ict-mmmo/mmmo_aligned20.npz")) as file:
    data = dict(file)
  order = np.concatenate([
    np.flatnonzero(data["split"] == split)[:25] for split in writers.SPLITS
  ])  # fmt: skip
  text = np.zeros((len(data["label"]), *data["text"].shape[1:]), np.float32)
  text[data["text_has_rows"]] = data["text"]
  blocks = {"text": text, "vision": data["video"], "audio": data["audio"]}
  return writers.Corpus(
    videos=[f"review{i}" for i in order],
    clips=["0"] * len(order),
    splits=data["split"][order].tolist(),
    labels=data["label"][order].astype(np.float32) - 3,
    sequences={k: [stripped(x[i]) for i in order] for k, x in blocks.items()},
  )


def stripped(steps):
  """Without all-zero steps at both ends: no padded file can tell them from padding."""
  real = np.flatnonzero((steps != 0).any(1))
  return steps[real[0] : real[-1] + 1] if len(real) else steps[:0]


@pytest.fixture(scope="module")
def words(real_data):
  """MOSI's words with their times, of the first videos of every split."""
  with np.load(real_data("cmu-mosi/mosi_words.npz")) as file:
    return dict(file)


def test_reviews_load_from_mmsa_and_mult(tmp_path, reviews):
  pickles = {
    "end": writers.mmsa_content(reviews),
    "front": writers.mmsa_content(reviews, side="left"),
    "aligned": writers.mmsa_content(reviews, lengths=False),
    "mult": writers.mult_content(reviews),
  }
  for name, content in pickles.items():
    dataset = readers.read(writers.dump(tmp_path / name, content))
    assert_equal(dataset, reviews)
    assert not dataset.modalities["text"].present[dataset.splits == "train"].any()


def test_reviews_load_from_folders_and_tables(tmp_path, reviews):
  folder = writers.merbench(
    tmp_path / "m",
    reviews,
    features={"text": "glove", "vision": "openface", "audio": "covarep"},
    labels=[{"emo": 0, "val": float(x)} for x in reviews.labels],
  )
  assert_equal(readers.read(folder), reviews)
  dataset = readers.read(writers.manifest(tmp_path / "t", reviews))
  np.testing.assert_array_equal(dataset.labels, reviews.labels)
  for name in reviews.sequences:
    np.testing.assert_array_equal(dataset.modalities[name].values, reviews.joined(name))


def test_words_load_from_computational_sequences(tmp_path, words):
  """Each word of a segment, cut out of the video by its time."""
  split = words["split"]
  chosen = np.concatenate([np.flatnonzero(split == s)[:30] for s in writers.SPLITS])
  entries, cuts, expected = {}, {}, {}
  for i in chosen:
    span = slice(words["offsets"][i], words["offsets"][i + 1])
    video = str(words["id"][i]).rpartition("_")[0]
    times = np.stack([words["word_start"][span], words["word_end"][span]], 1)
    if len(times) and (video not in cuts or times[0, 0] >= cuts[video][-1][0][1]):
      vectors = words["vocab_glove"][words["word_id"][span]]
      entries.setdefault(video, []).append((vectors, times))
      cut = [times[0, 0], times[:, 1].max()]
      cuts.setdefault(video, []).append((cut, words["label"][i]))
      expected[f"{video}[{len(cuts[video]) - 1}]"] = vectors, words["label"][i]
  join = lambda pairs: tuple(np.concatenate(x) for x in zip(*pairs, strict=True))
  writers.csd(tmp_path / "a", "glove_vectors", {k: join(x) for k, x in entries.items()})
  labels = {
    k: (np.array([[y] for _, y in x]), np.array([cut for cut, _ in x]))
    for k, x in cuts.items()
  }
  writers.csd(tmp_path / "b", "Opinion Segment Labels", labels)
  dataset = readers.read(tmp_path, align="text")
  assert sorted(dataset.ids.tolist()) == sorted(expected) and len(expected) > 60
  text = dataset.modalities["text"]
  assert text.mask.all()
  for i, name in enumerate(dataset.ids.tolist()):
    rows = slice(text.offsets[i], text.offsets[i + 1])
    np.testing.assert_array_equal(text.values[rows], expected[name][0])
    assert dataset.labels[i] == expected[name][1]


def test_words_without_vectors_stay_words_in_mmsa(tmp_path, words):
  """A fifth of MOSI's words has no vector, some of them the last of an utterance."""
  offsets = words["offsets"]
  chosen = np.concatenate([
    np.flatnonzero(words["split"] == s)[:40] for s in writers.SPLITS
  ])  # fmt: skip
  ids = [words["word_id"][offsets[i] : offsets[i + 1]] for i in chosen]
  corpus = writers.Corpus(
    videos=[str(x).rpartition("_")[0] for x in words["id"][chosen]],
    clips=[str(x).rpartition("_")[2] for x in words["id"][chosen]],
    splits=words["split"][chosen].tolist(),
    labels=words["label"][chosen].astype(np.float32),
    sequences={"text": [words["vocab_glove"][x] for x in ids]},
  )
  dataset = readers.read(writers.dump(tmp_path / "x", writers.mmsa_content(corpus)))
  assert_equal(dataset, corpus, ("text",))


@pytest.mark.parametrize("layout", ["meld9", "meld10"])
def test_dialogues_of_meld_load_from_both_layouts(tmp_path, real_data, layout):
  with np.load(real_data("meld/meld_dev_features.npz")) as file:
    features = dict(file)
  with np.load(real_data("meld/meld_annotations.npz")) as file:
    rows = {
      k: file[k][features["row"]] for k in ("emotion", "dialogue_id", "utterance_id")
    }
    names = [str(x) for x in file["emotion_names"]]
  order = np.argsort(rows["dialogue_id"], kind="stable")
  rows = {k: x[order] for k, x in rows.items()}
  numbered = [MELD_ORDER.index(names[x]) for x in rows["emotion"]]
  dialogues = np.unique(rows["dialogue_id"])
  # 114 dialogues; the last 14 test, and 10 of the other 100 validate.
  split = {d: "train" for d in dialogues[:90]} | {d: "valid" for d in dialogues[90:100]}
  vectors = lambda name: list(features[name][order][:, None].astype(np.float32))
  corpus = writers.Corpus(
    videos=[int(x) for x in rows["dialogue_id"]],
    clips=[str(x) for x in rows["utterance_id"]],
    splits=[split.get(x, "test") for x in rows["dialogue_id"]],
    labels=np.array(numbered),
    sequences={
      "text": vectors("text_roberta"),
      "audio": vectors("audio_wav2vec2"),
      "vision": vectors("audio_mel"),
    },
  )
  content = writers.conversation_content(corpus, layout)
  dataset = readers.read(writers.dump(tmp_path / "x", content))
  assert len(dataset) == 1108
  assert dataset.splits.tolist() == corpus.splits
  found = [dataset.class_names[i] for i in dataset.labels]
  assert found == [names[x] for x in rows["emotion"]]
  for name in dataset.modalities:
    np.testing.assert_array_equal(dataset.modalities[name].values, corpus.joined(name))


def test_all_formats_of_one_corpus_agree(tmp_path, reviews):
  small = dataclasses.replace(reviews)
  first = readers.read(writers.dump(tmp_path / "a", writers.mmsa_content(small)))
  second = readers.read(writers.dump(tmp_path / "b", writers.mult_content(small)))
  for name, modality in first.modalities.items():
    for field in dataclasses.fields(modality):
      np.testing.assert_array_equal(
        getattr(modality, field.name), getattr(second.modalities[name], field.name)
      )
