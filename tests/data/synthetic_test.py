"""The synthetic data: its bounds hold, it is learnable, and it never changes."""

import itertools
import time

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPRegressor

from mcr_jax.data import synthetic
from mcr_jax.data.load import digest, lengths_of
from mcr_jax.data.units import Units

MODALITIES = ("text", "audio", "vision")


@pytest.fixture(scope="module")
def dataset():
  return synthetic.make()


def pooled(dataset, names):
  """Means over the real steps, standardised on the training split."""
  parts = []
  for name in names:
    modality = dataset.modalities[name]
    values, mask = modality.padded(np.arange(len(dataset)), int(modality.lengths.max()))
    parts.append(values.sum(1) / mask.sum(1, keepdims=True))
  features = np.concatenate(parts, axis=1)
  train = features[dataset.indices("train")]
  return (features - train.mean(0)) / train.std(0)


def error(dataset, names, model):
  """Test MAE of a scikit-learn model on pooled features."""
  train, test = dataset.indices("train"), dataset.indices("test")
  features = pooled(dataset, names)
  model.fit(features[train], dataset.labels[train])
  return np.abs(model.predict(features[test]) - dataset.labels[test]).mean()


def ridge():
  return RidgeCV(np.logspace(1, 5, 5))


def hidden():
  """What text, audio and vision show (N, 3), the noise, and which labels are wrong."""
  return synthetic._hidden(synthetic._Draw(0), synthetic.SAMPLES)


def test_whoever_knows_the_bits_errs_by_the_stated_best_in_every_split(dataset):
  text, audio, vision = hidden()[0].T
  perfect = 2.0 * np.where(text > 0, vision, audio)
  for split in ("train", "valid", "test"):
    rows = dataset.indices(split)
    found = np.abs(perfect - dataset.labels)[rows].mean()
    np.testing.assert_allclose(found, synthetic.BEST_MAE, atol=1e-6)


def test_the_best_use_of_some_bits_errs_as_stated_in_every_split(dataset):
  """The median label of each combination is the best that can be said of it."""
  known = dict(zip(MODALITIES, hidden()[0].T, strict=True))
  right = {
    (): synthetic.MAE["mean predictor"],
    ("text",): synthetic.MAE["text alone"],
    ("audio",): synthetic.MAE["audio alone"],
    ("vision",): synthetic.MAE["vision alone"],
    **dict.fromkeys(itertools.combinations(MODALITIES, 2), 1.25),
  }
  for names, expected in right.items():
    for split in ("train", "valid", "test"):
      rows = dataset.indices(split)
      labels = dataset.labels[rows]
      case = sum((known[m][rows] > 0) * 2**i for i, m in enumerate(names)) + 0 * rows
      medians = np.array([np.median(labels[case == c]) for c in range(2 ** len(names))])
      found = np.abs(medians[case] - labels).mean()
      np.testing.assert_allclose(found, expected, atol=0.01)


def test_the_witness_of_the_bound_on_sums_is_uncorrelated_with_each_modality(dataset):
  shown, noise, _ = hidden()
  text, audio, vision = shown.T
  witness = np.where(vision == audio, np.sign(noise), text * (vision - audio) / 2)
  assert np.abs(witness).max() <= 1
  for split in ("train", "valid", "test"):
    rows = dataset.indices(split)
    correlation = (witness[:, None] * shown)[rows].mean(0)
    np.testing.assert_allclose(correlation, 0, atol=1e-12)
    assert abs(witness[rows].mean()) < 1e-12
    bound = (witness * dataset.labels)[rows].mean()
    np.testing.assert_allclose(bound, 1.25, atol=1e-6)


def test_simple_predictors_come_no_closer_than_stated(dataset):
  train, test = dataset.indices("train"), dataset.indices("test")
  constant = dataset.labels[train].mean()
  mean_error = np.abs(constant - dataset.labels[test]).mean()
  assert mean_error >= 3 * synthetic.BEST_MAE
  assert error(dataset, MODALITIES, ridge()) >= 2 * synthetic.BEST_MAE
  for name in MODALITIES:
    assert error(dataset, [name], ridge()) >= 2 * synthetic.BEST_MAE
    network = MLPRegressor(hidden_layer_sizes=(32,), alpha=1, random_state=0)
    network.set_params(early_stopping=True)
    assert error(dataset, [name], network) >= 2 * synthetic.BEST_MAE


