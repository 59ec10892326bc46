"""The protocols of benchmarks/real_data.py; those on real files skip without them."""

import dataclasses
import pathlib
import sys

import numpy as np
import pytest

from mcr_jax.data import columns, npz
from mcr_jax.data.load import load
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.data.units import Units, pooled
from mcr_jax.errors import UserError

sys.path.append(str(pathlib.Path(__file__).resolve().parents[1] / "benchmarks"))

from protocols import corpora, simple, tables  # noqa: E402

N = 23


def embedded(repeats=1):
  """A corpus in folds by group, whose label is the first feature."""
  random = np.random.default_rng(0)
  values = random.normal(size=(N, 3)).astype(np.float32)
  groups = np.arange(N) // 2
  dataset = Dataset(
    ids=np.arange(N).astype(str),
    labels=values[:, 0].copy(),
    modalities={"text": Modality.from_vectors(values, None)},
    extras={"pair": groups},
  )
  folding = {"folds": 5, "fold_by": "pair"}
  folding |= {"fold_repeats": repeats, "fold_shuffle": repeats > 1}
  return corpora.Corpus(dataset, folding, groups)


def test_folds_test_every_sample_once_and_never_on_what_they_saw():
  corpus = embedded()
  parts = [corpus.parts(split) for split in corpus.splits]
  np.testing.assert_array_equal(
    np.sort(np.concatenate([test for _, _, test in parts])), np.arange(N)
  )
  for train, valid, test in parts:
    assert len(train) + len(valid) + len(test) == N
    assert not set(corpus.groups[train]) & set(corpus.groups[test])
    assert not set(corpus.groups[valid]) & set(corpus.groups[test])


def test_seeds_are_averaged_before_they_are_scored():
  corpus = embedded()
  truth = corpus.dataset.labels[None, :, None]
  row = tables.Row("two", np.concatenate([truth + 1, truth - 1]))
  together = tables.averaged(row)
  assert tables.scores(corpus, row, ("mae",))["mae"] == pytest.approx([1, 1])
  assert tables.scores(corpus, together, ("mae",))["mae"] == pytest.approx(
    [0], abs=1e-6
  )


