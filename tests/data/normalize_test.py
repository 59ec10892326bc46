"""Standard scores: by the real steps of the training data, and by nothing else."""

import dataclasses

import numpy as np
import pytest
from sklearn.preprocessing import StandardScaler

from mcr_jax.data import synthetic
from mcr_jax.data.normalize import Normalizer
from mcr_jax.data.schema import Dataset, Modality
from mcr_jax.errors import UserError


@pytest.fixture(scope="module")
def dataset():
  return synthetic.make(samples=(32, 16, 16))


def single(values, mask=None, splits=None):
  """A data set of one modality whose samples are one step each."""
  modality = Modality.from_vectors(np.asarray(values), mask)
  return Dataset(np.arange(len(values)).astype(str), {"audio": modality}, splits)


def scores_of(normalizer, dataset, name):
  """(sum T, D) of all steps of a modality."""
  modality = dataset.modalities[name]
  return normalizer.apply(name, modality.values, modality.mask)


def test_statistics_are_those_of_the_training_splits_real_steps(dataset):
  normalizer = Normalizer.fit(dataset)
  train = dataset.select(dataset.indices("train"))
  for name, modality in train.modalities.items():
    right = StandardScaler().fit(modality.values[modality.mask].astype(np.float64))
    np.testing.assert_allclose(normalizer.mean[name], right.mean_, atol=1e-12)
    np.testing.assert_allclose(normalizer.std[name], right.scale_, rtol=1e-12)


def test_holes_and_other_splits_cannot_reach_the_statistics(dataset):
  vision = dataset.modalities["vision"]
  values = vision.values.copy()
  values[~vision.mask] = np.nan
  values[vision.offsets[32] :] = 1e9
  junk = dataclasses.replace(vision, values=values)
  dirty = dataclasses.replace(dataset, modalities={"vision": junk})
  clean, dirty = Normalizer.fit(dataset), Normalizer.fit(dirty)
  np.testing.assert_array_equal(dirty.mean["vision"], clean.mean["vision"])
  np.testing.assert_array_equal(dirty.std["vision"], clean.std["vision"])


def test_a_batch_gets_the_same_scores_as_the_whole_and_its_padding_stays_zero(dataset):
  normalizer = Normalizer.fit(dataset)
  indices = np.array([3, 40, 7])
  for name, modality in dataset.modalities.items():
    values, mask = modality.padded(indices, 50)
    assert not mask.all()
    scores = normalizer.apply(name, values, mask)
    assert not scores[~mask].any()
    whole = scores_of(normalizer, dataset, name)
    whole = dataclasses.replace(modality, values=whole).padded(indices, 50)[0]
    np.testing.assert_array_equal(scores, whole)


def test_many_chunks_give_the_statistics_of_one(dataset, monkeypatch):
  from mcr_jax.data import normalize

  one = Normalizer.fit(dataset)
  chunks = normalize.chunks
  monkeypatch.setattr(normalize, "chunks", lambda values, size: chunks(values, 4000))
  many = Normalizer.fit(dataset)
  for name in one.mean:
    np.testing.assert_allclose(many.mean[name], one.mean[name], atol=1e-13)
    np.testing.assert_allclose(many.std[name], one.std[name], rtol=1e-13)


def test_a_large_mean_costs_no_digits():
  values = 1e6 + np.arange(8, dtype=np.float32)[:, None]
  normalizer = Normalizer.fit(single(values))
  np.testing.assert_allclose(normalizer.std["audio"], np.arange(8).std(), rtol=1e-12)


def test_constant_features_become_zero_and_are_counted():
  values = np.stack([np.full(6, 0.1), np.full(6, -3e7), np.arange(6)], axis=1)
  normalizer = Normalizer.fit(single(values))
  np.testing.assert_array_equal(normalizer.std["audio"][:2], 1)
  assert normalizer.notes == (
    "audio: 2 of 3 features are constant in the training data.",
  )
  scores = normalizer.apply("audio", values.astype(np.float32), np.ones(6, bool))
  np.testing.assert_array_equal(scores[:, :2], 0)


def test_scores_are_cut_on_both_sides():
  values = np.array([[-1.0], [1.0], [100.0], [-100.0]])
  splits = np.array(["train", "train", "test", "test"])
  dataset = single(values, splits=splits)
  scores = scores_of(Normalizer.fit(dataset, clip=3), dataset, "audio")
  np.testing.assert_array_equal(scores[:, 0], [-1, 1, 3, -3])


def test_a_modality_that_training_lacks_is_noted_and_stays_finite():
  dataset = single(np.ones((4, 2)), mask=np.zeros(4, bool))
  normalizer = Normalizer.fit(dataset)
  assert normalizer.notes == ("audio has no real step in the training data.",)
  assert not scores_of(normalizer, dataset, "audio").any()


def test_saving_and_loading_gives_the_same_scores(dataset, tmp_path):
  normalizer = Normalizer.fit(dataset, clip=2.5)
  normalizer.save(tmp_path / "normalization.npz")
  again = Normalizer.load(tmp_path / "normalization.npz")
  assert again.clip == 2.5
  for name in dataset.modalities:
    right = scores_of(normalizer, dataset, name)
    np.testing.assert_array_equal(scores_of(again, dataset, name), right)


def test_another_width_is_named_with_both_figures(dataset):
  normalizer = Normalizer.fit(dataset)
  other = single(np.zeros((2, 40)))
  message = "audio has 40 features a step; the training data had 74"
  with pytest.raises(UserError, match=message):
    normalizer.check(other.source, other.modalities)
  with pytest.raises(UserError, match=message):
    normalizer.apply("audio", np.zeros((2, 40), np.float32), np.ones(2, bool))


def test_an_unknown_modality_is_named_with_those_known():
  normalizer = Normalizer.fit(single(np.zeros((2, 4))))
  modality = Modality.from_vectors(np.zeros((2, 4)))
  other = Dataset(np.array(["a", "b"]), {"gaze": modality}, source="x.npz")
  with pytest.raises(UserError, match="x.npz: gaze "):
    normalizer.check(other.source, other.modalities)


def test_a_file_of_something_else_is_no_normalisation(tmp_path):
  np.savez(tmp_path / "x.npz", audio_mean=np.zeros(3), clip=5.0)
  with pytest.raises(UserError, match="x.npz .*'clip'"):
    Normalizer.load(tmp_path / "x.npz")


@pytest.mark.parametrize("clip", [0, -1.0, float("nan")])
def test_the_cut_is_positive(dataset, clip):
  with pytest.raises(UserError, match=f"data.clip={clip}"):
    Normalizer.fit(dataset, clip=clip)


def test_a_spread_that_a_device_takes_for_zero_is_none():
  values = np.float32(1e-39) * np.arange(8, dtype=np.float32)[:, None]
  dataset = Dataset(
    ids=np.arange(8).astype(str),
    modalities={"text": Modality.from_vectors(values)},
    splits=np.repeat(["train"], 8),
  )
  assert Normalizer.fit(dataset).std["text"].tolist() == [1.0]
