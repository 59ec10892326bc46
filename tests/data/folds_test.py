"""Folds: each sample tests once, groups stay whole, and scikit-learn says the same."""

import dataclasses

import numpy as np
import pytest
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold

from mcr_jax.data import folds, npz
from mcr_jax.data.load import load
from mcr_jax.data.schema import Column, Dataset, Modality
from mcr_jax.errors import UserError

N = 60


def dataset(**changes):
  """Sixty clips of some twenty videos of one to seven clips, not in their order."""
  random = np.random.default_rng(0)
  video = np.repeat([f"v{i}" for i in range(21)], [1, 2, 3, 1, 5, 7, 2] * 3)[:N]
  video = video[random.permutation(N)]
  fields = {
    "ids": np.array([f"u{i}" for i in range(N)]),
    "modalities": {"text": Modality.from_vectors(np.zeros((N, 2)))},
    "labels": random.integers(0, 3, N).astype(np.int32),
    "class_names": ("sad", "glad", "angry"),
    "columns": {"video_id": Column(video, "video")},
    "extras": {"actor": np.arange(N) % 7, "label_x_names": np.array(["a"])},
    "source": "x.npz",
  }
  return Dataset(**(fields | changes))


def parts(splits):
  return [np.flatnonzero(own == "test").tolist() for own in splits]


def of_sklearn(splitter, groups=None, labels=None):
  return [test.tolist() for _, test in splitter.split(np.zeros(N), labels, groups)]


OPTIONS = [
  {"by": "id"},
  {"by": "video_id"},
  {"by": "actor"},
  {"by": "id", "shuffle": True, "repeats": 3},
  {"by": "video_id", "shuffle": True, "repeats": 3, "seed": 5},
  {"by": "id", "stratify": True},
  {"by": "video_id", "stratify": True},
  {"by": "video_id", "stratify": True, "shuffle": True, "repeats": 2},
]


@pytest.mark.parametrize("options", OPTIONS)
def test_every_sample_tests_once_and_no_group_is_divided(options):
  data = dataset()
  by = options["by"]
  groups = data.ids if by == "id" else data.choices[by]
  repeats = options.get("repeats", 1)
  splits = folds.assign(data, 5, **options)
  assert splits.shape == (5 * repeats, N)
  for repeat in splits.reshape(repeats, 5, N):
    assert ((repeat == "test").sum(0) == 1).all()
    assert ((repeat == "valid").sum(0) == 1).all()
    for k, own in enumerate(repeat):
      assert all(len(np.unique(own[groups == name])) == 1 for name in groups)
      # What validates one fold tests the next.
      np.testing.assert_array_equal(own == "valid", repeat[(k + 1) % 5] == "test")
  np.testing.assert_array_equal(splits, folds.assign(data, 5, **options))
  if repeats > 1:
    assert (splits[:5] != splits[5:10]).any()


def test_groups_are_divided_as_scikit_learn_does():
  data = dataset()
  for by in ("video_id", "actor"):
    groups = data.choices[by]
    assert parts(folds.assign(data, 5, by)) == of_sklearn(GroupKFold(5), groups)
    shuffled = GroupKFold(5, shuffle=True, random_state=3)
    found = folds.assign(data, 5, by, shuffle=True, seed=3)
    assert parts(found) == of_sklearn(shuffled, groups)


def test_samples_are_divided_as_scikit_learn_does():
  assert parts(folds.assign(dataset(), 7, "id")) == of_sklearn(KFold(7))


def test_shuffled_samples_are_those_of_scikit_learn_with_a_seed_a_repeat():
  found = parts(folds.assign(dataset(), 5, shuffle=True, repeats=3, seed=2))
  right = []
  for seed in (2, 3, 4):
    right += of_sklearn(KFold(5, shuffle=True, random_state=seed))
  assert found == right


def test_stratified_groups_are_those_of_scikit_learn():
  data = dataset()
  found = parts(folds.assign(data, 4, "video_id", stratify=True))
  groups = data.choices["video_id"]
  assert found == of_sklearn(StratifiedGroupKFold(4), groups, data.labels)


def test_stratified_parts_have_a_class_equally_often():
  labels = (np.arange(N) % 6 == 0).astype(np.int32)  # ten of one class
  data = dataset(labels=labels, class_names=("no", "yes"))
  splits = folds.assign(data, 5, stratify=True, shuffle=True)
  assert [int(labels[own == "test"].sum()) for own in splits] == [2] * 5