def test_pooling_takes_each_split_s_own_test_samples():
  corpus = embedded(repeats=2)
  numbered = [np.full((1, N, 1), float(k)) for k in range(10)]
  row = tables.pool("numbers", corpus, numbered)
  assert row.predictions.shape == (2, N, 1)
  for k, split in enumerate(corpus.splits):
    test = corpus.parts(split)[2]
    assert (row.predictions[k // 5, test, 0] == k).all()


def test_ridge_finds_what_is_there_and_is_compared_over_groups():
  corpus = embedded()
  predict = lambda f: [f(corpus, split)[None, :, None] for split in corpus.splits]
  ridge = tables.pool(
    "ridge", corpus, predict(lambda c, s: simple.ridge(c, s, ("text",)))
  )
  mean = tables.pool(
    "mean", corpus, predict(lambda c, s: simple.constant(c, s, "mean"))
  )
  assert tables.scores(corpus, ridge)["mae"][0] < 0.2
  found = tables.compare(corpus, ridge, mean)
  for unit in ("samples", "groups"):
    assert found[unit]["mae"]["high"] < 0 < found[unit]["acc2_has0"]["low"]
  ridge.facts["trained"] = True
  text = tables.markdown("embedded", tables.document(corpus, [mean, ridge], "mean"))
  assert "| ridge |" in text and "ridge minus mean: over samples: MAE [-" in text


@pytest.mark.parametrize(
  "name, method, expected",
  [
    ("mmmo", lambda c, s: simple.ridge(c, s, ("audio", "vision")), (1.141, 0.334)),
    ("mosi_text", lambda c, s: simple.ridge(c, s, ("text",)), (1.229, 0.415)),
    ("mosi_vectors", lambda c, s: simple.ridge(c, s, ("text",)), (0.955, 0.603)),
  ],
)
def test_ridge_reaches_on_real_data_what_it_did_elsewhere(
  real_data, name, method, expected
):
  folder = real_data("cmu-mosi/mosi_words.npz").parents[1]
  real_data("ict-mmmo/mmmo_aligned20.npz")
  corpus = corpora.CORPORA[name](folder)
  row = tables.pool("ridge", corpus, [method(corpus, *corpus.splits)[None, :, None]])
  found = tables.scores(corpus, row)
  assert (round(found["mae"][0], 3), round(found["corr"][0], 3)) == expected


def test_words_are_never_cut_and_unknown_ones_are_real_steps(real_data):
  folder = real_data("cmu-mosi/mosi_words.npz").parents[1]
  corpus = corpora.CORPORA["mosi_text_timing_audio"](folder)
  text, timing = (corpus.dataset.modalities[name] for name in ("text", "timing"))
  assert text.lengths.max() == 114 and text.mask.all()
  assert (text.values == 0).all(1).mean() == pytest.approx(0.2, abs=0.005)
  np.testing.assert_array_equal(text.offsets, timing.offsets)
  assert [len(part) for part in corpus.parts(*corpus.splits)] == [1284, 229, 686]


def test_dialogues_of_meld_stay_whole(real_data):
  folder = real_data("meld/meld_dev_features.npz").parents[1]
  corpus = corpora.CORPORA["meld"](folder)
  assert len(corpus.dataset) == 1108 and len(np.unique(corpus.groups)) == 114
  for split in corpus.splits:
    parts = [set(corpus.groups[rows]) for rows in corpus.parts(split)]
    assert (
      not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2]
    )


def test_meld_is_a_corpus_of_dialogues(real_data, tmp_path):
  folder = real_data("meld/meld_words.npz").parents[1]
  real_data("meld/meld_minilm.npz")
  npz.write(tmp_path / "x.npz", corpora.CORPORA["meld_dialogues"](folder).dataset)
  dataset = load({"path": tmp_path / "x.npz"})
  assert len(dataset) == 13_708 and dataset.outputs == (7,)
  units = Units.of(dataset, "dialogue")
  split, count = np.unique(units.splits(dataset), return_counts=True)
  assert dict(zip(split, count, strict=True)) == {
    "train": 1038,
    "valid": 114,
    "test": 280,
  }
  assert units.lengths.sum() == len(dataset) and units.lengths.max() == 33
  speakers = units.columns(dataset)["speaker"]
  assert speakers.max() == 8  # up to nine in a dialogue
  first = units.members[:, 0]
  assert not speakers[first].any()
  # The first dialogue of the file: an interview.
  talk = units.members[0, : units.lengths[0]]
  assert dataset.ids[talk[2]] == "train_dia0_utt2"
  assert speakers[talk][:4].tolist() == [0, 1, 0, 1]
  # What a turn is to a model of dialogues: the mean of its words.
  words = dataset.modalities["text"]
  turn = pooled(dataset).modalities["text"]
  steps = slice(*words.offsets[[5, 6]])
  np.testing.assert_allclose(turn.values[5], words.values[steps].mean(0), rtol=1e-5)
  # Another label of the file.
  sentiment = load({"path": tmp_path / "x.npz", "label": "label_sentiment"})
  assert sentiment.class_names == ("neutral", "positive", "negative")


def test_dialogues_that_are_numbered_anew_in_every_split_are_found(real_data):
  folder = real_data("meld/meld_words.npz").parents[1]
  dataset = corpora.CORPORA["meld_dialogues"](folder).dataset
  number = [int(x.rpartition("dia")[2]) for x in dataset.columns["dialogue_id"].values]
  column = columns.column("dialogue_id", np.array(number), len(dataset), "meld")
  wrong = dataclasses.replace(
    dataset, columns=dataset.columns | {"dialogue_id": column}
  )
  with pytest.raises(UserError, match="turn 0 of dialogue .* need the split"):
    Units.of(wrong, "dialogue")
