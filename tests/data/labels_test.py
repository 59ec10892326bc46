"""Labels become those of a task, or say why they cannot."""

import dataclasses

import numpy as np
import pytest

from mcr_jax.data import suspect
from mcr_jax.data.checks import validate
from mcr_jax.data.labels import as_task
from mcr_jax.data.schema import Column, Dataset, Modality
from mcr_jax.errors import UserError

DIALOGUE = {"dialogue_id": Column(np.array(list("aabb")), "dialogue")}


def dataset(labels, **fields):
  labels = np.asarray(labels)
  return Dataset(
    ids=np.arange(len(labels)).astype(str),
    modalities={"text": Modality.from_vectors(np.zeros((len(labels), 2)))},
    labels=labels,
    splits=np.array(["train", "valid", "test", "train"]),
    source="x.npz",
    **fields,
  )


@pytest.mark.parametrize(
  "labels, task, dtype, outputs",
  [
    ([0, 3, 1, 2], "regression", np.float32, (1,)),
    ([-2, 3, 1, 2], "regression", np.float32, (1,)),
    ([0.0, 3.0, 1.0, 2.0], "multiclass", np.int32, (4,)),
    ([[0.0, 1.0], [1, 1], [1, 0], [0, 0]], "binary", np.int32, (2, 2)),
    ([[0, 4], [1, 1], [2, 0], [0, 0]], "multitask", np.int32, (2, 5)),
    ([[0.0, 4.0], [1, 1], [2, 0], [0, 0]], "multitask", np.int32, (2, 5)),
    ([[0, 1], [1, 1], [1, 0], [0, 0]], "regression", np.float32, (2,)),
  ],
)
def test_a_task_that_is_said_decides_what_numbers_mean(labels, task, dtype, outputs):
  found = validate(as_task(dataset(labels), task))
  assert (found.task, found.outputs) == (task, outputs)
  assert found.labels.dtype == dtype
  np.testing.assert_array_equal(found.labels, labels)


def test_several_levels_a_sample_are_a_multi_task_classification():
  levels = [[0, 0], [2, 1], [1, 1], [0, 0]]
  found = validate(dataset(levels, target_names=("arousal", "valence")))
  assert (found.task, found.outputs) == ("multitask", (2, 3))
  assert found.class_names == (("0", "1", "2"), ("0", "1"))
  assert found.target_names == ("arousal", "valence")
  shared = validate(dataset([[0, 2], [1, 1], [2, 0], [0, 0]], class_names=tuple("lmh")))
  assert shared.class_names == (("l", "m", "h"),) * 2
  assert validate(dataset([[0, 1], [1, 1], [1, 0], [0, 0]])).task == "binary"


def test_class_names_of_several_numbers_are_the_names_of_the_numbers():
  numbers = [[0.1, 0.5], [0.2, 0.1], [0.5, 0.5], [0, 0.3]]
  found = validate(dataset(numbers, class_names=("arousal", "valence")))
  assert (found.task, found.class_names) == ("regression", ())
  assert found.target_names == ("arousal", "valence")
  with pytest.raises(UserError, match="regression has no class names"):
    validate(dataset(numbers, class_names=("a", "b", "c")))


@pytest.mark.parametrize(
  "labels, task",
  [
    ([0.5, 1.0, 2.0, 0.0], "multiclass"),
    ([-1.0, 1.0, 2.0, 0.0], "multiclass"),
    ([0, 1, 1, 0], "binary"),
    ([[0.0, 2], [1, 1], [1, 0], [0, 0]], "binary"),
    ([[0, -3], [1, 1], [1, 0], [0, 0]], "multitask"),
    ([0, 1, 1, 0], "multitask"),
    ([[0, 1], [1, 1], [1, 0], [0, 0]], "multiclass"),
  ],
)
def test_labels_that_say_something_else_are_refused(labels, task):
  with pytest.raises(UserError, match=f"data.task='{task}' needs labels that are"):
    as_task(dataset(labels), task)


def test_a_task_that_nobody_knows_is_refused_with_the_nearest():
  with pytest.raises(UserError, match="data.task='multi_task'.*\"multitask\""):
    as_task(dataset([0, 1, 2, 0]), "multi_task")


def test_the_stated_task_of_a_data_set_holds_where_nothing_else_is_said():
  found = validate(dataset([0, 1, 2, 0], task="regression"))
  assert found.task == "regression" and found.labels.dtype == np.float32


def test_labels_by_modality_become_numbers_with_the_labels():
  face = Column(np.array([3, 1, 2, 0]), "modality_label", None, "vision")
  found = as_task(dataset([0, 1, 2, 0], columns={"label_V": face}), "regression")
  assert found.columns["label_V"].values.dtype == np.float32


MULTI = [[0, 4], [1, 1], [2, 0], [0, 0]]


def test_a_multi_task_classification_names_the_classes_of_every_label():
  unnamed = validate(as_task(dataset(MULTI, target_names=("act", "mood")), "multitask"))
  assert unnamed.class_names == (("0", "1", "2"), ("0", "1", "2", "3", "4"))
  assert unnamed.target_names == ("act", "mood")