def test_several_labels_are_stratified_together():
  labels = np.stack([np.arange(N) % 2, np.arange(N) // 2 % 2], 1).astype(np.int32)
  data = dataset(labels=labels, class_names=())
  for own in folds.assign(data, 5, stratify=True):
    np.testing.assert_array_equal(labels[own == "test"].sum(0), [6, 6])


def test_a_config_group_gives_a_data_set_a_fold():
  data = dataset()
  group = {"folds": 4, "fold_by": "video_id", "fold_shuffle": True, "seed": 3}
  group |= {"fold_repeats": 2, "fold_stratify": False}
  found = folds.split(data, group)
  right = folds.assign(data, 4, "video_id", shuffle=True, repeats=2, seed=3)
  assert len(found) == 8
  for own, splits in zip(found, right, strict=True):
    np.testing.assert_array_equal(own.splits, splits)
    assert own.modalities is data.modalities


def test_an_unknown_column_is_refused_with_those_that_there_are():
  with pytest.raises(UserError, match="data.fold_by='video'.*id, video_id, actor.*Did"):
    folds.assign(dataset(), 5, "video")


@pytest.mark.parametrize(
  "arguments, message",
  [
    ((8, "actor"), "data.folds=8 are more than x.npz has .* 'actor': 7"),
    ((61, "id"), "data.folds=61 are more than .* 'id': 60"),
    ((2, "id"), "data.folds=2: right are 3 or more"),
  ],
)
def test_folds_that_cannot_be_are_refused(arguments, message):
  with pytest.raises(UserError, match=message):
    folds.assign(dataset(), *arguments)


def test_repeats_that_would_be_equal_are_refused():
  with pytest.raises(UserError, match="fold_repeats=2 would repeat the same"):
    folds.assign(dataset(), 5, repeats=2)


def test_a_class_that_a_training_part_lacks_is_named_with_the_fold():
  labels = np.zeros(N, np.int32)
  labels[:2] = 2  # both in the first part
  labels[30:] = 1
  with pytest.raises(UserError, match="class 'angry' is not in .* of fold 0"):
    folds.assign(dataset(labels=labels), 5)
  # Spread, one of the two always trains or is the other's: still not in all.
  labels[2] = 2
  folds.assign(dataset(labels=labels), 5, stratify=True)


def test_of_several_labels_the_class_and_its_label_are_named():
  two = np.ones((N, 2), np.int32)
  two[:, 0] = np.arange(N) % 2
  two[0, 1] = 0
  with pytest.raises(UserError, match="no of 'fear' is not in the training part"):
    folds.assign(dataset(labels=two, class_names=("joy", "fear")), 5)
  many = dataset(
    labels=two,
    task="multitask",
    class_names=(("a", "b"), ("c", "d")),
    target_names=("act", "mood"),
  )
  with pytest.raises(UserError, match="class 'c' of label 'mood'"):
    folds.assign(many, 5)


def test_numbers_cannot_be_stratified():
  with pytest.raises(UserError, match="x.npz is a regression"):
    folds.assign(
      dataset(labels=np.zeros(N, np.float32), class_names=()), 5, stratify=True
    )


def test_a_part_without_a_label_is_refused():
  mask = np.arange(N) >= 12
  data = dataclasses.replace(dataset(), label_mask=mask)
  with pytest.raises(UserError, match="the test part of fold 0 has no label"):
    folds.assign(data, 5)


def test_the_folds_of_real_dialogues_are_those_of_scikit_learn(real_data):
  with np.load(real_data("meld/meld_annotations.npz")) as file:
    notes = dict(file)
  with np.load(real_data("meld/meld_dev_features.npz")) as file:
    rows = file["row"]
  dialogues = notes["dialogue_id"][rows]
  count = len(rows)
  data = Dataset(
    ids=np.arange(count).astype(str),
    modalities={"text": Modality.from_vectors(np.zeros((count, 1)))},
    labels=notes["emotion"][rows].astype(np.int32),
    columns={"dialogue_id": Column(dialogues.astype(np.int64), "dialogue")},
  )
  right = GroupKFold(5).split(dialogues, groups=dialogues)
  found = folds.assign(data, 5, "dialogue_id")
  assert parts(found) == [test.tolist() for _, test in right]


def test_a_config_that_names_a_fold_loads_its_splits(tmp_path):
  data = dataclasses.replace(dataset(), splits=None)
  npz.write(tmp_path / "x.npz", data)
  group = {"path": str(tmp_path / "x.npz"), "folds": 5, "fold_by": "video_id"}
  right = folds.assign(data, 5, "video_id")
  for number in (0, 4):
    np.testing.assert_array_equal(load(group | {"fold": number}).splits, right[number])
  whole = load(group | {"fold": -1})
  assert whole.splits is None
  np.testing.assert_array_equal(folds.split(whole, group)[2].splits, right[2])


def test_splits_of_the_file_play_no_part_in_folds(tmp_path):
  data = dataclasses.replace(dataset(), splits=np.full(N, "nowhere"))
  npz.write(tmp_path / "x.npz", data)
  group = {"path": str(tmp_path / "x.npz"), "folds": 5, "fold": 1}
  assert set(load(group).splits) == {"train", "valid", "test"}
  # Another file that a run is asked about is read as a whole.
  npz.write(tmp_path / "y.npz", dataclasses.replace(data, splits=np.full(N, "test")))
  other = load(group | {"path": str(tmp_path / "y.npz")}, splits=())
  assert set(other.splits) == {"test"}