def test_ridge_on_all_reaches_what_sums_can(dataset):
  found = error(dataset, MODALITIES, ridge())
  assert synthetic.MAE["ridge on pooled features"] <= found + 0.02 < 1.35


def test_every_bit_is_in_its_modality_and_in_no_other(dataset):
  train, test = dataset.indices("train"), dataset.indices("test")
  for bit, shown in zip(hidden()[0].T, MODALITIES, strict=True):
    for name in MODALITIES:
      features = pooled(dataset, [name])
      model = LogisticRegression(C=1e-3).fit(features[train], bit[train])
      accuracy = model.score(features[test], bit[test])
      assert accuracy > 0.985 if name == shown else 0.42 < accuracy < 0.58


def test_a_small_network_on_all_modalities_finds_the_fusion(dataset):
  network = MLPRegressor(
    hidden_layer_sizes=(64, 32), alpha=1, early_stopping=True, random_state=0
  )
  assert error(dataset, MODALITIES, network) < 0.65


def test_it_has_the_shape_of_the_corpora(dataset):
  assert {m: x.width for m, x in dataset.modalities.items()} == synthetic.WIDTHS
  lengths = lengths_of(dataset)
  assert lengths == {"text": 12, "audio": 36, "vision": 48}
  assert not dataset.modalities["vision"].mask.all()
  assert all(x.present.all() for x in dataset.modalities.values())
  assert np.abs(dataset.labels).max() <= 3
  counts = [len(dataset.indices(s)) for s in ("train", "valid", "test")]
  assert tuple(counts) == synthetic.SAMPLES


def test_aligned_modalities_share_their_steps():
  aligned = synthetic.make(samples=(16, 16, 16), aligned=True)
  text, audio, vision = (aligned.modalities[m].lengths for m in MODALITIES)
  np.testing.assert_array_equal(text, audio)
  # Holes at the end of a sequence are padding.
  assert (vision <= text).all() and lengths_of(aligned)["vision"] <= 12


def test_classes_are_even_and_the_stated_share_is_right():
  dataset = synthetic.make(task="multiclass")
  clean = synthetic._labels("multiclass", *hidden()[:2], 0)
  assert (dataset.task, dataset.outputs) == ("multiclass", (4,))
  for split in ("train", "valid", "test"):
    rows = dataset.indices(split)
    assert len(set(np.bincount(clean[rows]))) == 1
    right = (clean == dataset.labels)[rows].mean()
    np.testing.assert_allclose(right, synthetic.BEST_ACCURACY)


def test_the_binary_task_asks_of_each_class_whether_it_is_it():
  classes = synthetic.make(samples=(32, 16, 16), task="multiclass").labels
  dataset = synthetic.make(samples=(32, 16, 16), task="binary")
  assert (dataset.task, dataset.outputs) == ("binary", (4, 2))
  np.testing.assert_array_equal(dataset.labels.argmax(1), classes)
  np.testing.assert_array_equal(dataset.labels.sum(1), 1)


def test_tasks_share_their_features():
  one = synthetic.make(samples=(16, 16, 16))
  other = synthetic.make(samples=(16, 16, 16), task="binary")
  for name in MODALITIES:
    np.testing.assert_array_equal(
      one.modalities[name].values, other.modalities[name].values
    )


def test_a_seed_always_gives_the_same_bits(dataset):
  """May change only with the generative model, and then in the CHANGELOG."""
  assert digest(synthetic.make()) == digest(dataset)
  assert digest(synthetic.make(1)) != digest(dataset)
  assert digest(dataset).startswith("003db9fb786cee1e")


def test_drawing_is_quick():
  times = []
  for _ in range(3):
    start = time.perf_counter()
    synthetic.make()
    times.append(time.perf_counter() - start)
  assert min(times) < 2


def test_the_description_names_every_predictor():
  text = synthetic.describe()
  assert text.startswith("best possible: MAE 0.50")
  assert all(name in text for name in synthetic.MAE)
  assert "ridge on pooled features: 1.25, 2.5 times the best" in text


def test_eight_utterances_are_a_dialogue_of_two_in_one_split(dataset):
  units = Units.of(dataset, "dialogue")
  assert (units.lengths == 8).all() and len(units) * 8 == len(dataset)
  speaker = units.columns(dataset)["speaker"][units.members]
  np.testing.assert_array_equal(speaker, np.arange(8) % 2 + 0 * speaker)