@pytest.mark.parametrize(
  "names, message",
  [
    ((("a", "b", "c"), ("d", "e")), r"holds the class 4, but the 2 .* \(d, e\)"),
    ((("a", "b", "c"),), "1 'class_names' for 2 labels"),
    ((("a", "b", "b"), tuple("defgh")), "two classes have the same name in a, b, b"),
  ],
)
def test_names_of_a_multi_task_classification_fit_its_labels(names, message):
  with pytest.raises(UserError, match=message):
    validate(dataset(MULTI, task="multitask", class_names=names))


def test_names_of_targets_are_as_many_as_the_labels():
  with pytest.raises(UserError, match="'label_names' are act; .* 2"):
    validate(dataset(np.zeros((4, 2)), target_names=("act",)))


def test_two_way_labels_are_named_by_their_targets():
  two = np.array(MULTI) > 0
  found = validate(dataset(two, target_names=("act", "mood")))
  assert found.task == "binary" and found.class_names == ("act", "mood")
  # And back: the names are those of the targets, no longer of classes.
  many = validate(as_task(dataset(two, class_names=("act", "mood")), "multitask"))
  assert many.target_names == ("act", "mood")
  assert many.class_names == (("0", "1"), ("0", "1"))


@pytest.mark.parametrize(
  "labels, task, right",
  [
    ([0.5, np.nan, -1, 2], "auto", [0.5, 0, -1, 2]),
    ([1, -1, 0, 1], "auto", [1, 0, 0, 1]),
    ([1, np.nan, 0, 1], "multiclass", [1, 0, 0, 1]),
    ([[1, 0], [-1, -1], [0, 0], [0, 1]], "auto", [[1, 0], [0, 0], [0, 0], [0, 1]]),
    ([[1, 2], [-1, -1], [0, 0], [0, 1]], "multitask", [[1, 2], [0, 0], [0, 0], [0, 1]]),
  ],
)
def test_in_a_dialogue_an_utterance_without_label_keeps_its_place(labels, task, right):
  raw = as_task(dataset(labels, columns=DIALOGUE), task)
  found = validate(raw, splits=("train",))
  np.testing.assert_array_equal(found.labels, right)
  np.testing.assert_array_equal(found.labelled, [True, False, True, True])
  np.testing.assert_array_equal(found.label_mask, found.labelled)


def test_elsewhere_a_sample_without_label_is_a_mistake():
  with pytest.raises(UserError, match="1 of 4 samples have no label .*'1'"):
    validate(dataset([0.5, np.nan, 1, 2]))
  with pytest.raises(UserError, match="1 of 4 labels are -1"):
    validate(dataset([0, -1, 1, 1]))


def test_a_video_does_not_let_clips_lack_a_label():
  names = np.array(list("aabb"))
  columns = {"video_id": Column(names, "video"), "turn": Column(np.arange(4), "turn")}
  with pytest.raises(UserError, match="1 of 4 labels are -1"):
    validate(dataset([0, -1, 1, 1], columns=columns))


def test_half_a_label_is_a_mistake_in_a_dialogue_too():
  with pytest.raises(UserError, match="1 of 4 labels are not finite"):
    validate(dataset([[1.0, 2], [np.nan, 2], [0, 0], [1, 1]], columns=DIALOGUE))


def test_where_all_have_a_label_there_is_no_mask():
  assert validate(dataset([0, 1, 1, 0], columns=DIALOGUE)).label_mask is None


def test_a_split_needs_a_label():
  with pytest.raises(UserError, match="no sample of split 'valid' has a label"):
    validate(dataset([0.5, np.nan, 1, 2], columns=DIALOGUE))
  with pytest.raises(UserError, match="no sample has a label"):
    validate(dataset(np.full(4, np.nan), columns=DIALOGUE))


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_one_hot_labels_are_noted_and_read_as_classes_where_asked(dtype):
  wanted = [2, 0, 1, 2]
  found = dataset(np.eye(3, dtype=dtype)[wanted], target_names=("a", "b", "c"))
  (note,) = suspect.notes(found)
  assert "3 labels" in note and "data.task=multiclass" in note
  classes = validate(as_task(found, "multiclass"))
  assert classes.labels.tolist() == wanted and classes.class_names == ("a", "b", "c")
  assert classes.outputs == (3,)
  # Two at once are no classes.
  several = dataset([[1, 1, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
  assert not suspect.notes(several)
  with pytest.raises(UserError, match="multiclass"):
    as_task(several, "multiclass")


def test_a_mask_that_is_true_on_padding_is_noted():
  values = np.zeros((4, 6, 2), np.float32)
  lengths = np.array([2, 5, 3, 6])
  mask = np.arange(6) < lengths[:, None]
  values[mask] = 1.5
  modality = lambda mask: {"audio": Modality.from_padded(values, mask)}
  labels = dataset([0, 1, 0, 1])
  (note,) = suspect.notes(dataclasses.replace(labels, modalities=modality(~mask)))
  assert "audio" in note and "real 0%" in note and "absent 100%" in note
  assert not suspect.notes(dataclasses.replace(labels, modalities=modality(mask)))
  # Padding that is not zero is told by where it stands.
  values[:] = 1.5
  (note,) = suspect.notes(dataclasses.replace(labels, modalities=modality(~mask)))
  assert "100% of the sequences" in note
  assert not suspect.notes(dataclasses.replace(labels, modalities=modality(mask)))
